// Initial values: bounds, moments, right angles, and what they depend on.
#include "blockgrad/optim/initial.h"
#include "tests/support/checks.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace blockgrad;
using namespace test_support;

namespace {

struct Moments {
  double low, high, mean, sigma;
};

Moments moments_of(const Initial& initial, const Shape& shape) {
  const Tensor x = initial.draw(shape, draw_of("w", 5), DType::f64);
  Moments m{x.at(0), x.at(0), 0, 0};
  for (const double e : x.span<double>()) {
    m.low = std::min(m.low, e);
    m.high = std::max(m.high, e);
    m.mean += e / static_cast<double>(x.size());
  }
  for (const double e : x.span<double>())
    m.sigma += (e - m.mean) * (e - m.mean) / static_cast<double>(x.size());
  m.sigma = std::sqrt(m.sigma);
  return m;
}

// 40,000 elements: the mean is known to sigma / 200, sigma to 0.4 % or better; five times that.
void check_even(const Initial& initial, const Shape& shape, double width) {
  const Moments m = moments_of(initial, shape);
  BOOST_TEST(m.low >= -width);
  BOOST_TEST(m.high < width);
  BOOST_TEST(m.low < -0.99 * width);
  BOOST_TEST(m.high > 0.99 * width);
  BOOST_TEST(std::abs(m.mean) < 0.025 * width);
  BOOST_TEST(std::abs(m.sigma / (width / std::sqrt(3.0)) - 1) < 0.02);
}
void check_bell(const Initial& initial, const Shape& shape, double sigma) {
  const Moments m = moments_of(initial, shape);
  BOOST_TEST(std::abs(m.mean) < 0.025 * sigma);
  BOOST_TEST(std::abs(m.sigma / sigma - 1) < 0.02);
  BOOST_TEST(m.high > 3 * sigma);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(initial)

BOOST_AUTO_TEST_CASE(widths_follow_from_the_fans) {
  check_even(xavier_uniform(), {100, 400}, std::sqrt(6.0 / 500));
  check_bell(xavier_normal(2), {100, 400}, 2 * std::sqrt(2.0 / 500));
  check_even(kaiming_uniform(), {100, 400}, std::sqrt(2.0) * std::sqrt(3.0 / 100));
  check_bell(kaiming_normal(), {100, 400}, std::sqrt(2.0 / 100));
  const Shape window = {50, 32, 5, 5};  // [out, in, 5, 5]
  check_even(kaiming_uniform(1), window, std::sqrt(3.0 / (32 * 25)));
  check_bell(xavier_normal(), window, std::sqrt(2.0 / ((32 + 50) * 25)));
  check_even(uniform_initial(-0.5, 0.5), {200, 200}, 0.5);
  check_bell(normal_initial(0, 0.3), {200, 200}, 0.3);
}

BOOST_AUTO_TEST_CASE(truncated_and_constant_values_keep_their_bounds) {
  const Moments m = moments_of(truncated_normal_initial(1, 0.5), {200, 200});
  BOOST_TEST(m.low >= 0);
  BOOST_TEST(m.high <= 2);
  BOOST_TEST(std::abs(m.mean - 1) < 0.015);
  const Tensor c = constant_initial(0.25).draw({3}, {}, DType::f32);
  BOOST_TEST(c.at(2) == 0.25);
}

BOOST_AUTO_TEST_CASE(orthogonal_vectors_have_length_one_and_right_angles) {
  for (const Shape& shape :
       {Shape{7, 7}, Shape{5, 40}, Shape{40, 5}, Shape{6, 2, 3, 3}, Shape{1, 1}}) {
    const Tensor q = orthogonal(3).draw(shape, draw_of("q"), DType::f64);
    const std::int64_t rows = shape[0], columns = shape.size() / rows;
    const bool by_rows = rows <= columns;
    const std::int64_t count = std::min(rows, columns), length = std::max(rows, columns);
    const auto at = [&](std::int64_t v, std::int64_t i) {
      return q.at(by_rows ? v * columns + i : i * columns + v);
    };
    for (std::int64_t a = 0; a < count; ++a) {
      for (std::int64_t b = 0; b < count; ++b) {
        double sum = 0;
        for (std::int64_t i = 0; i < length; ++i) sum += at(a, i) * at(b, i);
        BOOST_TEST(std::abs(sum - (a == b ? 9 : 0)) < 1e-13);
      }
    }
  }
  BOOST_TEST(orthogonal().draw({0, 4}, {}, DType::f32).size() == 0);
  BOOST_TEST(kaiming_normal().draw({0, 4}, {}, DType::f32).size() == 0);
}

BOOST_AUTO_TEST_CASE(a_value_depends_on_seed_name_and_shape_alone) {
  const auto made = [](const char* name, std::uint64_t seed) {
    return parameter(Shape{4, 3}, xavier_normal(), name, seed).value();
  };
  const Tensor first = made("a", 1);
  made("b", 1);
  BOOST_TEST(same_bits(first, made("a", 1)));
  BOOST_TEST(!same_bits(first, made("b", 1)));
  BOOST_TEST(!same_bits(first, made("a", 2)));
  BOOST_TEST(draw_of("a").stream == 0xaf63dc4c);  // FNV's published value of "a"
  BOOST_TEST(draw_of("a").step == 0x8601ec8c);
}

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  const auto ends = [](const auto& call, const std::string& end) {
    const std::string text = error_of(call);
    BOOST_TEST(text.ends_with(end), text);
  };
  ends([] { xavier_uniform(std::nan("")); }, "xavier_uniform: gain must be finite, got nan");
  ends([] { uniform_initial(1, 0); }, "uniform_initial: low must not be above high, got 1 and 0");
  ends([] { normal_initial(0, -1); }, "normal_initial: sigma must not be negative, got -1");
  ends([] { truncated_normal_initial(0, -1); },
       "truncated_normal_initial: sigma must not be negative, got -1");
  const std::string text = error_of([] { parameter(Shape{3}, kaiming_normal(), "fc.bias"); });
  BOOST_TEST(text.starts_with("parameter 'fc.bias' (initial_test.cpp:"), text);
  BOOST_TEST(text.ends_with("): kaiming_normal: wants a weight of rank 2 or more, got shape [3]"),
             text);
  ends([] { parameter(Shape{3}, orthogonal(), "b"); },
       "): orthogonal: wants a weight of rank 2 or more, got shape [3]");
  ends([] { parameter(Shape{3}, Initial{}, "b"); }, "): the initial value is empty");
  ends([] { parameter(Shape{3}, constant_initial(1), "b", 0, DType::i32); },
       "): wants a floating dtype, got i32");
}

BOOST_AUTO_TEST_SUITE_END()
