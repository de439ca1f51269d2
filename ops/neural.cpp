#include "blockgrad/ops/neural.h"

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"

namespace blockgrad {

namespace {

TensorType same_floating(Types in) {
  require(is_floating(in[0].dtype), "wants a floating dtype, got ", in[0].dtype);
  return in[0];
}

// bf16 and f16 are computed with as f32: a sum over many classes leaves the range of f16.
Expr widened(const Expr& x) { return cast(x, working_dtype(x.dtype())); }

struct LogSoftmax {
  static constexpr std::string_view name = "log_softmax";
  int axis = 0;
  bool operator==(const LogSoftmax&) const = default;
  TensorType infer(Types in) const { return same_floating(in); }
  // dx = dy - exp(y) * sum(dy)
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr dy = widened(b.dy());
    return {cast(dy - exp(widened(b.y())) * sum(dy, axis, true), b.y().dtype())};
  }
  Expr expand(std::span<const Expr> in) const {
    if (in[0].shape().size() == 0) return in[0];
    const Expr x = widened(in[0]), shifted = x - max(x, axis, true);
    return cast(shifted - log(sum(exp(shifted), axis, true)), in[0].dtype());
  }
};

struct Softmax {
  static constexpr std::string_view name = "softmax";
  int axis = 0;
  bool operator==(const Softmax&) const = default;
  TensorType infer(Types in) const { return same_floating(in); }
  // dx = y * (dy - sum(dy * y))
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr y = widened(b.y()), dy = widened(b.dy());
    return {cast(y * (dy - sum(dy * y, axis, true)), b.y().dtype())};
  }
  Expr expand(std::span<const Expr> in) const {
    if (in[0].shape().size() == 0) return in[0];
    const Expr x = widened(in[0]), powers = exp(x - max(x, axis, true));
    return cast(powers / sum(powers, axis, true), in[0].dtype());
  }
  Expr log(std::span<const Expr> in) const { return make(LogSoftmax{axis}, {in[0]}); }
};

int checked_axis(const Arg& x, const Expr& e, int axis, std::string_view op) {
  try {
    return normalize_axis(axis, e.rank());
  } catch (const Error& error) {
    throw Error(to_string(current_origin(x.where()), op) + ": " + error.what() +
                join({" for shape ", e.shape()}));
  }
}

}  // namespace

Expr softmax(Arg x, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return make(Softmax{checked_axis(x, e, axis, Softmax::name)}, {e}, x.where());
}

Expr log_softmax(Arg x, int axis) {
  const Expr e = as_expr(x, DType::f32);
  return make(LogSoftmax{checked_axis(x, e, axis, LogSoftmax::name)}, {e}, x.where());
}

}  // namespace blockgrad
