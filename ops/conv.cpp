#include "blockgrad/ops/conv.h"

#include <array>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "blockgrad/ops/windows.h"
#include "ops/rules.h"
#include "ops/window_layout.h"

namespace blockgrad {

using detail::product_gradient;

namespace {

// How a kernel moves along one axis.
struct Steps {
  std::int64_t stride, padding, dilation;
};

using TwoAxes = std::array<Steps, 2>;

TwoAxes steps_of(const Conv2dOptions& o) {
  return {Steps{o.stride.rows, o.padding.rows, o.dilation.rows},
          Steps{o.stride.columns, o.padding.columns, o.dilation.columns}};
}

void require_steps(const Steps& steps, std::int64_t kernel, int axis) {
  require(steps.stride >= 1, "the stride must be at least 1, got ", steps.stride);
  require(steps.padding >= 0, "the padding must not be negative, got ", steps.padding);
  require(steps.dilation >= 1, "the dilation must be at least 1, got ", steps.dilation);
  require(kernel >= 1, "the kernel has no element along axis ", axis);
}

std::int64_t output_size(std::int64_t size, std::int64_t kernel, const Steps& steps, int axis) {
  require_steps(steps, kernel, axis);
  const std::int64_t reach = checked_multiply(steps.dilation, kernel - 1);
  const std::int64_t padded = checked_add(size, checked_multiply(2, steps.padding));
  require(padded > reach, "the kernel covers ", checked_add(reach, 1), " elements along axis ",
          axis, " (", steps.dilation, " x (", kernel, " - 1) + 1), the padded input has ", padded,
          " (", size, " + 2 x ", steps.padding, ")");
  return (padded - reach - 1) / steps.stride + 1;
}

void require_kinds(const TensorType& x, const TensorType& w, std::size_t axes) {
  require(is_floating(x.dtype), "wants a floating dtype, got ", x.dtype);
  require(x.dtype == w.dtype, "dtypes differ: ", x.dtype, " and ", w.dtype,
          "; convert one with astype");
  const int rank = static_cast<int>(axes) + 2;
  require(x.shape.rank() == rank && w.shape.rank() == rank, "wants two operands of ", rank,
          " axes, got ", x.shape, " and ", w.shape);
}

// The type of the convolution of x [N, C, ..] with w [O, C/groups, ..].
TensorType convolved(const TensorType& x, const TensorType& w, std::span<const Steps> steps,
                     std::int64_t groups) {
  require_kinds(x, w, steps.size());
  require(groups >= 1, "groups must be at least 1, got ", groups);
  const std::int64_t in = x.shape[1], out = w.shape[0];
  require(in % groups == 0 && out % groups == 0, groups, " groups must divide the ", in,
          " channels of x and the ", out, " of the result");
  require(w.shape[1] == in / groups, "the weight must have ", in / groups,
          " input channels per group, it is ", w.shape, " for x ", x.shape);
  std::vector<std::int64_t> sizes{x.shape[0], out};
  for (std::size_t a = 0; a < steps.size(); ++a) {
    const int axis = static_cast<int>(a) + 2;
    sizes.push_back(output_size(x.shape[axis], w.shape[axis], steps[a], axis));
  }
  return {x.dtype, Shape(sizes)};
}

// The type of the transposed convolution of x [N, C, ..] with w [C, O/groups, ..].
TensorType transposed(const TensorType& x, const TensorType& w, std::span<const Steps> steps,
                      std::span<const std::int64_t> output_padding, std::int64_t groups) {
  require_kinds(x, w, steps.size());
  require(groups >= 1, "groups must be at least 1, got ", groups);
  const std::int64_t in = x.shape[1];
  require(in % groups == 0, groups, " groups must divide the ", in, " channels of x");
  require(w.shape[0] == in, "the weight must have ", in, " input channels, it is ", w.shape,
          " for x ", x.shape);
  std::vector<std::int64_t> sizes{x.shape[0], checked_multiply(w.shape[1], groups)};
  for (std::size_t a = 0; a < steps.size(); ++a) {
    const int axis = static_cast<int>(a) + 2;
    const auto& [stride, padding, dilation] = steps[a];
    const std::int64_t more = output_padding[a], size = x.shape[axis], kernel = w.shape[axis];
    require_steps(steps[a], kernel, axis);
    require(more >= 0 && (more < stride || more < dilation),
            "the output padding must be 0 or more and below the stride ", stride,
            " or the dilation ", dilation, ", got ", more);
    require(size >= 1, "wants at least one element along axis ", axis, ", got ", x.shape);
    const std::int64_t reach =
        checked_add(checked_multiply(size - 1, stride), checked_multiply(dilation, kernel - 1));
    const std::int64_t full = checked_add(reach, checked_add(more, 1));
    const std::int64_t cut = checked_multiply(2, padding);
    require(full > cut, "the output size (", size, " - 1) x ", stride, " - 2 x ", padding, " + ",
            dilation, " x (", kernel, " - 1) + ", more, " + 1 of axis ", axis, " is below 1");
    sizes.push_back(full - cut);
  }
  return {x.dtype, Shape(sizes)};
}

Shape four(std::int64_t a, std::int64_t b, const Pair& size) {
  return Shape{a, b, size.rows, size.columns};
}

Pair last_two(const Shape& shape) { return {shape[2], shape[3]}; }

// What the three derivatives have in common, from the shapes of x and w.
struct Geometry {
  Conv2dOptions options;
  std::int64_t batch, in, out;  // N, C, O
  Pair kernel;                  // h, w
  Pair input, output;           // H, W; H', W'

