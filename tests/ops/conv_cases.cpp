// Convolutions against seven nested loops, transposed ones against their definition by scattering.
#include "blockgrad/ops/conv.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

using Shapes = std::vector<std::vector<Shape>>;

struct Loops {
  Pair stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
};

// Calls f(image, channel of w's axis 0, of its axis 1, channel of x, row and column of the small
// value, of the kernel, and of the large one) for each product inside of the large value. The small
// value is the result of a convolution and the operand of a transposed one.
template <class F>
void for_each_product(const Shape& large, const Shape& small, const Shape& w, const Loops& o, F f) {
  const std::int64_t per_group = w[0] / o.groups;
  for (std::int64_t n = 0; n < small[0]; ++n)
    for (std::int64_t k = 0; k < w[0]; ++k)
      for (std::int64_t c = 0; c < w[1]; ++c)
        for (std::int64_t i = 0; i < small[2]; ++i)
          for (std::int64_t j = 0; j < small[3]; ++j)
            for (std::int64_t p = 0; p < w[2]; ++p)
              for (std::int64_t q = 0; q < w[3]; ++q) {
                const std::int64_t row = i * o.stride.rows + p * o.dilation.rows - o.padding.rows;
                const std::int64_t column =
                    j * o.stride.columns + q * o.dilation.columns - o.padding.columns;
                if (row < 0 || row >= large[2] || column < 0 || column >= large[3]) continue;
                f(Index{n, k, i, j}, Index{k, c, p, q},
                  Index{n, k / per_group * w[1] + c, row, column});
              }
}

std::size_t flat(const Shape& shape, const Index& index) {
  std::int64_t at = 0;
  for (int a = 0; a < shape.rank(); ++a) at = at * shape[a] + index[static_cast<std::size_t>(a)];
  return static_cast<std::size_t>(at);
}

Array filled(const Shape& shape) {
  return make_array(shape, [](const Index&) { return 0.0; });
}

std::int64_t steps(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                   std::int64_t padding, std::int64_t dilation) {
  std::int64_t count = 0;
  for (std::int64_t at = -padding; at + (kernel - 1) * dilation < size + padding; at += stride)
    ++count;
  return count;
}

Array slow_conv(const Array& x, const Array& w, const Loops& o) {
  const Shape y{
      x.shape[0], w.shape[0],
      steps(x.shape[2], w.shape[2], o.stride.rows, o.padding.rows, o.dilation.rows),
      steps(x.shape[3], w.shape[3], o.stride.columns, o.padding.columns, o.dilation.columns)};
  Array result = filled(y);
  for_each_product(x.shape, y, w.shape, o,
                   [&](const Index& out, const Index& tap, const Index& in) {
                     result.values[flat(y, out)] += w.at(tap) * x.at(in);
                   });
  return result;
}

Array slow_transposed(const Array& x, const Array& w, const Loops& o, const Pair& more) {
  const Shape y{x.shape[0], w.shape[1] * o.groups,
                (x.shape[2] - 1) * o.stride.rows - 2 * o.padding.rows +
                    o.dilation.rows * (w.shape[2] - 1) + more.rows + 1,
                (x.shape[3] - 1) * o.stride.columns - 2 * o.padding.columns +
                    o.dilation.columns * (w.shape[3] - 1) + more.columns + 1};
  Array result = filled(y);
  for_each_product(y, x.shape, w.shape, o,
                   [&](const Index& in, const Index& tap, const Index& out) {
                     result.values[flat(y, out)] += w.at(tap) * x.at(in);
                   });
  return result;
}

Array with_bias(Array y, const Array& bias) {
  return make_array(y.shape, [&](const Index& i) { return y.at(i) + bias.at({i[1]}); });
}

