#include "graph/flow.h"

#include "blockgrad/graph/flow.h"
#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace {

struct StopGradient {
  static constexpr std::string_view name = "stop_gradient";
  bool operator==(const StopGradient&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  Expr expand(std::span<const Expr> inputs) const { return inputs[0]; }
  bool not_differentiable(int) const { return true; }
};

struct Checkpoint {
  static constexpr std::string_view name = "checkpoint";
  bool operator==(const Checkpoint&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy()}; }
  Expr expand(std::span<const Expr> inputs) const { return inputs[0]; }
};

// make() tells of an empty one.
Expr operand(const Arg& x) { return x.is_number() ? as_expr(x, DType::f32) : x.expr(); }

bool is_log(const Node& node) {
  const Map* map = node.op.as<Map>();
  return map && is_function(map->fn, ScalarOp::log);
}

}  // namespace

Expr stop_gradient(const Arg& x) { return make(StopGradient{}, {operand(x)}, x.where()); }

Expr checkpoint(const Arg& x) { return make(Checkpoint{}, {operand(x)}, x.where()); }

bool is_stop_gradient(const Node& node) { return node.op.as<StopGradient>() != nullptr; }

bool is_custom_gradient(const Node& node) {
  return node.op->name() == detail::custom_gradient_name;
}

bool is_checkpoint(const Node& node) { return node.op.as<Checkpoint>() != nullptr; }

Expr log_argument(const Node& node) {
  if (!is_log(node)) return {};
  Expr inside = node.inputs[0];
  while (is_checkpoint(*inside.node())) inside = inside.node()->inputs[0];
  return inside.op()->has_log() && inside.node()->results.size() == 1 ? inside : Expr();
}

Expr stable_log(const Node& node, std::span<const Expr> inputs) {
  const Expr inside = log_argument(node);
  if (!inside) return {};
  const OriginScope scope(node.origin);
  const Expr log = inside.op()->log(inputs);
  return log && log.type() == node.results[0] ? log : Expr();
}

}  // namespace blockgrad
