#include <unordered_map>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

class Copies {
 public:
  explicit Copies(const Graph& graph) : graph_(graph), rewrite_(graph) {}

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
      if (const View* view = node.op.as<View>()) add_view(i, *view);
      else add_reader(i);
    }
    std::vector<Value> outputs;
    std::vector<GraphUpdate> updates;
    for (const Value output : graph_.outputs) outputs.push_back(own_memory(output));
    for (const GraphUpdate& u : graph_.updates) {
      updates.push_back(
          {rewrite_.renamed(u.leaf), own_memory(u.value), u.guard ? own_memory(u.guard) : Value{}});
    }
    return rewrite_.finish(std::move(outputs), std::move(updates));
  }

 private:
  const GraphNode& made(Value v) const { return rewrite_.result().node(v); }

  void add_view(std::int32_t i, const View& view) {
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
    Value source = rewrite_.renamed(node.inputs[0]);
    Layout layout = view.layout;
    if (const View* below = made(source).op.as<View>()) {
      if (Layout composed; compose(layout, below->layout, composed)) {
        layout = composed;
        source = made(source).inputs[0];
      } else {
        source = copy(source, node.origin);
      }
    }
    rewrite_.rename(
        {i, 0},
        {rewrite_.add({View{layout, view.short_name}, {source}, node.types, node.origin}), 0});
  }

  void add_reader(std::int32_t i) {
    GraphNode node = graph_.nodes[static_cast<std::size_t>(i)];
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      Value& in = node.inputs[n];
      in = rewrite_.renamed(in);
      const View* view = made(in).op.as<View>();
      if (view && !node.op->accepts(static_cast<int>(n), view->layout)) in = copy(in, node.origin);
    }
    const std::int32_t added = rewrite_.add(std::move(node));
    for (std::int32_t r = 0;
         r < static_cast<std::int32_t>(graph_.nodes[static_cast<std::size_t>(i)].types.size());
         ++r) {
      rewrite_.rename({i, r}, {added, r});
    }
  }

  // A value that is a result of its own, neither a View nor a leaf.
  Value own_memory(Value old_value) {
    const Value v = rewrite_.renamed(old_value);
    const GraphNode& node = made(v);
    return node.op.as<View>() || is_leaf(node) ? copy(v, node.origin) : v;
  }

  Value copy(Value v, Origin origin) {
    const std::int64_t key = std::int64_t{v.node} << 32 | v.result;
    if (const auto known = copies_.find(key); known != copies_.end()) return known->second;
    const TensorType type = rewrite_.result().type(v);
    const ScalarFn identity({type.dtype}, {{ScalarOp::input, type.dtype, {-1, -1, -1}, 0}}, {0});
    const Value result{rewrite_.add({Map{identity, "copy"}, {v}, {type}, std::move(origin)}), 0};
    copies_.emplace(key, result);
    return result;
  }

  const Graph& graph_;
  Rewrite rewrite_;
  std::unordered_map<std::int64_t, Value>
      copies_;  // of a value, by node and result; looked up only
};

}  // namespace

Graph insert_copies(const Graph& graph) { return Copies(graph).run(); }

}  // namespace blockgrad
