#include "blockgrad/ops/reductions.h"

#include <cmath>
#include <limits>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "ops/rules.h"

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

std::vector<int> list_of(std::uint32_t axes) {
  std::vector<int> list;
  for (int a = 0; a < max_rank; ++a) {
    if (axes >> a & 1u) list.push_back(a);
  }
  return list;
}

// A set of axes as bits; all of them if none is named.
std::uint32_t bits_of(const Axes& axes, const Shape& shape) {
  std::uint32_t bits = 0;
  for (const int axis : axes.list) {
    const std::uint32_t bit = 1u << detail::axis_of(shape, axis);
    require(!(bits & bit), "axis ", axis, " is named twice for shape ", shape);
    bits |= bit;
  }
  return axes.list.empty() ? (1u << shape.rank()) - 1 : bits;
}

// What the reductions with an `expand` share: floating lines along some axes.
struct Lines {
  std::uint32_t axes = 0;
  bool keepdims = false;

  bool operator==(const Lines&) const = default;
  TensorType infer(Types in) const {
    require(is_floating(in[0].dtype), "wants a floating dtype, got ", in[0].dtype);
    return Reduce{ReduceKind::sum, axes, keepdims}.infer(in);
  }
  // The result as it is with keepdims.
  Expr kept(const Expr& e, const Shape& x) const {
    std::vector<std::int64_t> sizes(x.sizes().begin(), x.sizes().end());
    for (const int a : list_of(axes)) sizes[static_cast<std::size_t>(a)] = 1;
    return reshape(e, Shape(sizes));
  }
  // Without axes there is nothing to reduce: every element is a line.
  Expr over(ReduceKind kind, const Expr& x, bool keeps) const {
    return axes == 0 ? x : reduce(x, kind, list_of(axes), keeps);
  }
  std::int64_t length(const Shape& x) const {
    std::int64_t n = 1;
    for (const int a : list_of(axes)) n *= x[a];
    return n;
  }
  Expr filled(const Expr& x, double value) const {
    return broadcast_to(constant(full({}, value, x.dtype())),
                        infer(std::vector<TensorType>{x.type()}).shape);
  }
};

// y = m + log(sum exp(x - m)); its gradient is dy * softmax(x), dy * exp(x - y).
struct LogSumExp : Lines {
  static constexpr std::string_view name = "logsumexp";

  bool operator==(const LogSumExp&) const = default;
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
    if (x.shape().size() == 0) return filled(x, -std::numeric_limits<double>::infinity());
    const Expr top = map("where", {over(ReduceKind::max, x, true)}, [](std::span<const Scalar> s) {
      return where(isinf(s[0]), 0, s[0]);  // x - inf would be NaN
    });
    const Expr total = over(ReduceKind::sum, exp(x - top), keepdims);
    return reshape(top, total.shape()) + log(total);
  }
};

// Sum of (x - mean)^2 / count, or its root. Gradient: dy * 2 (x - mean) / count; of the root dy *
// (x
// - mean) / (count * y), and 0 where y is 0.
struct Variance : Lines {
  static constexpr std::string_view name = "var";
  Number correction;
  bool is_root = false;

  bool operator==(const Variance&) const = default;
  std::string_view title() const { return is_root ? "stddev" : name; }
  double count(const Shape& x) const {
    const double n = static_cast<double>(length(x)) - correction.value;
    return n > 0 ? n : std::numeric_limits<double>::quiet_NaN();
  }
  // x minus its mean; twice, since the mean of large numbers is rounded.
  Expr centred(const Expr& x) const {
    const auto n = static_cast<double>(length(x.shape()));
    const Expr near = x - over(ReduceKind::sum, x, true) / n;
    return near - over(ReduceKind::sum, near, true) / n;
  }
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr& x = b.input(0);
    const double n = count(x.shape());
    const Expr dy = kept(b.dy(), x.shape());
    if (!is_root)
      return {map("var", {dy, centred(x)},
                  [n](std::span<const Scalar> s) { return s[0] * (s[1] * (2 / n)); })};
    return {map("stddev", {dy, centred(x), kept(b.y(), x.shape())}, [n](std::span<const Scalar> s) {
      return where(equal(s[2], 0), 0, s[0] * (s[1] / (s[2] * n)));
    })};
  }
  Expr expand(std::span<const Expr> in) const {
    const Expr& x = in[0];
    const double n = count(x.shape());
    if (x.shape().size() == 0 || std::isnan(n)) return filled(x, std::isnan(n) ? n : 0);
    const Expr mean = over(ReduceKind::sum, square(centred(x)), keepdims) / n;
    return is_root ? sqrt(mean) : mean;
  }
};