  Geometry(const Conv2dOptions& o, const Shape& x, const Shape& w, const Shape& dy)
      : options(o),
        batch(x[0]),
        in(x[1]),
        out(w[0]),
        kernel(last_two(w)),
        input(last_two(x)),
        output(last_two(dy)) {}

  std::int64_t groups() const { return options.groups; }
  std::int64_t places() const { return output.rows * output.columns; }
  std::int64_t taps() const { return in / groups() * kernel.rows * kernel.columns; }

  // Every window of x as a column.
  Expr columns(const Expr& x) const {
    const Pair& p = options.padding;
    const Expr padded = pad(x, {0, 0, p.rows, p.columns}, {0, 0, p.rows, p.columns});
    const Expr seen = windows(padded, {kernel.rows, kernel.columns},
                              {options.stride.rows, options.stride.columns},
                              {options.dilation.rows, options.dilation.columns});
    const Expr first = permute_dims(seen, std::array{0, 1, 4, 5, 2, 3});  // [N, C, h, w, H', W']
    return reshape(first, Shape{batch, groups(), taps(), places()});
  }
  Expr weight_rows(const Expr& w) const {
    return reshape(w, Shape{groups(), out / groups(), taps()});
  }
  Expr output_rows(const Expr& dy) const {
    return reshape(dy, Shape{batch, groups(), out / groups(), places()});
  }
  // The transpose of columns(): windows that overlap add up, what lies in the padding is dropped.
  Expr added(const Expr& columns) const {
    const Pair& p = options.padding;
    const Shape whole = four(batch, in, {input.rows + 2 * p.rows, input.columns + 2 * p.columns});
    const Layout seen =
        detail::window_layout(whole, std::array{kernel.rows, kernel.columns},
                              std::array{options.stride.rows, options.stride.columns},
                              std::array{options.dilation.rows, options.dilation.columns});
    const Shape parts{batch, in, kernel.rows, kernel.columns, output.rows, output.columns};
    const auto& s = seen.strides;
    const Layout layout{parts, {s[0], s[1], s[4], s[5], s[2], s[3]}, 0};
    const Expr sums = make(Unview{{layout}, whole, 0.0, "windows"}, {reshape(columns, parts)});
    return slice(sums,
                 {{}, {}, {p.rows, p.rows + input.rows}, {p.columns, p.columns + input.columns}});
  }
};

Cost products(Types in, Types out, const Shape& dy, std::int64_t channels, const Pair& kernel) {
  Cost cost = detail::default_cost(in, out);
  cost.flops = 2.0 * static_cast<double>(dy.size()) * static_cast<double>(channels) *
               static_cast<double>(kernel.rows) * static_cast<double>(kernel.columns);
  return cost;
}

std::string text_of(const Conv2dOptions& o) {
  const auto pair = [](const Pair& p) { return join({p.rows, "x", p.columns}); };
  return "stride " + pair(o.stride) + " padding " + pair(o.padding) + " dilation " +
         pair(o.dilation) + join({" groups ", o.groups});
}

Expr with_bias(const Expr& y, const Expr& bias) {
  if (!bias) return y;
  const Shape expected{y.shape()[1]};
  require(bias.shape() == expected && bias.dtype() == y.dtype(), "the bias must be ",
          to_string(TensorType{y.dtype(), expected}), ", got ", to_string(bias.type()));
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(y.rank()) - 1, 1);
  sizes[0] = expected[0];
  return y + reshape(bias, Shape(sizes));
}

// `op` of operands that are expanded in their working dtype.
template <class Op, class F>
Expr expanded(const Op& op, std::span<const Expr> in, F expand) {
  const DType dtype = op.infer(std::array{in[0].type(), in[1].type()}).dtype;
  const DType wide = working_dtype(in[0].dtype());
  return astype(expand(astype(in[0], wide), astype(in[1], wide)), dtype);
}

// bf16 and f16 are only stored: their products are added in f32 and rounded once.
template <class F>
Expr in_working_dtype(const Expr& a, const Expr& b, F product) {
  if (!is_half(a.dtype()) || a.dtype() != b.dtype()) return product(a, b);
  return astype(product(astype(a, DType::f32), astype(b, DType::f32)), a.dtype());
}

// [.., L] as [.., 1, L].
Expr with_row(const Expr& x) { return expand_dims(x, 2); }

// An output padding of a stride or more reads as zeros behind x.
Expr reaching(const Expr& x, const Pair& more, const Pair& stride) {
  return pad(x, {0, 0, 0, 0}, {0, 0, more.rows / stride.rows, more.columns / stride.columns});
}

}  // namespace

