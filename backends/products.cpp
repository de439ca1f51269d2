#include "backends/products.h"

#include <algorithm>
#include <utility>

#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/attention.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/linalg.h"

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
         is_one(op.as<Conv2dWeight>()) || is_one(op.as<Attention>()) ||
         is_one(op.as<AttentionGradient>());
}

class Widening {
 public:
  Widening(const Graph& graph, const Backend& backend)
      : graph_(graph), backend_(backend), rewrite_(graph) {}

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
      const bool is_one = is_product(node.op) || node.op.as<Reduce>();
      const bool is_wide =
          !is_one || !is_half(graph_.type(node.inputs[0]).dtype) || backend_.reads_halves(node.op);
      forget_all_but(node);
      if (is_wide) rewrite_.keep(i);
      else widen(i, node);
    }
    return rewrite_.finish();
  }

 private:
  void widen(std::int32_t i, const GraphNode& node) {
    const Op op = is_product(node.op) ? with_result(node.op, {}) : node.op;
    GraphNode wide{op, {}, node.types, node.origin};
    for (const Value v : node.inputs) {
      wide.inputs.push_back(is_half(graph_.type(v).dtype) ? operand(v, node.origin)
                                                          : rewrite_.renamed(v));
    }
    for (TensorType& type : wide.types) type.dtype = DType::f32;
    const std::int32_t made = rewrite_.add(std::move(wide));
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(node.types.size()); ++r) {
      const DType dtype = node.types[static_cast<std::size_t>(r)].dtype;
      rewrite_.rename({i, r}, astype(rewrite_, {made, r}, dtype, node.origin));
    }
  }

  // What a View only turns is widened as it lies, and turned then.
  Value operand(Value v, const Origin& origin) {
    const GraphNode& node = graph_.node(v);
    const View* view = node.op.as<View>();
    if (!view || !only_turns(v)) return wide(v, origin);
    const Value source = wide(node.inputs[0], origin);
    return {rewrite_.add({*view, {source}, {{DType::f32, view->layout.shape}}, node.origin}), 0};
  }

  bool only_turns(Value view) const {
    return graph_.type(graph_.base(view)).shape.size() == graph_.type(view).shape.size();
  }

  Value wide(Value v, const Origin& origin) {
    for (const auto& [half, made] : widened_) {
      if (half == v) return made;
    }
    widened_.emplace_back(v, astype(rewrite_, rewrite_.renamed(v), DType::f32, origin));
    return widened_.back().second;
  }

  // Products and Reduces one behind the other share what they widen; later ones let it go first.
  void forget_all_but(const GraphNode& node) {
    if (node.op.as<View>()) return;
    const auto is_read = [&](const auto& known) {
      return std::ranges::any_of(node.inputs, [&](Value v) {
        return v == known.first || (graph_.node(v).op.as<View>() && graph_.base(v) == known.first);
      });
    };
    std::erase_if(widened_, [&](const auto& known) { return !is_read(known); });
  }

  const Graph& graph_;
  const Backend& backend_;
  Rewrite rewrite_;
  std::vector<std::pair<Value, Value>> widened_;  // that the node before reads, and as f32
};

}  // namespace

bool is_product(const Op& op) {
  return visit_product(op, [](const auto&) {});
}

std::size_t operand_count(const Op& product) {
  return product.as<AttentionGradient>() ? 4 : product.as<Attention>() ? 3 : 2;
}

std::size_t result_count(const Op& product) { return product.as<AttentionGradient>() ? 3 : 1; }

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

Value astype(Rewrite& rewrite, Value v, DType dtype, const Origin& origin) {
  const TensorType type = rewrite.result().type(v);
  if (type.dtype == dtype) return v;
  return {rewrite.add({astype_map(type.dtype, dtype), {v}, {{dtype, type.shape}}, origin}), 0};
}

void rename_results(Rewrite& rewrite, std::int32_t old_node, std::int32_t made) {
  const auto& types = rewrite.result().nodes[static_cast<std::size_t>(made)].types;
  for (std::int32_t r = 0; r < static_cast<std::int32_t>(types.size()); ++r)
    rewrite.rename({old_node, r}, {made, r});
}

Graph widen_products(const Graph& graph, const Backend& backend) {
  return Widening(graph, backend).run();
}

}  // namespace blockgrad
