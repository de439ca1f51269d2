#include "backends/products.h"

#include <utility>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/attention.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/linalg.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

// f(op) with the struct of a product; false for other ops.
template <class F>
bool visit_product(const Op& op, F f) {
  const auto is_one = [&](const auto* product) {
    if (product) f(*product);
    return product != nullptr;
  };
  return is_one(op.as<MatMul>()) || is_one(op.as<Conv2d>()) || is_one(op.as<Conv2dInput>()) ||
         is_one(op.as<Conv2dWeight>());
}

bool is_attention(const Op& op) { return op.as<Attention>() || op.as<AttentionGradient>(); }

class Widening {
 public:
  Widening(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), rewrite_(graph) {}

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
      const auto* with_map = node.op.as<ProductMap>();
      const Op& op = with_map ? with_map->product : node.op;
      const bool is_wide = node.inputs.empty() || !is_half(graph_.type(node.inputs[0]).dtype) ||
                           backend_.multiplies_halves(op);
      if (is_wide) rewrite_.keep(i);
      else if (with_map) widen(i, node, *with_map);
      else if (is_product(op)) widen(i, node);
      else if (is_attention(op)) widen_attention(i, node);
      else rewrite_.keep(i);
    }
    return rewrite_.finish();
  }

 private:
  void widen(std::int32_t i, const GraphNode& node) {
    const Value a = operand(node.inputs[0], node.origin), b = operand(node.inputs[1], node.origin);
    const TensorType type = {DType::f32, node.types[0].shape};
    const Value product = {rewrite_.add({with_result(node.op, {}), {a, b}, {type}, node.origin}),
                           0};
    rewrite_.rename({i, 0}, as(node.types[0].dtype, product, node.origin));
  }

  // Its results are f32 already.
  void widen_attention(std::int32_t i, const GraphNode& node) {
    GraphNode wide{node.op, {}, node.types, node.origin};
    for (const Value v : node.inputs) {
      wide.inputs.push_back(is_half(graph_.type(v).dtype) ? operand(v, node.origin)
                                                          : rewrite_.renamed(v));
    }
    keep_results(i, node, rewrite_.add(std::move(wide)));
  }

  // The formula rounds what it gets.
  void widen(std::int32_t i, const GraphNode& node, const ProductMap& op) {
    GraphNode wide{node.op, {}, node.types, node.origin};
    for (std::size_t k = 0; k < node.inputs.size(); ++k) {
      wide.inputs.push_back(k < ProductMap::operands ? operand(node.inputs[k], node.origin)
                                                     : rewrite_.renamed(node.inputs[k]));
    }
    std::vector<DType> dtypes(op.fn.inputs().begin(), op.fn.inputs().end());
    dtypes[0] = DType::f32;
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    for (std::size_t k = 0; k < dtypes.size(); ++k)
      args.push_back(recorder.input(static_cast<int>(k)));
    args[0] = recorder.cast(args[0], op.fn.inputs()[0]);
    const ScalarFn fn = recorder.finish(recorder.inlined(op.fn, args));
    wide.op = ProductMap{with_result(op.product, {}), fn, op.shapes};
    keep_results(i, node, rewrite_.add(std::move(wide)));
  }

  void keep_results(std::int32_t i, const GraphNode& node, std::int32_t made) {
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(node.types.size()); ++r)
      rewrite_.rename({i, r}, {made, r});
  }

  // What a View only turns is widened as it lies, and turned then.
  Value operand(Value v, const Origin& origin) {
    const GraphNode& node = graph_.node(v);
    const View* view = node.op.as<View>();
    if (!view || graph_.type(node.inputs[0]).shape.size() != view->layout.shape.size())
      return as(DType::f32, rewrite_.renamed(v), origin);
    const Value source = as(DType::f32, rewrite_.renamed(node.inputs[0]), origin);
    return {rewrite_.add({*view, {source}, {{DType::f32, view->layout.shape}}, node.origin}), 0};
  }

  Value as(DType dtype, Value v, const Origin& origin) {
    const TensorType type = rewrite_.result().type(v);
    if (type.dtype == dtype) return v;
    return {rewrite_.add({astype_map(type.dtype, dtype), {v}, {{dtype, type.shape}}, origin}), 0};
  }

  const Graph& graph_;
  const Backend& backend_;
  Rewrite rewrite_;
};

}  // namespace

bool is_product(const Op& op) {
  return visit_product(op, [](const auto&) {});
}

Op with_result(const Op& product, std::optional<DType> result) {
  Op changed = product;
  const bool is_one = visit_product(product, [&](auto op) {
    op.result = result;
    changed = std::move(op);
  });
  check_internal(is_one, product->name(), " is no product");
  return changed;
}

Map astype_map(DType from, DType to) {
  const DType dtypes[] = {from};
  ScalarRecorder recorder(dtypes);
  const Scalar results[] = {recorder.cast(recorder.input(0), to)};
  return {recorder.finish(results), "astype"};
}

Graph widen_products(const Graph& graph, const Backend& backend) {
  return Widening(graph, backend).run();
}

}  // namespace blockgrad