TensorType Conv2d::infer(Types in) const {
  const Shape y = convolved(in[0], in[1], steps_of(options), options.groups).shape;
  return {detail::product_dtype(in[0].dtype, result, "conv2d"), y};
}

std::vector<Expr> Conv2d::vjp(const Backward& b) const {
  const Expr &x = b.input(0), &w = b.input(1);
  std::vector<Expr> gradients(2);
  if (b.wants(0))
    gradients[0] =
        product_gradient(Conv2dInput{options, last_two(x.shape())}, b.dy(), w, x.dtype());
  if (b.wants(1))
    gradients[1] =
        product_gradient(Conv2dWeight{options, last_two(w.shape())}, x, b.dy(), w.dtype());
  return gradients;
}

Expr Conv2d::expand(std::span<const Expr> in) const {
  const Shape y = infer(std::array{in[0].type(), in[1].type()}).shape;
  return expanded(*this, in, [&](const Expr& x, const Expr& w) {
    const Geometry g(options, x.shape(), w.shape(), y);
    return reshape(matmul(g.weight_rows(w), g.columns(x)), y);
  });
}

std::string Conv2d::print() const { return text_of(options); }

Cost Conv2d::cost(Types in, Types out) const {
  return products(in, out, out[0].shape, in[1].shape[1], last_two(in[1].shape));
}

TensorType Conv2dInput::infer(Types in) const {
  require_kinds(in[0], in[1], 2);
  const DType dtype = detail::product_dtype(in[0].dtype, result, "conv_transpose2d");
  const TensorType x{in[0].dtype,
                     four(in[0].shape[0], checked_multiply(in[1].shape[1], options.groups), size)};
  const Shape dy = convolved(x, in[1], steps_of(options), options.groups).shape;
  require(in[0].shape == dy, "the adjoint must have shape ", dy, ", got ", in[0].shape);
  return {dtype, x.shape};
}

std::vector<Expr> Conv2dInput::vjp(const Backward& b) const {
  std::vector<Expr> gradients(2);
  const Expr &dy = b.input(0), &w = b.input(1);
  if (b.wants(0)) gradients[0] = product_gradient(Conv2d{options}, b.dy(), w, dy.dtype());
  if (b.wants(1))
    gradients[1] =
        product_gradient(Conv2dWeight{options, last_two(w.shape())}, b.dy(), dy, w.dtype());
  return gradients;
}

Expr Conv2dInput::expand(std::span<const Expr> in) const {
  const Shape x = infer(std::array{in[0].type(), in[1].type()}).shape;
  return expanded(*this, in, [&](const Expr& dy, const Expr& w) {
    const Geometry g(options, x, w.shape(), dy.shape());
    return g.added(matmul(transpose(g.weight_rows(w)), g.output_rows(dy)));
  });
}

std::string Conv2dInput::print() const { return text_of(options); }

Cost Conv2dInput::cost(Types in, Types out) const {
  return products(in, out, in[0].shape, in[1].shape[1], last_two(in[1].shape));
}