Shape with_row(const Shape& s) { return Shape{s[0], s[1], 1, s[2]}; }
Array with_row(Array x) {
  x.shape = with_row(x.shape);
  return x;
}
Array without_row(Array x) {
  x.shape = Shape{x.shape[0], x.shape[1], x.shape[3]};
  return x;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto conv2 = [&](std::string name, Shapes shapes, Loops o) {
    all.push_back({"conv2d_" + name, std::move(shapes),
                   [=](auto x) {
                     return conv2d(x[0], x[1], {o.stride, o.padding, o.dilation, o.groups},
                                   x.size() > 2 ? x[2] : Expr());
                   },
                   [=](auto x) {
                     const Array y = slow_conv(x[0], x[1], o);
                     return x.size() > 2 ? with_bias(y, x[2]) : y;
                   }});
    all.back().tolerance32 = 1e-5;  // sums of up to 36 products of at most 4
  };
  conv2("plain",
        {{{2, 3, 4, 5}, {2, 3, 3, 2}},
         {{1, 1, 3, 3}, {1, 1, 3, 3}},
         {{2, 2, 2, 3}, {3, 2, 1, 1}},
         {{0, 2, 3, 3}, {1, 2, 2, 2}},
         {{2, 0, 3, 3}, {2, 0, 2, 2}},
         {{2, 2, 3, 3}, {0, 2, 2, 2}},
         {{2, 2, 2, 2}, {2, 2, 2, 2}}},
        {});
  conv2("with_bias", {{{2, 2, 3, 3}, {3, 2, 2, 2}, {3}}, {{1, 1, 2, 2}, {1, 1, 1, 1}, {1}}}, {});
  conv2("with_stride", {{{2, 2, 5, 6}, {2, 2, 3, 2}}, {{1, 1, 4, 4}, {1, 1, 1, 1}}},
        {.stride = {2, 3}});
  conv2("with_padding",
        {{{1, 2, 3, 2}, {2, 2, 3, 3}}, {{2, 1, 1, 1}, {1, 1, 3, 3}}, {{1, 1, 0, 2}, {1, 1, 2, 2}}},
        {.padding = {1, 2}});
  conv2("with_dilation", {{{1, 2, 5, 7}, {2, 2, 2, 3}}}, {.dilation = {3, 2}});
  conv2("with_groups", {{{2, 4, 3, 3}, {6, 2, 2, 2}}, {{1, 2, 2, 3}, {2, 1, 2, 2}}}, {.groups = 2});
  conv2("of_each_channel_alone", {{{2, 3, 4, 4}, {3, 1, 3, 3}}}, {.padding = 1, .groups = 3});
  conv2("with_everything", {{{2, 4, 6, 7}, {2, 2, 3, 2}, {2}}},
        {.stride = 2, .padding = {2, 1}, .dilation = {2, 3}, .groups = 2});

  const auto conv1 = [&](std::string name, Shapes shapes, Conv1dOptions o) {
    const Loops loops{{1, o.stride}, {0, o.padding}, {1, o.dilation}, o.groups};
    all.push_back({"conv1d_" + name, std::move(shapes),
                   [=](auto x) { return conv1d(x[0], x[1], o, x.size() > 2 ? x[2] : Expr()); },
                   [=](auto x) {
                     const Array y = without_row(slow_conv(with_row(x[0]), with_row(x[1]), loops));
                     return x.size() > 2 ? with_bias(y, x[2]) : y;
                   }});
    all.back().tolerance32 = 1e-5;
  };
  conv1("plain",
        {{{2, 3, 5}, {2, 3, 3}},
         {{1, 1, 1}, {1, 1, 1}},
         {{2, 2, 2}, {2, 2, 2}},
         {{0, 1, 3}, {2, 1, 2}}},
        {});
  conv1("with_everything", {{{2, 4, 9}, {6, 2, 3}, {6}}},
        {.stride = 2, .padding = 3, .dilation = 2, .groups = 2});

  struct Transposed {
    Loops o;
    Pair more = 0;
  };
  const auto back2 = [&](std::string name, Shapes shapes, Transposed t) {
    all.push_back({"conv_transpose2d_" + name, std::move(shapes),
                   [=](auto x) {
                     return conv_transpose2d(
                         x[0], x[1], {t.o.stride, t.o.padding, t.more, t.o.dilation, t.o.groups},
                         x.size() > 2 ? x[2] : Expr());
                   },
                   [=](auto x) {
                     const Array y = slow_transposed(x[0], x[1], t.o, t.more);
                     return x.size() > 2 ? with_bias(y, x[2]) : y;
                   }});
    all.back().tolerance32 = 1e-5;
  };
  back2("plain",
        {{{2, 3, 2, 3}, {3, 2, 3, 2}},
         {{1, 1, 1, 1}, {1, 1, 2, 2}},
         {{0, 2, 2, 2}, {2, 1, 2, 2}},
         {{2, 0, 2, 2}, {0, 3, 2, 2}},
         {{2, 2, 2, 2}, {2, 2, 2, 2}}},
        {});
  back2("with_stride_and_padding", {{{2, 2, 3, 2}, {2, 1, 3, 4}, {1}}},
        {{.stride = {2, 3}, .padding = {1, 2}}});
  back2("with_output_padding", {{{1, 2, 2, 3}, {2, 2, 3, 3}}},
        {{.stride = {2, 3}, .padding = 1}, {1, 2}});
  back2("with_output_padding_beyond_the_stride", {{{1, 1, 2, 3}, {1, 2, 2, 2}}},
        {{.stride = {2, 1}, .padding = 1, .dilation = 4}, {3, 2}});
  back2("with_groups_and_dilation", {{{2, 4, 2, 3}, {4, 3, 2, 2}, {6}}},
        {{.dilation = {2, 1}, .groups = 2}});

  const auto back1 = [&](std::string name, Shapes shapes, ConvTranspose1dOptions o) {
    const Loops loops{{1, o.stride}, {0, o.padding}, {1, o.dilation}, o.groups};
    all.push_back(
        {"conv_transpose1d_" + name, std::move(shapes),
         [=](auto x) { return conv_transpose1d(x[0], x[1], o, x.size() > 2 ? x[2] : Expr()); },
         [=](auto x) {
           const Array y = without_row(
               slow_transposed(with_row(x[0]), with_row(x[1]), loops, {0, o.output_padding}));
           return x.size() > 2 ? with_bias(y, x[2]) : y;
         }});
    all.back().tolerance32 = 1e-5;
  };
  back1("plain",
        {{{2, 3, 4}, {3, 2, 3}},
         {{1, 1, 1}, {1, 1, 1}},
         {{2, 2, 2}, {2, 2, 2}},
         {{0, 1, 2}, {1, 2, 3}}},
        {});
  back1("with_everything", {{{2, 4, 3}, {4, 1, 3}, {2}}},
        {.stride = 3, .padding = 1, .output_padding = 2, .dilation = 2, .groups = 2});
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conv)

