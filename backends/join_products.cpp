#include "backends/join_products.h"

#include <algorithm>
#include <utility>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/linalg.h"

namespace blockgrad {

namespace {

// Whether a program adds its inputs from left to right.
bool is_sum(const ScalarFn& fn) {
  const std::span<const ScalarInstr> code = fn.code();
  const auto inputs = static_cast<std::int32_t>(fn.inputs().size());
  if (inputs < 2 || fn.results().size() != 1) return false;
  std::int32_t sum = -1, next = 0;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(code.size()); ++i) {
    const ScalarInstr& instr = code[static_cast<std::size_t>(i)];
    if (instr.op == ScalarOp::input) continue;
    const auto is_next = [&](std::int32_t arg) {
      const ScalarInstr& in = code[static_cast<std::size_t>(arg)];
      return in.op == ScalarOp::input && in.bits == static_cast<std::uint64_t>(next);
    };
    if (instr.op != ScalarOp::add) return false;
    if (sum < 0) {
      if (!is_next(instr.args[0])) return false;
      ++next;
    } else if (instr.args[0] != sum) {
      return false;
    }
    if (!is_next(instr.args[1])) return false;
    ++next;
    sum = i;
  }
  return next == inputs && sum == fn.results()[0];
}

// The layout of a value whose last two axes change places.
Layout turned(const Shape& shape) {
  const auto last = static_cast<std::size_t>(shape.rank() - 1);
  Layout layout = Layout::dense(shape);
  std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  std::swap(sizes[last], sizes[last - 1]);
  std::swap(layout.strides[last], layout.strides[last - 1]);
  layout.shape = Shape(sizes);
  return layout;
}

class Joining {
 public:
  explicit Joining(const Graph& graph) : graph_(graph), rewrite_(graph), uses_(use_counts(graph)) {}

  Graph run() {
    find_inner();
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (!is_top(i) || !join(i)) rewrite_.keep(i);
    }
    return rewrite_.finish();
  }

 private:
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  bool is_read_once(Value v) const { return uses_[v] == 1; }
  // What a user adds is added in the order that was written.
  bool is_sum_node(std::int32_t i) const {
    const Map* map = at(i).op.as<Map>();
    return map && at(i).origin.role == gradient_role && is_sum(map->fn);
  }
  bool is_top(std::int32_t i) const {
    return is_sum_node(i) && !is_inner_[static_cast<std::size_t>(i)];
  }

  // Sums that only another sum reads.
  void find_inner() {
    is_inner_.assign(graph_.nodes.size(), 0);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (!is_sum_node(i)) continue;
      for (const Value v : at(i).inputs) {
        if (is_sum_node(v.node) && is_read_once(v)) is_inner_[static_cast<std::size_t>(v.node)] = 1;
      }
    }
  }

  // What a sum adds, from left to right.
  std::vector<Value> terms_of(std::int32_t top) const {
    std::vector<Value> terms, open{{top, 0}};
    while (!open.empty()) {
      const Value v = open.back();
      open.pop_back();
      if (v.node != top && !is_inner_[static_cast<std::size_t>(v.node)]) {
        terms.push_back(v);
        continue;
      }
      const std::vector<Value>& inputs = at(v.node).inputs;
      open.insert(open.end(), inputs.rbegin(), inputs.rend());
    }
    return terms;
  }

  bool join(std::int32_t top) {
    std::vector<Value> products, others;
    double operands = 0, results = 0;
    for (const Value v : terms_of(top)) {
      if (!at(v.node).op.as<MatMul>() || !is_read_once(v) ||
          (!products.empty() && !are_alike(v, products[0]))) {
        others.push_back(v);
        continue;
      }
      products.push_back(v);
      for (const Value in : at(v.node).inputs)
        operands += static_cast<double>(graph_.type(in).shape.size());
      results += static_cast<double>(graph_.type(v).shape.size());
    }
    if (products.size() < 2 || operands >= results) return false;
    std::reverse(products.begin(), products.end());  // gradients come last one first
    const Origin& origin = at(top).origin;
    const Value a = operand(products, 0, origin), b = operand(products, 1, origin);
    Value all = add({at(products[0].node).op, {a, b}, at(top).types, origin});
    for (const Value other : others) all = add_up(all, rewrite_.renamed(other), origin);
    rewrite_.rename({top, 0}, all);
    return true;
  }

  // Whether two products multiply and give the same dtypes.
  bool are_alike(Value a, Value b) const {
    const auto dtype = [&](Value v) { return graph_.type(at(v.node).inputs[0]).dtype; };
    return at(a.node).op == at(b.node).op && dtype(a) == dtype(b);
  }

  // One operand of each product, joined. Transposed ones stay so: what lies behind them is joined.
  Value operand(std::span<const Value> products, std::size_t n, const Origin& origin) {
    std::vector<Value> parts, behind;
    for (const Value product : products) {
      parts.push_back(at(product.node).inputs[n]);
      const GraphNode& node = graph_.node(parts.back());
      const View* view = node.op.as<View>();
      if (!view) continue;
      const Shape& shape = graph_.type(node.inputs[0]).shape;
      if (shape.rank() == view->layout.shape.rank() && view->layout == turned(shape))
        behind.push_back(node.inputs[0]);
    }
    const int last = graph_.type(parts[0]).shape.rank() - 1;
    const int axis = n == 0 ? last : last - 1;
    if (behind.size() < parts.size()) return joined(parts, axis, origin);
    const Value all = joined(behind, 2 * last - 1 - axis, origin);
    const TensorType& type = rewrite_.result().type(all);
    const Layout layout = turned(type.shape);
    return add({View{layout, "transpose"}, {all}, {{type.dtype, layout.shape}}, origin});
  }

  Value joined(std::span<const Value> parts, int axis, const Origin& origin) {
    const auto along = static_cast<std::size_t>(axis);
    const TensorType& first = graph_.type(parts[0]);
    std::vector<std::int64_t> sizes(first.shape.sizes().begin(), first.shape.sizes().end());
    sizes[along] = 0;
    for (const Value part : parts)
      sizes[along] = checked_add(sizes[along], graph_.type(part).shape[axis]);
    const Layout whole = Layout::dense(Shape(sizes));
    Unview op{{}, whole.shape, 0.0, "join"};
    std::vector<Value> inputs;
    std::int64_t at = 0;
    for (const Value part : parts) {
      const Shape& shape = graph_.type(part).shape;
      op.layouts.push_back(
          {shape, whole.strides, shape.size() == 0 ? 0 : at * whole.strides[along]});
      inputs.push_back(rewrite_.renamed(part));
      at += shape[axis];
    }
    return add({std::move(op), std::move(inputs), {{first.dtype, whole.shape}}, origin});
  }

  Value add_up(Value a, Value b, const Origin& origin) {
    const TensorType type = rewrite_.result().type(a);
    const DType dtypes[] = {type.dtype, type.dtype};
    ScalarRecorder recorder(dtypes);
    const Scalar results[] = {recorder.input(0) + recorder.input(1)};
    return add({Map{recorder.finish(results), "add"}, {a, b}, {type}, origin});
  }

  Value add(GraphNode node) { return {rewrite_.add(std::move(node)), 0}; }

  const Graph& graph_;
  Rewrite rewrite_;
  ValueTable<std::int32_t> uses_;
  std::vector<char> is_inner_;  // per node
};

}  // namespace

Graph join_products(const Graph& graph) { return Joining(graph).run(); }

}  // namespace blockgrad
