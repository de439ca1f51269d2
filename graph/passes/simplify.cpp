#include <algorithm>
#include <bit>
#include <numeric>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "graph/parts.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

// The axes with more than one element, in the order in which they step through memory.
std::vector<int> by_stride(const Layout& layout) {
  const auto stride = [&](int a) { return layout.strides[static_cast<std::size_t>(a)]; };
  std::vector<int> order;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    if (layout.shape[a] != 1) order.push_back(a);
  }
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return stride(a) != stride(b) ? stride(a) > stride(b) : a < b; });
  return order;
}

// Whether no two elements are sure to share a place.
bool never_meets_itself(const Layout& layout) {
  std::int64_t reach = 0;
  const std::vector<int> order = by_stride(layout);
  for (auto a = order.rbegin(); a != order.rend(); ++a) {
    const std::int64_t stride = layout.strides[static_cast<std::size_t>(*a)];
    if (stride <= reach) return false;
    reach += stride * (layout.shape[*a] - 1);
  }
  return true;
}

// Where the elements of a dense value of shape `base` go, if those of its view, which shows each
// one once, go to `target`.
bool moved_through(const Layout& view, const Shape& base, const Layout& target, Layout& result) {
  if (view.offset != 0 || view.shape.size() != base.size() || base.size() == 0 ||
      !never_meets_itself(target))
    return false;
  std::int64_t expected = base.size();
  std::vector<std::int64_t> sizes;
  Layout moved;
  for (const int a : by_stride(view)) {
    expected /= view.shape[a];
    if (view.strides[static_cast<std::size_t>(a)] != expected) return false;
    moved.strides[sizes.size()] = target.strides[static_cast<std::size_t>(a)];
    sizes.push_back(view.shape[a]);
  }
  moved.shape = Shape(sizes);
  moved.offset = target.offset;
  return compose(Layout::dense(base), moved, result);
}