// y = m * sqrt(sum (x / m)^2), m the largest magnitude. Gradient: dy * x / y, and 0 where y is 0.
struct Norm : Lines {
  static constexpr std::string_view name = "norm";

  bool operator==(const Norm&) const = default;
  std::vector<Expr> vjp(const Backward& b) const {
    const Shape& shape = b.input(0).shape();
    return {map(
        "norm", {kept(b.dy(), shape), b.input(0), kept(b.y(), shape)},
        [](std::span<const Scalar> s) { return where(equal(s[2], 0), 0, s[0] * (s[1] / s[2])); })};
  }
  Expr expand(std::span<const Expr> in) const {
    const Expr& x = in[0];
    if (x.shape().size() == 0) return filled(x, 0);
    const Expr scale =
        map("where", {over(ReduceKind::max, abs(x), true)}, [](std::span<const Scalar> s) {
          return where(logical_or(isinf(s[0]), equal(s[0], 0)), 1, s[0]);
        });
    const Expr total = over(ReduceKind::sum, square(x / scale), keepdims);
    return reshape(scale, total.shape()) * sqrt(total);
  }
};

template <class T>
Expr reduced(T op, const Arg& x, const Axes& axes, bool keepdims) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context(Op(op)->name(), x.where(), [&] {
    op.axes = bits_of(axes, e.shape());
    op.keepdims = keepdims;
    return is_half(e.dtype()) ? cast(make(op, {cast(e, DType::f32)}), e.dtype()) : make(op, {e});
  });
}

// The product of the slices of `axis`, which stays with size 1.
Expr tree_of_products(Expr x, int axis) {
  Expr odd;  // the last slices of odd lengths
  while (x.shape()[axis] > 1) {
    const std::int64_t n = x.shape()[axis], half = n / 2;
    if (n % 2 == 1) {
      const Expr last = slice(x, axis, n - 1, n);
      odd = odd ? odd * last : last;
    }
    x = slice(x, axis, 0, half) * slice(x, axis, half, 2 * half);
  }
  return odd ? x * odd : x;
}

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
  if (is_half(e.dtype()))  // a sum may leave the range of f16 where the mean does not
    return cast(mean({cast(e, DType::f32, x.where()), x.where()}, axes, keepdims), e.dtype(),
                x.where());
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

Expr logsumexp(Arg x, const Axes& axes, bool keepdims) {
  return reduced(LogSumExp{}, x, axes, keepdims);
}

Expr var(Arg x, const Axes& axes, bool keepdims, double correction) {
  return reduced(Variance{{}, correction, false}, x, axes, keepdims);
}

Expr stddev(Arg x, const Axes& axes, bool keepdims, double correction) {
  return reduced(Variance{{}, correction, true}, x, axes, keepdims);
}

Expr norm(Arg x, const Axes& axes, bool keepdims) { return reduced(Norm{}, x, axes, keepdims); }

Expr prod(Arg x, const Axes& axes, bool keepdims) {
  const Expr e = as_expr(x, DType::f32);
  return detail::in_context("prod", x.where(), [&] {
    require(e.dtype() != DType::boolean, "wants numbers, got bool");
    const std::uint32_t bits = bits_of(axes, e.shape());
    const std::vector<int> lines = list_of(bits);
    std::int64_t n = 1;
    for (const int a : lines) n *= e.shape()[a];
    const Reduce lines_of{ReduceKind::sum, bits, keepdims};
    if (n == 0) return sum(e, axes, keepdims) + 1;  // 0 + 1, and still a function of x
    const TensorType working{working_dtype(e.dtype()), e.shape()};
    const TensorType type = lines_of.infer({{working}});
    const auto result = [&](const Expr& product) {
      const Expr y = reshape(product, type.shape);
      return is_half(e.dtype()) ? cast(y, e.dtype()) : y;
    };
    const Expr numbers = cast(e, type.dtype);
    if (lines.size() == 1) return result(tree_of_products(numbers, lines[0]));
    std::vector<int> order;
    std::vector<std::int64_t> sizes;
    for (int a = 0; a < e.rank(); ++a) {
      if (bits >> a & 1u) continue;
      order.push_back(a);
      sizes.push_back(e.shape()[a]);
    }
    order.insert(order.end(), lines.begin(), lines.end());
    sizes.push_back(n);
    const Expr one_line = reshape(permute_dims(numbers, order), Shape(sizes));
    return result(tree_of_products(one_line, one_line.rank() - 1));
  });
}

}  // namespace blockgrad
