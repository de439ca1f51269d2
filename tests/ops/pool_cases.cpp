// Pooling against loops over every window; ties, padding and non-finite values.
#include "blockgrad/ops/pool.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
using Shapes = std::vector<std::vector<Shape>>;

struct Window {
  Pair size = 1, stride = 1, padding = 0;
};

std::int64_t steps(std::int64_t length, std::int64_t size, std::int64_t stride,
                   std::int64_t padding) {
  std::int64_t count = 0;
  for (std::int64_t at = -padding; at + size <= length + padding; at += stride) ++count;
  return count;
}

// f over the elements of x that lie in each window; places of the padding are left out.
Array pooled(const Array& x, const Window& o,
             const std::function<double(const std::vector<double>&)>& f) {
  const int rank = x.shape.rank();
  std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
  const std::int64_t height = sizes[sizes.size() - 2], width = sizes.back();
  sizes[sizes.size() - 2] = steps(height, o.size.rows, o.stride.rows, o.padding.rows);
  sizes.back() = steps(width, o.size.columns, o.stride.columns, o.padding.columns);
  return make_array(Shape(sizes), [&](Index i) {
    const std::int64_t top = i[static_cast<std::size_t>(rank) - 2] * o.stride.rows - o.padding.rows;
    const std::int64_t left = i.back() * o.stride.columns - o.padding.columns;
    std::vector<double> inside;
    for (std::int64_t r = top; r < top + o.size.rows; ++r) {
      for (std::int64_t c = left; c < left + o.size.columns; ++c) {
        if (r < 0 || r >= height || c < 0 || c >= width) continue;
        i[static_cast<std::size_t>(rank) - 2] = r;
        i.back() = c;
        inside.push_back(x.at(i));
      }
    }
    return f(inside);
  });
}

double largest(const std::vector<double>& v) {
  double best = v[0];
  for (const double e : v) best = std::max(best, e);
  return best;
}

double total(const std::vector<double>& v) {
  double s = 0;
  for (const double e : v) s += e;
  return s;
}

double average(const std::vector<double>& v) { return total(v) / static_cast<double>(v.size()); }

Array on_one_row(Array x, const Window& o,
                 const std::function<double(const std::vector<double>&)>& f) {
  std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
  sizes.insert(sizes.end() - 1, 1);
  x.shape = Shape(sizes);
  Array y = pooled(x, o, f);
  sizes.assign(y.shape.sizes().begin(), y.shape.sizes().end());
  sizes.erase(sizes.end() - 2);
  y.shape = Shape(sizes);
  return y;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto image = [&](std::string name, Shapes shapes, Window o) {
    const auto stride = [=]() -> std::optional<Pair> {
      if (o.stride == o.size) return std::nullopt;
      return o.stride;
    }();
    const double size = static_cast<double>(o.size.rows * o.size.columns);
    all.push_back({"max_pool2d_" + name, shapes,
                   [=](auto x) { return max_pool2d(x[0], o.size, {stride, o.padding}); },
                   [=](auto x) { return pooled(x[0], o, largest); }});
    all.back().near_kink = ties_within();
    all.push_back({"avg_pool2d_" + name, shapes,
                   [=](auto x) { return avg_pool2d(x[0], o.size, {stride, o.padding}); },
                   [=](auto x) { return pooled(x[0], o, average); }});
    all.push_back(
        {"avg_pool2d_counting_padding_" + name, shapes,
         [=](auto x) { return avg_pool2d(x[0], o.size, {stride, o.padding, true}); },
         [=](auto x) { return pooled(x[0], o, [=](const auto& v) { return total(v) / size; }); }});
  };
  image("plain", {{{2, 3, 4, 6}}, {{4, 4}}, {{1, 1, 2, 3}}, {{0, 2, 4, 4}}, {{3, 5, 5}}},
        {2, 2, 0});
  image("of_one_element", {{{2, 3}}, {{1, 1}}}, {1, 1, 0});
  image("with_overlap", {{{2, 4, 5}}, {{3, 3}}}, {{3, 2}, 1, 0});
  image("with_gaps", {{{2, 7, 8}}}, {2, {3, 4}, 0});
  image("with_padding", {{{2, 3, 4}}, {{1, 1}}, {{1, 1, 2, 5}}}, {3, 2, 1});
  image("with_uneven_padding", {{{2, 3, 4}}, {{1, 2}}}, {{3, 2}, {1, 2}, {2, 0}});

  const auto line = [&](std::string name, Shapes shapes, std::int64_t size, std::int64_t stride,
                        std::int64_t padding) {
    const Window o{{1, size}, {1, stride}, {0, padding}};
    const auto given = stride == size ? std::nullopt : std::optional(stride);
    const double count = static_cast<double>(size);
    all.push_back({"max_pool1d_" + name, shapes,
                   [=](auto x) { return max_pool1d(x[0], size, {given, padding}); },
                   [=](auto x) { return on_one_row(x[0], o, largest); }});
    all.back().near_kink = ties_within();
    all.push_back({"avg_pool1d_" + name, shapes,
                   [=](auto x) { return avg_pool1d(x[0], size, {given, padding}); },
                   [=](auto x) { return on_one_row(x[0], o, average); }});
    all.push_back({"avg_pool1d_counting_padding_" + name, shapes,
                   [=](auto x) { return avg_pool1d(x[0], size, {given, padding, true}); },
                   [=](auto x) {
                     return on_one_row(x[0], o, [=](const auto& v) { return total(v) / count; });
                   }});
  };
  line("plain", {{{6}}, {{2, 5}}, {{2, 3, 4}}, {{2}}, {{0, 4}}}, 2, 2, 0);
  line("with_padding_and_stride", {{{6}}, {{2, 5}}, {{1}}, {{2, 1, 3}}}, 3, 2, 2);

  all.push_back({"global_avg_pool",
                 {{{2, 3, 4}}, {{1, 2, 3, 2}}, {{2, 1, 1, 1, 1}}, {{0, 2, 3}}, {{2, 0, 3, 3}}},
                 [](auto x) { return global_avg_pool(x[0]); },
                 [](auto x) {
                   std::vector<int> axes;
                   for (int a = 2; a < x[0].shape.rank(); ++a) axes.push_back(a);
                   return along(x[0], axes, true, average);
                 }});
  return all;
}