BG_CASES(rows())

// <conv(x, w), v> = <x, input(v, w)> = <w, weight(x, v)>: one trilinear form.
BOOST_AUTO_TEST_CASE(the_three_derivatives_are_transposes_of_each_other,
                     *boost::unit_test::tolerance(1e-12)) {  // sums of some hundred terms
  const Conv2dOptions options{2, {1, 2}, {2, 1}, 2};
  const Tensor xv = arange(0, 2 * 4 * 5 * 6, 1, DType::f64).reshape({2, 4, 5, 6});
  const Expr x = sin(constant(xv));
  const Expr w = cos(constant(arange(0, 6 * 2 * 3 * 3, 1, DType::f64).reshape({6, 2, 3, 3})));
  const Expr y = conv2d(x, w, options);
  const Expr v = sin(
      3.0 *
      constant(arange(0, static_cast<double>(y.shape().size()), 1, DType::f64).reshape(y.shape())));
  const Expr to_x = make(Conv2dInput{options, {5, 6}}, {v, w});
  const Expr to_w = make(Conv2dWeight{options, 3}, {x, v});
  const double form = evaluate(sum(y * v)).at(0);
  BOOST_TEST(evaluate(sum(x * to_x)).at(0) == form);
  BOOST_TEST(evaluate(sum(w * to_w)).at(0) == form);
}

BOOST_AUTO_TEST_CASE(the_gradients_of_a_convolution_are_two_nodes) {
  const Expr x = input("x", {1, 2, 4, 4}), w = input("w", {3, 2, 3, 3});
  const Expr dy = input("dy", {1, 3, 2, 2});
  const Expr wrt[] = {x, w};
  const std::vector<Expr> g = vjp(conv2d(x, w), dy, wrt);
  BOOST_TEST((g[0].op().as<Conv2dInput>() && g[1].op().as<Conv2dWeight>()));
}

BOOST_AUTO_TEST_CASE(halves_are_multiplied_as_f32_and_rounded_once) {
  const Expr x = sin(constant(arange(0, 2 * 3 * 5 * 6, 1).reshape({2, 3, 5, 6})));
  const Expr w = cos(constant(arange(0, 3 * 3 * 3 * 2, 1).reshape({3, 3, 3, 2})));
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Expr a = astype(x, dtype), b = astype(w, dtype);
    const Expr wide_a = astype(a, DType::f32), wide_b = astype(b, DType::f32);
    const auto check = [&](const Expr& half, const Expr& wide) {
      BOOST_TEST((half.dtype() == dtype));
      const Tensor difference =
          evaluate(max(abs(astype(half, DType::f32) - astype(astype(wide, dtype), DType::f32))));
      BOOST_TEST(difference.at(0) == 0);
    };
    check(conv2d(a, b, {.padding = 1}), conv2d(wide_a, wide_b, {.padding = 1}));
    check(conv_transpose2d(a, b), conv_transpose2d(wide_a, wide_b));
    check(grad(sum(conv2d(a, b)), {a})[0], grad(sum(conv2d(wide_a, wide_b)), {wide_a})[0]);
  }
}

BOOST_AUTO_TEST_CASE(the_kernel_is_not_flipped_and_zeros_surround_the_image) {
  const Expr x = constant(ones({1, 1, 3, 3}, DType::f64));
  const Expr w = constant(tensor<double>({1.0, 2, 3, 4}, {1, 1, 2, 2}));
  const Tensor y = evaluate(conv2d(x, w, {.padding = 1}));
  const double expected[] = {4, 7, 7, 3, 6, 10, 10, 4, 6, 10, 10, 4, 2, 3, 3, 1};
  for (int i = 0; i < 16; ++i) BOOST_TEST(y.at(i) == expected[i]);
}

BOOST_AUTO_TEST_SUITE_END()
