#include "blockgrad/graph/reduce.h"

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"

namespace blockgrad {

namespace {

Shape reduced_shape(const Shape& shape, std::uint32_t axes, bool keepdims) {
  std::vector<std::int64_t> sizes;
  for (int a = 0; a < shape.rank(); ++a) {
    if (!(axes >> a & 1u)) sizes.push_back(shape[a]);
    else if (keepdims) sizes.push_back(1);
  }
  return Shape(sizes);
}

}  // namespace

std::string_view name(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum: return "sum";
    case ReduceKind::max: return "max";
    case ReduceKind::min: return "min";
    case ReduceKind::argmax: return "argmax";
    case ReduceKind::argmin: return "argmin";
  }
  return "?";
}

TensorType Reduce::infer(Types in) const {
  const auto& [dtype, shape] = in[0];
  const Shape result = reduced_shape(shape, axes, keepdims);
  if (kind == ReduceKind::sum)
    return {is_floating(dtype) ? working_dtype(dtype) : DType::i64, result};
  require(!is_half(dtype), "compares ", dtype, " as f32 only; use reduce()");
  const bool nothing_to_pick = shape.size() == 0 && result.size() > 0;
  if (kind == ReduceKind::max || kind == ReduceKind::min) {
    require(!nothing_to_pick || dtype == DType::boolean,
            "no element to pick along an axis of size 0 of ", shape);
    return {dtype, result};
  }
  require(dtype != DType::boolean, "wants numbers, got bool");
  require(!nothing_to_pick, "no element to pick along an axis of size 0 of ", shape);
  require(result.size() == 0 || shape.size() / result.size() < (std::int64_t{1} << 31),
          "more than 2^31 elements along the axes of ", shape);
  return {DType::i32, result};
}

std::vector<Expr> Reduce::vjp(const Backward& b) const {
  const Expr& x = b.input(0);
  if (!b.wants(0) || !is_floating(x.dtype()) || not_differentiable(0)) return {Expr()};
  const Shape kept = reduced_shape(x.shape(), axes, true);
  const auto spread = [&](const Expr& e) { return broadcast_to(reshape(e, kept), x.shape()); };
  const Expr dy = spread(b.dy());
  if (kind == ReduceKind::sum) return {cast(dy, x.dtype())};
  const auto picked = [](Scalar a, Scalar y) {
    return logical_or(equal(a, y), logical_and(isnan(a), isnan(y)));
  };
  const Expr y = spread(b.y());
  const Expr mask = map("equal", {x, y}, [&](auto s) { return picked(s[0], s[1]); });
  const Expr ones = map("where", {mask, x}, [](auto s) { return astype(s[0], s[1].dtype()); });
  std::vector<int> list;
  for (int a = 0; a < x.rank(); ++a) {
    if (axes >> a & 1u) list.push_back(a);
  }
  const Expr count = spread(list.empty() ? ones : reduce(ones, ReduceKind::sum, list, false));
  return {map("where", {mask, dy, count}, [](auto s) { return where(s[0], s[1] / s[2], 0); })};
}

std::string Reduce::print() const {
  std::string text = std::string(title()) + " over axes";
  for (int a = 0; a < max_rank; ++a) {
    if (axes >> a & 1u) text += " " + Text(a).str();
  }
  return text;
}

Cost Reduce::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  cost.flops = static_cast<double>(in[0].shape.size());
  return cost;
}

Expr reduce(const Expr& x, ReduceKind kind, std::span<const int> axes, bool keepdims,
            SourceLoc where) {
  if (is_half(x.dtype())) {
    const Expr wide = reduce(cast(x, DType::f32, where), kind, axes, keepdims, where);
    return wide.dtype() == DType::f32 ? cast(wide, x.dtype(), where) : wide;
  }
  std::uint32_t mask = 0;
  try {
    for (const int axis : axes) {
      const std::uint32_t bit = 1u << normalize_axis(axis, x.rank());
      require(!(mask & bit), "axis ", axis, " is named twice");
      mask |= bit;
    }
  } catch (const Error& error) {
    throw Error(to_string(current_origin(where), name(kind)) + ": " + error.what() +
                join({" for shape ", x.shape()}));
  }
  if (axes.empty()) mask = (1u << x.rank()) - 1;
  return make(Reduce{kind, mask, keepdims}, {x}, where);
}

}  // namespace blockgrad