std::vector<double> gradient(const Expr& y, const Expr& x, const Tensor& value) {
  return array_of(evaluate(grad(sum(y), {x})[0], {{x, value}})).values;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(the_first_of_equal_maxima_receives_the_gradient) {
  const Expr x = input("x", {2, 4}, DType::f64);
  const Tensor value = tensor<double>({1.0, 3, 2, 2, 3, 3, 2, 2}, {2, 4});
  BOOST_TEST(gradient(max_pool2d(x, 2), x, value) == (std::vector<double>{0, 1, 1, 0, 0, 0, 0, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(overlapping_windows_add_up_at_their_maximum) {
  const Expr x = input("x", {5}, DType::f64);
  const Tensor value = tensor<double>({1.0, 2, 9, 2, 1}, {5});
  BOOST_TEST(
      gradient(max_pool1d(x, 3, {.stride = 1}), x, value) == (std::vector<double>{0, 0, 3, 0, 0}),
      boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_window_of_infinities_sends_its_gradient_to_a_real_element) {
  const Expr x = input("x", {2, 2}, DType::f64);
  const Tensor value = full({2, 2}, -inf, DType::f64);
  const Expr y = max_pool2d(x, 2, {.stride = 2, .padding = 1});
  BOOST_TEST(array_of(evaluate(y, {{x, value}})).values == (std::vector<double>(4, -inf)),
             boost::test_tools::per_element());
  BOOST_TEST(gradient(y, x, value) == (std::vector<double>{1, 1, 1, 1}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(nan_wins_and_the_first_one_receives_the_gradient) {
  const Expr x = input("x", {4}, DType::f64);
  const Tensor value = tensor<double>({5.0, nan_value, inf, nan_value}, {4});
  BOOST_TEST(std::isnan(evaluate(max_pool1d(x, 4), {{x, value}}).at(0)));
  BOOST_TEST(gradient(max_pool1d(x, 4), x, value) == (std::vector<double>{0, 1, 0, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(half_precision_is_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Tensor value = tensor<double>({1, 3, -5, 0.25, 200, 100}, {6}).astype(dtype);
    const Expr x = constant(value);
    const Tensor most = evaluate(max_pool1d(x, 3, {.padding = 1}));
    const Tensor average = evaluate(avg_pool1d(x, 3));
    BOOST_TEST(most.at(0) == 3);
    BOOST_TEST(most.at(1) == 200);
    const double means[] = {-1.0 / 3, 300.25 / 3};
    const Tensor rounded = tensor<double>({means[0], means[1]}, {2}).astype(dtype);
    for (int i = 0; i < 2; ++i) BOOST_TEST(average.at(i) == rounded.at(i));
  }
}

BOOST_AUTO_TEST_SUITE_END()
