// gelu and its slope against the math library, where they are subnormal too, and at the edges.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "graph/scalar_math.h"

namespace math = blockgrad::math;

namespace {

/// In units of the last place of `scale`, as float.
double ulps(float y, double reference, double scale) {
  int exponent = 0;
  std::frexp(scale, &exponent);
  return std::fabs(static_cast<double>(y) - reference) /
         std::ldexp(1.0, std::max(exponent - 24, -149));
}

template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scalar_gelu)

// The slope beside the larger of its two parts: near x = -0.75 they cancel out. All floats were
// tried; the first ones here are the worst.
BOOST_AUTO_TEST_CASE(the_value_is_within_3_5_ulp_and_the_slope_within_3_2_of_its_larger_part) {
  double value = 0, slope = 0;
  const auto look = [&](float x) {
    const math::GeluPair pair = math::gelu_pair(x);
    const double y = static_cast<double>(x), share = std::erfc(-y * std::sqrt(0.5)) / 2;
    const double rest = y * std::exp(-y * y / 2) / std::sqrt(2 * std::acos(-1.0));
    value = std::max(value, ulps(pair.value, y * share, y * share));
    slope = std::max(slope, ulps(pair.slope, share + rest, std::max(share, std::fabs(rest))));
    if (std::fabs(x) > 12) return;
    const math::GeluPair near = math::gelu_pair_near(x);
    BOOST_REQUIRE((same(near.value, pair.value) && same(near.slope, pair.slope)));
  };
  for (const float x : {0x1.f0b1p-7f, -7.31476831f}) look(x);
  for (int i = -320000; i < 320000; ++i) look(static_cast<float>(i) * 5e-5f);
  BOOST_TEST_MESSAGE("gelu: " << value << " ulp, its slope " << slope);
  BOOST_TEST(value <= 3.5);
  BOOST_TEST(slope <= 3.2);
}

using Floats = std::tuple<float, double>;

BOOST_AUTO_TEST_CASE_TEMPLATE(the_edges_have_their_values, T, Floats) {
  using Limits = std::numeric_limits<T>;
  const T inf = Limits::infinity(), nan = Limits::quiet_NaN(), high = Limits::max();
  struct Row {
    T x, value, slope;
  };
  const Row rows[] = {{inf, inf, 1},
                      {-inf, T(-0.0), 0},
                      {high, high, 1},
                      {-high, T(-0.0), 0},
                      {T(-0.0), T(-0.0), T(0.5)},
                      {0, 0, T(0.5)},
                      {nan, nan, nan},
                      {40, 40, 1},
                      {-50, T(-0.0), 0}};
  for (const Row& row : rows) {
    BOOST_TEST(same(math::gelu_value(row.x), row.value), row.x);
    BOOST_TEST(same(math::gelu_slope(row.x), row.slope), row.x);
  }
}

BOOST_AUTO_TEST_SUITE_END()
