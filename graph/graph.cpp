#include "graph/graph.h"

#include <algorithm>
#include <unordered_map>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/view.h"
#include "graph/flow.h"

namespace blockgrad {

std::string Graph::describe(std::int32_t node) const {
  const GraphNode& n = nodes[static_cast<std::size_t>(node)];
  std::string label(n.op->name());
  if (const auto* leaf = n.op.as<Input>()) label += " '" + leaf->label_name + "'";
  if (const auto* leaf = n.op.as<StoredLeaf>()) label += " '" + leaf->storage->name() + "'";
  return to_string(n.origin, label);
}

Value Graph::base(Value v) const {
  while (node(v).op.as<View>()) v = node(v).inputs[0];
  return v;
}

bool is_leaf(const GraphNode& node) {
  return node.op.as<Input>() || node.op.as<Constant>() || node.op.as<StoredLeaf>();
}

namespace {

// An op may be a user's, so what its expand gives is checked like any other input.
void check_expansion(const Node& node, const std::vector<Expr>& expansion) {
  bool fits = expansion.size() == node.results.size();
  for (std::size_t r = 0; fits && r < expansion.size(); ++r)
    fits = expansion[r] && expansion[r].type() == node.results[r];
  if (fits) return;
  std::string got, expected;
  for (const Expr& e : expansion)
    got += (got.empty() ? "" : ", ") + (e ? to_string(e.type()) : std::string("an empty Expr"));
  for (const TensorType& type : node.results)
    expected += (expected.empty() ? "" : ", ") + to_string(type);
  fail({to_string(node.origin, node.op->name()), ": its expand gives ",
        got.empty() ? "nothing" : got, ", its infer said ", expected});
}

// Walks from the roots with an explicit stack; a composite is entered through its expansion.
class Import {
 public:
  Import(Graph& graph, const std::function<bool(const Op&)>& keeps)
      : graph_(graph), keeps_(keeps) {}

  Value operator()(const Expr& root) {
    visit(root.node());
    while (!stack_.empty()) step();
    return value(root);
  }

 private:
  struct Visit {
    const Node* node;
    std::size_t next = 0;
    std::int32_t expansion = -1;  // in expansions_
  };

  void visit(const Node* node) {
    if (!values_.emplace(node, std::vector<Value>()).second) return;
    Visit entry{node};
    const Expr argument = log_argument(*node);
    if (const Expr log = argument ? stable_log(*node, argument.node()->inputs) : Expr()) {
      expansions_.push_back({log});
      entry.expansion = static_cast<std::int32_t>(expansions_.size()) - 1;
    } else if (node->op->has_expand() && !keeps_(node->op)) {
      Origin origin = node->origin;
      if (origin.role.empty()) {
        origin.role = inside_role;
        origin.of = node->op->name();
      }
      const OriginScope scope(origin);
      expansions_.push_back(node->op->expand(node->inputs));
      check_expansion(*node, expansions_.back());
      entry.expansion = static_cast<std::int32_t>(expansions_.size()) - 1;
    }
    stack_.push_back(entry);
  }

  void step() {
    Visit& top = stack_.back();
    const Node* node = top.node;
    const std::vector<Expr>& inputs =
        top.expansion < 0 ? node->inputs : expansions_[static_cast<std::size_t>(top.expansion)];
    if (top.next < inputs.size()) {
      visit(inputs[top.next++].node());
      return;
    }
    std::vector<Value> mine;
    for (const Expr& in : inputs) mine.push_back(value(in));
    if (top.expansion < 0) {
      graph_.nodes.push_back({node->op, std::move(mine), node->results, node->origin});
      mine.clear();
      for (std::size_t r = 0; r < node->results.size(); ++r) {
        mine.push_back(
            {static_cast<std::int32_t>(graph_.nodes.size()) - 1, static_cast<std::int32_t>(r)});
      }
    }
    values_[node] = std::move(mine);
    stack_.pop_back();
  }

  Value value(const Expr& e) const {
    return values_.at(e.node())[static_cast<std::size_t>(e.result())];
  }

