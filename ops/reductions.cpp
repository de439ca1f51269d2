#include "blockgrad/ops/reductions.h"

#include <limits>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace {

Expr picked(const Arg& x, ReduceKind kind, const Axes& axes, bool keepdims) {
  return reduce(as_expr(x, DType::f32), kind, axes.list, keepdims, x.where());
}

Expr of_bools(const Arg& x, std::string_view name, ReduceKind kind, const Axes& axes,
              bool keepdims) {
  const Expr e = as_expr(x, DType::f32);
  require(e.dtype() == DType::boolean, to_string(current_origin(x.where()), name),
          ": wants bool, got ", e.dtype());
  return reduce(e, kind, axes.list, keepdims, x.where());
}

// y = m + log(sum exp(x - m)); its gradient is dy * softmax(x), dy * exp(x - y).
struct LogSumExp {
  static constexpr std::string_view name = "logsumexp";
  int axis = 0;
  bool keepdims = false;

  bool operator==(const LogSumExp&) const = default;
  TensorType infer(Types in) const {
    require(is_floating(in[0].dtype), "wants a floating dtype, got ", in[0].dtype);
    return Reduce{ReduceKind::sum, 1u << axis, keepdims}.infer(in);
  }
  Expr kept(const Expr& e, const Shape& like) const {
    std::vector<std::int64_t> sizes(like.sizes().begin(), like.sizes().end());
    sizes[static_cast<std::size_t>(axis)] = 1;
    return reshape(e, Shape(sizes));
  }
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr& x = b.input(0);
    // exp(-inf - -inf) would be NaN; a line of -inf sends no gradient.
    return {map("logsumexp", {kept(b.dy(), x.shape()), x, kept(b.y(), x.shape())},
                [](std::span<const Scalar> s) {
                  return where(equal(s[2], -std::numeric_limits<double>::infinity()), 0,
                               s[0] * exp(s[1] - s[2]));
                })};
  }
  Expr expand(std::span<const Expr> in) const {
    const Expr& x = in[0];
    if (x.shape()[axis] == 0) {
      return broadcast_to(constant(full({}, -std::numeric_limits<double>::infinity(), x.dtype())),
                          infer(std::vector<TensorType>{x.type()}).shape);
    }
    const Expr top = map("where", {max(x, axis, true)}, [](std::span<const Scalar> s) {
      return where(isinf(s[0]), 0, s[0]);  // x - inf would be NaN
    });
    return sum(top, axis, keepdims) + log(sum(exp(x - top), axis, keepdims));
  }
};

}  // namespace

Expr sum(Arg x, const Axes& axes, bool keepdims) {
  return picked(x, ReduceKind::sum, axes, keepdims);
}
Expr max(Arg x, const Axes& axes, bool keepdims) {
  return picked(x, ReduceKind::max, axes, keepdims);
}
Expr min(Arg x, const Axes& axes, bool keepdims) {
  return picked(x, ReduceKind::min, axes, keepdims);
}

Expr mean(Arg x, const Axes& axes, bool keepdims) {
  const Expr e = as_expr(x, DType::f32);
  require(is_floating(e.dtype()), to_string(current_origin(x.where()), "mean"),
          ": wants a floating dtype, got ", e.dtype(), "; convert with astype");
  const Expr total = sum(x, axes, keepdims);
  const double count = static_cast<double>(e.shape().size()) /
                       static_cast<double>(std::max<std::int64_t>(total.shape().size(), 1));
  return divide({total, x.where()}, count);
}

Expr all(Arg x, const Axes& axes, bool keepdims) {
  return of_bools(x, "all", ReduceKind::min, axes, keepdims);
}
Expr any(Arg x, const Axes& axes, bool keepdims) {
  return of_bools(x, "any", ReduceKind::max, axes, keepdims);
}
Expr argmax(Arg x, int axis, bool keepdims) {
  return picked(x, ReduceKind::argmax, axis, keepdims);
}
Expr argmin(Arg x, int axis, bool keepdims) {
  return picked(x, ReduceKind::argmin, axis, keepdims);
}

Expr logsumexp(Arg x, int axis, bool keepdims) {
  const Expr e = as_expr(x, DType::f32);
  try {
    return make(LogSumExp{normalize_axis(axis, e.rank()), keepdims}, {e}, x.where());
  } catch (const Error& error) {
    const std::string context = to_string(current_origin(x.where()), LogSumExp::name);
    if (std::string_view(error.what()).starts_with(context)) throw;
    throw Error(context + ": " + error.what() + join({" for shape ", e.shape()}));
  }
}

}  // namespace blockgrad