TensorType Conv2dWeight::infer(Types in) const {
  require_kinds(in[0], in[1], 2);
  const DType dtype = detail::product_dtype(in[0].dtype, result, "conv2d");
  require(options.groups >= 1, "groups must be at least 1, got ", options.groups);
  const TensorType w{in[0].dtype, four(in[1].shape[1], in[0].shape[1] / options.groups, size)};
  const Shape dy = convolved(in[0], w, steps_of(options), options.groups).shape;
  require(in[1].shape == dy, "the adjoint must have shape ", dy, ", got ", in[1].shape);
  return {dtype, w.shape};
}

std::vector<Expr> Conv2dWeight::vjp(const Backward& b) const {
  std::vector<Expr> gradients(2);
  const Expr &x = b.input(0), &dy = b.input(1);
  if (b.wants(0))
    gradients[0] =
        product_gradient(Conv2dInput{options, last_two(x.shape())}, dy, b.dy(), x.dtype());
  if (b.wants(1)) gradients[1] = product_gradient(Conv2d{options}, x, b.dy(), dy.dtype());
  return gradients;
}

Expr Conv2dWeight::expand(std::span<const Expr> in) const {
  const Shape w = infer(std::array{in[0].type(), in[1].type()}).shape;
  return expanded(*this, in, [&](const Expr& x, const Expr& dy) {
    const Geometry g(options, x.shape(), w, dy.shape());
    const Expr each = matmul(g.output_rows(dy), g.columns(x), {.transpose_b = true});
    return reshape(sum(each, 0), w);
  });
}

std::string Conv2dWeight::print() const { return text_of(options); }

Cost Conv2dWeight::cost(Types in, Types out) const {
  return products(in, out, in[1].shape, out[0].shape[1], size);
}

Expr conv2d(Arg x, Arg w, const Conv2dOptions& options, const Expr& bias) {
  return detail::in_context("conv2d", x.where(), [&] {
    const Expr a = as_expr(x, DType::f32), b = as_expr(w, DType::f32);
    const Expr y = in_working_dtype(
        a, b, [&](const Expr& u, const Expr& v) { return make(Conv2d{options}, {u, v}); });
    return with_bias(y, bias);
  });
}

Expr conv1d(Arg x, Arg w, const Conv1dOptions& options, const Expr& bias) {
  return detail::in_context("conv1d", x.where(), [&] {
    const Expr a = as_expr(x, DType::f32), b = as_expr(w, DType::f32);
    const auto& [stride, padding, dilation, groups] = options;
    convolved(a.type(), b.type(), std::array{Steps{stride, padding, dilation}}, groups);
    const Conv2d op{{{1, stride}, {0, padding}, {1, dilation}, groups}, "conv1d"};
    const Expr y = in_working_dtype(with_row(a), with_row(b),
                                    [&](const Expr& u, const Expr& v) { return make(op, {u, v}); });
    return with_bias(squeeze(y, 2), bias);
  });
}

Expr conv_transpose2d(Arg x, Arg w, const ConvTranspose2dOptions& options, const Expr& bias) {
  return detail::in_context("conv_transpose2d", x.where(), [&] {
    const Expr a = as_expr(x, DType::f32), b = as_expr(w, DType::f32);
    const auto& [stride, padding, more, dilation, groups] = options;
    const Conv2dOptions forward{stride, padding, dilation, groups};
    const TensorType type = transposed(a.type(), b.type(), steps_of(forward),
                                       std::array{more.rows, more.columns}, groups);
    const Conv2dInput op{forward, last_two(type.shape), "conv_transpose2d"};
    const Expr rows = reaching(a, more, stride);
    const Expr y =
        in_working_dtype(rows, b, [&](const Expr& u, const Expr& v) { return make(op, {u, v}); });
    return with_bias(y, bias);
  });
}

Expr conv_transpose1d(Arg x, Arg w, const ConvTranspose1dOptions& options, const Expr& bias) {
  return detail::in_context("conv_transpose1d", x.where(), [&] {
    const Expr a = as_expr(x, DType::f32), b = as_expr(w, DType::f32);
    const auto& [stride, padding, more, dilation, groups] = options;
    const TensorType type = transposed(
        a.type(), b.type(), std::array{Steps{stride, padding, dilation}}, std::array{more}, groups);
    const Conv2dInput op{
        {{1, stride}, {0, padding}, {1, dilation}, groups}, {1, type.shape[2]}, "conv_transpose1d"};
    const Expr rows = reaching(with_row(a), {0, more}, {1, stride});
    const Expr y = in_working_dtype(rows, with_row(b),
                                    [&](const Expr& u, const Expr& v) { return make(op, {u, v}); });
    return with_bias(squeeze(y, 2), bias);
  });
}

}  // namespace blockgrad
