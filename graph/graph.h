#pragma once
// Graph: what compile works on. Nodes are numbered in an order in which inputs precede users, so
// passes are loops over vectors and equal programs give equal graphs in every process. A value.

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/op.h"
#include "blockgrad/graph/updates.h"

namespace blockgrad {

/// One result of a node; node -1: none.
struct Value {
  std::int32_t node = -1;
  std::int32_t result = 0;
  bool operator==(const Value&) const = default;
  explicit operator bool() const { return node >= 0; }
};

struct GraphNode {
  Op op;
  std::vector<Value> inputs;
  std::vector<TensorType> types;
  Origin origin;
  bool is_repeat = false;  // made a second time, to need less memory
};

struct GraphUpdate {
  Value leaf, value, guard;
};

struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<Value> outputs;
  std::vector<GraphUpdate> updates;

  const GraphNode& node(Value v) const { return nodes[static_cast<std::size_t>(v.node)]; }
  const TensorType& type(Value v) const {
    return node(v).types[static_cast<std::size_t>(v.result)];
  }
  /// The value whose elements v shows: what a View reads, else v.
  Value base(Value v) const;
  /// "matmul fc1 (train.cpp:41)".
  std::string describe(std::int32_t node) const;
};

/// One T for each value of a graph.
template <class T>
class ValueTable {
 public:
  explicit ValueTable(const Graph& graph, T initial = {}) {
    first_.reserve(graph.nodes.size() + 1);
    std::size_t values = 0;
    for (const GraphNode& node : graph.nodes) {
      first_.push_back(values);
      values += node.types.size();
    }
    first_.push_back(values);
    entries_.assign(values, initial);
  }

  T& operator[](Value v) { return entries_[number(v)]; }
  const T& operator[](Value v) const { return entries_[number(v)]; }
  /// Those of a node's results.
  std::span<T> of(std::int32_t node) {
    return std::span(entries_).subspan(begin(node), count(node));
  }
  std::span<const T> of(std::int32_t node) const {
    return std::span(entries_).subspan(begin(node), count(node));
  }

 private:
  std::size_t begin(std::int32_t node) const { return first_[static_cast<std::size_t>(node)]; }
  std::size_t count(std::int32_t node) const { return begin(node + 1) - begin(node); }
  std::size_t number(Value v) const { return begin(v.node) + static_cast<std::size_t>(v.result); }

  std::vector<std::size_t> first_;  // of each node, and the end
  std::vector<T> entries_;
};

/// Whether a run finds the node's value instead of making it: an input, a constant or storage.
bool is_leaf(const GraphNode& node);

/// The graph of these outputs and updates. A composite op is replaced by its `expand` unless
/// `keeps` it.
Graph build_graph(std::span<const Expr> outputs, const Updates& updates,
                  const std::function<bool(const Op&)>& keeps);

/// Checks that types equal what the ops infer, inputs precede users, and updates write storage.
/// Throws InternalError naming `after`, the pass that came before.
void verify(const Graph& graph, std::string_view after);

/// How often each value is read: by nodes, outputs, updates and guards.
ValueTable<std::int32_t> use_counts(const Graph& graph);

/// A graph made node by node from another one. Values of the old graph are translated by `renamed`.
class Rewrite {
 public:
  explicit Rewrite(const Graph& old);

  /// Adds a node and returns its number; `inputs` are values of the new graph.
  std::int32_t add(GraphNode node);
  /// The old node as it is, with translated inputs.
  void keep(std::int32_t old_node);
  void rename(Value old_value, Value new_value);
  Value renamed(Value old_value) const;
  const Graph& result() const { return result_; }

  /// The new graph with outputs and updates translated, without nodes that nothing reads.
  Graph finish();
  /// The same with these outputs and updates, which are of the new graph.
  Graph finish(std::vector<Value> outputs, std::vector<GraphUpdate> updates);

 private:
  const Graph& old_;
  Graph result_;
  ValueTable<Value> names_;
};

/// The same graph without nodes that nothing reads.
Graph without_dead_nodes(Graph graph);

/// One line per node.
std::string to_text(const Graph& graph);
/// Graphviz: one box per node with op, shape and line; leaves coloured by kind.
std::string to_dot(const Graph& graph);

}  // namespace blockgrad