  Graph& graph_;
  const std::function<bool(const Op&)>& keeps_;
  std::vector<Visit> stack_;
  std::vector<std::vector<Expr>> expansions_;  // keep the nodes alive that values_ names
  std::unordered_map<const Node*, std::vector<Value>> values_;
};

}  // namespace

Graph build_graph(std::span<const Expr> outputs, const Updates& updates,
                  const std::function<bool(const Op&)>& keeps) {
  Graph graph;
  Import import(graph, keeps);
  for (const Expr& output : outputs) graph.outputs.push_back(import(output));
  for (const Update& update : updates.all()) {
    graph.updates.push_back(
        {import(update.leaf), import(update.value), update.guard ? import(update.guard) : Value{}});
  }
  return graph;
}

void verify(const Graph& graph, std::string_view after) {
  const auto check_value = [&](Value v, std::size_t before) {
    check_internal(v.node >= 0 && static_cast<std::size_t>(v.node) < before && v.result >= 0 &&
                       static_cast<std::size_t>(v.result) < graph.node(v).types.size(),
                   "after ", after, ": node ", before, " reads value ", v.node, ".", v.result,
                   " that is not before it");
  };
  std::vector<TensorType> types;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const GraphNode& node = graph.nodes[i];
    types.clear();
    for (const Value v : node.inputs) {
      check_value(v, i);
      types.push_back(graph.type(v));
    }
    check_internal(node.op->infer(types) == node.types, "after ", after, ": types of ",
                   node.op->name(), " changed");
  }
  for (const Value v : graph.outputs) check_value(v, graph.nodes.size());
  for (const GraphUpdate& update : graph.updates) {
    check_value(update.value, graph.nodes.size());
    if (update.guard) check_value(update.guard, graph.nodes.size());
    check_internal(graph.node(update.leaf).op.as<StoredLeaf>() != nullptr, "after ", after,
                   ": update of a non-leaf");
  }
}

ValueTable<std::int32_t> use_counts(const Graph& graph) {
  ValueTable<std::int32_t> counts(graph);
  const auto count = [&](Value v) {
    if (v) ++counts[v];
  };
  for (const GraphNode& node : graph.nodes) {
    for (const Value v : node.inputs) count(v);
  }
  for (const Value v : graph.outputs) count(v);
  for (const GraphUpdate& update : graph.updates) {
    count(update.leaf);
    count(update.value);
    count(update.guard);
  }
  return counts;
}

Rewrite::Rewrite(const Graph& old) : old_(old), names_(old) {
  result_.nodes.reserve(old.nodes.size());
}

std::int32_t Rewrite::add(GraphNode node) {
  result_.nodes.push_back(std::move(node));
  return static_cast<std::int32_t>(result_.nodes.size()) - 1;
}

void Rewrite::keep(std::int32_t old_node) {
  GraphNode node = old_.nodes[static_cast<std::size_t>(old_node)];
  for (Value& v : node.inputs) v = renamed(v);
  const std::int32_t made = add(std::move(node));
  std::int32_t result = 0;
  for (Value& name : names_.of(old_node)) name = {made, result++};
}

void Rewrite::rename(Value old_value, Value new_value) { names_[old_value] = new_value; }

Value Rewrite::renamed(Value old_value) const {
  if (!old_value) return old_value;
  const Value name = names_[old_value];
  check_internal(static_cast<bool>(name), "a pass reads node ", old_value.node,
                 " before it wrote it");
  return name;
}

Graph Rewrite::finish() {
  std::vector<Value> outputs;
  std::vector<GraphUpdate> updates;
  for (const Value v : old_.outputs) outputs.push_back(renamed(v));
  for (const GraphUpdate& u : old_.updates)
    updates.push_back({renamed(u.leaf), renamed(u.value), renamed(u.guard)});
  return finish(std::move(outputs), std::move(updates));
}

Graph Rewrite::finish(std::vector<Value> outputs, std::vector<GraphUpdate> updates) {
  result_.outputs = std::move(outputs);
  result_.updates = std::move(updates);
  return without_dead_nodes(std::move(result_));
}

Graph without_dead_nodes(Graph graph) {
  std::vector<char> live(graph.nodes.size(), 0);
  const auto mark = [&](Value v) {
    if (v) live[static_cast<std::size_t>(v.node)] = 1;
  };
  for (const Value v : graph.outputs) mark(v);
  for (const GraphUpdate& u : graph.updates) {
    mark(u.leaf);
    mark(u.value);
    mark(u.guard);
  }
  for (std::size_t i = graph.nodes.size(); i-- > 0;) {
    if (!live[i]) continue;
    for (const Value v : graph.nodes[i].inputs) mark(v);
  }
  if (std::find(live.begin(), live.end(), 0) == live.end()) return graph;
  std::vector<std::int32_t> moved(graph.nodes.size(), -1);
  const auto rename = [&](Value v) {
    return v ? Value{moved[static_cast<std::size_t>(v.node)], v.result} : v;
  };
  Graph result;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!live[i]) continue;
    GraphNode node = std::move(graph.nodes[i]);
    for (Value& v : node.inputs) v = rename(v);
    moved[i] = static_cast<std::int32_t>(result.nodes.size());
    result.nodes.push_back(std::move(node));
  }
  for (const Value v : graph.outputs) result.outputs.push_back(rename(v));
  for (const GraphUpdate& u : graph.updates)
    result.updates.push_back({rename(u.leaf), rename(u.value), rename(u.guard)});
  return result;
}

}  // namespace blockgrad