class Simplify {
 public:
  explicit Simplify(const Graph& graph) : graph_(graph), rewrite_(graph) {}

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const Op& op = graph_.nodes[static_cast<std::size_t>(i)].op;
      if (op.as<View>()) add_view(i, op.as<View>()->layout, op.as<View>()->short_name);
      else if (op.as<Unview>()) add_unview(i, *op.as<Unview>());
      else if (op.as<Map>()) add_map(i, op.as<Map>()->fn, op.as<Map>()->short_name);
      else if (op.as<Reduce>() && keeps_elements(i))
        add_view(i, Layout::dense(types(i)[0].shape), "reshape");
      else rewrite_.keep(i);
    }
    return rewrite_.finish();
  }

 private:
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  const std::vector<TensorType>& types(std::int32_t i) const { return at(i).types; }
  const GraphNode& made(Value v) const { return rewrite_.result().node(v); }

  // A reduction over axes of size 1 that gives the element itself.
  bool keeps_elements(std::int32_t i) const {
    const Reduce& op = *at(i).op.as<Reduce>();
    return !op.not_differentiable(0) &&
           graph_.type(at(i).inputs[0]).shape.size() == types(i)[0].shape.size() &&
           graph_.type(at(i).inputs[0]).dtype == types(i)[0].dtype;
  }

  void add_view(std::int32_t i, Layout layout, std::string_view short_name) {
    Value source = rewrite_.renamed(at(i).inputs[0]);
    const View* below = made(source).op.as<View>();
    if (Layout composed; below && compose(layout, below->layout, composed)) {
      layout = composed;
      source = made(source).inputs[0];
    }
    if (layout == Layout::dense(rewrite_.result().type(source).shape))
      rewrite_.rename({i, 0}, source);
    else
      rewrite_.rename(
          {i, 0}, {rewrite_.add({View{layout, short_name}, {source}, types(i), at(i).origin}), 0});
  }

  // A part alone that is all there is stays where it is. Parts that are other views of whole values
  // are taken from there: no copy is made before the one that puts them in place.
  void add_unview(std::int32_t i, Unview op) {
    const Layout& first = op.layouts[0];
    if (op.layouts.size() == 1 && first.shape.size() == op.shape.size() && first.is_dense())
      return add_view(i, Layout::dense(op.shape), op.short_name);
    GraphNode node = at(i);
    if (is_row_of_parts(op)) sort_parts(op, node.inputs);
    for (std::size_t p = 0; p < node.inputs.size(); ++p) {
      Value& part = node.inputs[p];
      part = rewrite_.renamed(part);
      while (const View* view = made(part).op.as<View>()) {
        const Value below = made(part).inputs[0];
        Layout moved;
        if (!moved_through(view->layout, rewrite_.result().type(below).shape, op.layouts[p], moved))
          break;
        op.layouts[p] = moved;
        part = below;
      }
    }
    node.op = std::move(op);
    rewrite_.rename({i, 0}, {rewrite_.add(std::move(node)), 0});
  }

  // The order in which they lie: equal values become equal nodes.
  static void sort_parts(Unview& op, std::vector<Value>& parts) {
    std::vector<std::size_t> order(parts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return op.layouts[a].offset < op.layouts[b].offset;
    });
    std::vector<Layout> layouts;
    std::vector<Value> sorted;
    for (const std::size_t p : order) {
      layouts.push_back(op.layouts[p]);
      sorted.push_back(parts[p]);
    }
    op.layouts = std::move(layouts);
    parts = std::move(sorted);
  }

  // The value of a constant scalar, also where it is spread over a shape.
  const Tensor* known_scalar(Value v) const {
    if (made(v).op.as<View>()) v = made(v).inputs[0];
    const Constant* constant = made(v).op.as<Constant>();
    return constant && constant->tensor.size() == 1 ? &constant->tensor : nullptr;
  }

  static std::uint64_t bits_of(const Tensor& scalar) {
    return visit(scalar.dtype(), [&](auto zero) {
      using T = decltype(zero);
      const T value = *reinterpret_cast<const T*>(scalar.bytes());
      if constexpr (is_floating(dtype_of<T>()))
        return std::bit_cast<std::uint64_t>(static_cast<double>(value));
      else return static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    });
  }

  static Tensor scalar_of(std::uint64_t bits, DType dtype) {
    return visit(dtype, [&](auto zero) {
      using T = decltype(zero);
      if constexpr (is_floating(dtype_of<T>())) return full({}, std::bit_cast<double>(bits), dtype);
      else if constexpr (std::is_same_v<T, bool>) return full({}, static_cast<double>(bits), dtype);
      else return tensor<T>({static_cast<T>(static_cast<std::int64_t>(bits))}, Shape{});
    });
  }

  // Constant scalars move into the program, where they cost no stream.
  void add_map(std::int32_t i, const ScalarFn& fn, std::string_view short_name) {
    std::vector<Value> inputs;
    std::vector<DType> dtypes;
    std::vector<const Tensor*> known;
    bool any = false;
    for (const Value old : at(i).inputs) {
      const Value v = rewrite_.renamed(old);
      known.push_back(known_scalar(v));
      any = any || known.back();
      if (known.back()) continue;
      inputs.push_back(v);
      dtypes.push_back(rewrite_.result().type(v).dtype);
    }
    for (const std::int32_t r : fn.results()) {
      any = any || fn.code()[static_cast<std::size_t>(r)].op == ScalarOp::constant;
    }
    // A program over positions still needs an input for its shape.
    const bool counts = std::any_of(fn.code().begin(), fn.code().end(), [](const ScalarInstr& s) {
      return s.op == ScalarOp::flat_index;
    });
    if (!any || (counts && inputs.empty())) {
      rewrite_.keep(i);
      return;
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    int next = 0;
    for (const Tensor* value : known) {
      args.push_back(value ? recorder.constant_bits(bits_of(*value), value->dtype())
                           : recorder.input(next++));
    }
    const std::vector<Scalar> results = recorder.inlined(fn, args);
    std::vector<Scalar> computed;
    std::vector<std::int32_t> numbers;
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(results.size()); ++r) {
      const ScalarInstr& instr = recorder.instr(results[static_cast<std::size_t>(r)]);
      if (instr.op == ScalarOp::constant) {
        rewrite_.rename({i, r}, spread_constant(i, r, instr));
      } else if (instr.op == ScalarOp::input) {
        rewrite_.rename({i, r}, inputs[static_cast<std::size_t>(instr.bits)]);
      } else {
        computed.push_back(results[static_cast<std::size_t>(r)]);
        numbers.push_back(r);
      }
    }
    if (computed.empty()) return;
    std::vector<int> kept;
    const ScalarFn folded = without_unused_inputs(recorder.finish(computed), kept);
    GraphNode node{Map{folded, short_name}, {}, {}, at(i).origin};
    for (const int k : kept) node.inputs.push_back(inputs[static_cast<std::size_t>(k)]);
    for (const std::int32_t r : numbers)
      node.types.push_back(types(i)[static_cast<std::size_t>(r)]);
    const std::int32_t added = rewrite_.add(std::move(node));
    for (std::size_t c = 0; c < numbers.size(); ++c) {
      rewrite_.rename({i, numbers[c]}, {added, static_cast<std::int32_t>(c)});
    }
  }

  Value spread_constant(std::int32_t i, std::int32_t result, const ScalarInstr& instr) {
    const TensorType& type = types(i)[static_cast<std::size_t>(result)];
    const TensorType scalar{instr.dtype, {}};
    const Value value{
        rewrite_.add({Constant{scalar_of(instr.bits, instr.dtype)}, {}, {scalar}, at(i).origin}),
        0};
    if (type.shape.rank() == 0) return value;
    return {
        rewrite_.add({View{{type.shape, {}, 0}, "broadcast_to"}, {value}, {type}, at(i).origin}),
        0};
  }

  const Graph& graph_;
  Rewrite rewrite_;
};

}  // namespace

Graph simplify(const Graph& graph) { return Simplify(graph).run(); }

}  // namespace blockgrad
