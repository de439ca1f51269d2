// The elementwise functions against the math library in higher precision, and their values at the
// edges.
#include "graph/scalar_pow.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>

namespace math = blockgrad::math;

namespace {

template <class T>
constexpr T inf = std::numeric_limits<T>::infinity();

/// |y - reference| in units of T's last place at the reference; 0 for two NaNs, equal infinities.
template <class T, class Reference>
double ulps(T y, Reference reference) {
  const double wrong = 1e9;
  if (std::isnan(reference)) return std::isnan(y) ? 0 : wrong;
  const T rounded = static_cast<T>(reference);
  if (std::isinf(rounded) || std::isinf(y)) return rounded == y ? 0 : wrong;
  using Limits = std::numeric_limits<T>;
  int exponent = 0;
  std::frexp(reference, &exponent);
  const int last = std::max(exponent - Limits::digits, Limits::min_exponent - Limits::digits);
  return static_cast<double>(
      std::fabs((static_cast<Reference>(y) - reference) / std::ldexp(Reference(1), last)));
}

struct Worst {
  double error = 0, at = 0;
  void take(double candidate, double x) {
    if (!(candidate <= error)) error = candidate, at = x;
  }
};

/// Every 4099th float of all bit patterns, so all exponents and both signs.
template <class F, class G>
Worst sweep_floats(F function, G reference) {
  Worst worst;
  for (std::uint64_t pattern = 0; pattern < (std::uint64_t{1} << 32); pattern += 4099) {
    const auto bits = static_cast<std::uint32_t>(pattern);
    float x;
    std::memcpy(&x, &bits, sizeof x);
    worst.take(ulps(function(x), reference(static_cast<double>(x))), x);
  }
  return worst;
}

/// Doubles of all bit patterns, and evenly spread ones where the functions are not flat.
template <class F, class G>
Worst sweep_doubles(F function, G reference) {
  Worst worst;
  std::mt19937_64 random(1);
  for (int i = 0; i < 80000; ++i) {
    const std::uint64_t bits = random();
    double x = std::ldexp(static_cast<double>(static_cast<std::int64_t>(bits)), -63);
    switch (i % 5) {
      case 0: std::memcpy(&x, &bits, sizeof x); break;
      case 1: break;
      case 2: x *= 7; break;
      case 3: x *= 40; break;
      default: x *= 800;
    }
    worst.take(ulps(function(x), reference(static_cast<long double>(x))), x);
  }
  return worst;
}

template <class F, class G, class H>
void check(const char* name, double limit32, double limit64, F function32, G function64,
           H reference) {
  const Worst single =
      sweep_floats(function32, [&](double x) { return static_cast<double>(reference(x)); });
  const Worst twice = sweep_doubles(function64, reference);
  BOOST_TEST_MESSAGE(name << ": f32 " << single.error << " ulp at " << single.at << ", f64 "
                          << twice.error << " ulp at " << twice.at);
  BOOST_TEST(single.error <= limit32, name << " f32: " << single.error << " ulp at " << single.at);
  BOOST_TEST(twice.error <= limit64, name << " f64: " << twice.error << " ulp at " << twice.at);
}

/// (1 + tanh(u)) / 2 = 1 / (1 + e^(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3).
long double tanh_share(long double x) {
  const long double cubic = std::isinf(x) ? x : x + 0.044715L * x * x * x;
  const long double power =
      std::exp(-2 * 0.797884560802865355879892119868763737L * std::fabs(cubic));
  return (x < 0 ? power : 1) / (1 + power);
}

#define BG_ACCURACY(name, limit32, limit64, reference)                                  \
  BOOST_AUTO_TEST_CASE(name##_is_within_##limit32##_and_##limit64##_tenths_of_an_ulp) { \
    check(                                                                              \
        #name, limit32 / 10.0, limit64 / 10.0, [](float x) { return math::name(x); },   \
        [](double x) { return math::name(x); }, [](auto x) { return reference; });      \
  }

/// Equal values, zeros with equal signs, or two NaNs.
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scalar_math)

BG_ACCURACY(exp, 10, 10, std::exp(x))
BG_ACCURACY(expm1, 20, 20, std::expm1(x))
BG_ACCURACY(log, 15, 15, std::log(x))
BG_ACCURACY(log1p, 20, 20, std::log1p(x))
BG_ACCURACY(tanh, 20, 30, std::tanh(x))
BG_ACCURACY(erf, 20, 20, std::erf(x))
BG_ACCURACY(normal_cdf, 30, 30, std::erfc(x * -0.707106781186547524400844362104849039L) / 2)
BG_ACCURACY(normal_cdf_tanh, 30, 30, tanh_share(static_cast<long double>(x)))
BG_ACCURACY(sin, 20, 20, std::sin(x))
BG_ACCURACY(cos, 20, 20, std::cos(x))
BG_ACCURACY(sigmoid, 30, 30, x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)))
BG_ACCURACY(softplus, 30, 30, (x < 0 ? 0 : x) + std::log1p(std::exp(-std::fabs(x))))
BG_ACCURACY(sqrt, 5, 5, std::sqrt(x))
BG_ACCURACY(floor, 0, 0, std::floor(x))
BG_ACCURACY(ceil, 0, 0, std::ceil(x))
BG_ACCURACY(round, 0, 0, std::nearbyint(x))

using Floats = std::tuple<float, double>;

BOOST_AUTO_TEST_CASE_TEMPLATE(the_edges_have_their_values, T, Floats) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), least = std::numeric_limits<T>::denorm_min();
  const T low = -std::numeric_limits<T>::max(), high = std::numeric_limits<T>::max();
  struct Row {
    const char* name;
    T (*function)(T);
    T x, y;
  };
#define BG_AT(name, x, y)                                     \
  Row {                                                       \
    #name, [](T a) -> T { return math::name(a); }, T(x), T(y) \
  }
  const Row rows[] = {BG_AT(exp, -inf<T>, 0),
                      BG_AT(exp, inf<T>, inf<T>),
                      BG_AT(exp, 0, 1),
                      BG_AT(exp, high, inf<T>),
                      BG_AT(exp, low, 0),
                      BG_AT(exp, nan, nan),
                      BG_AT(exp, least, 1),
                      BG_AT(expm1, -inf<T>, -1),
                      BG_AT(expm1, inf<T>, inf<T>),
                      BG_AT(expm1, -0.0, -0.0),
                      BG_AT(expm1, least, least),
                      BG_AT(expm1, nan, nan),
                      BG_AT(log, 0, -inf<T>),
                      BG_AT(log, -0.0, -inf<T>),
                      BG_AT(log, -1, nan),
                      BG_AT(log, 1, 0),
                      BG_AT(log, inf<T>, inf<T>),
                      BG_AT(log, nan, nan),
                      BG_AT(log, -inf<T>, nan),
                      BG_AT(log, -least, nan),
                      BG_AT(log1p, -1, -inf<T>),
                      BG_AT(log1p, -2, nan),
                      BG_AT(log1p, -0.0, -0.0),
                      BG_AT(log1p, inf<T>, inf<T>),
                      BG_AT(log1p, least, least),
                      BG_AT(log1p, nan, nan),
                      BG_AT(sqrt, -0.0, -0.0),
                      BG_AT(sqrt, -1, nan),
                      BG_AT(sqrt, inf<T>, inf<T>),
                      BG_AT(tanh, inf<T>, 1),
                      BG_AT(tanh, -inf<T>, -1),
                      BG_AT(tanh, -0.0, -0.0),
                      BG_AT(tanh, -least, -least),
                      BG_AT(tanh, nan, nan),
                      BG_AT(erf, inf<T>, 1),
                      BG_AT(erf, -inf<T>, -1),
                      BG_AT(erf, -0.0, -0.0),
                      BG_AT(erf, nan, nan),
                      BG_AT(normal_cdf, inf<T>, 1),
                      BG_AT(normal_cdf, -inf<T>, 0),
                      BG_AT(normal_cdf, 0, 0.5),
                      BG_AT(normal_cdf, low, 0),
                      BG_AT(normal_cdf, high, 1),
                      BG_AT(normal_cdf, nan, nan),
                      BG_AT(normal_cdf_tanh, inf<T>, 1),
                      BG_AT(normal_cdf_tanh, -inf<T>, 0),
                      BG_AT(normal_cdf_tanh, 0, 0.5),
                      BG_AT(normal_cdf_tanh, low, 0),
                      BG_AT(normal_cdf_tanh, high, 1),
                      BG_AT(normal_cdf_tanh, nan, nan),
                      BG_AT(sin, inf<T>, nan),
                      BG_AT(cos, -inf<T>, nan),
                      BG_AT(sin, -0.0, -0.0),
                      BG_AT(sin, -least, -least),
                      BG_AT(cos, 0, 1),
                      BG_AT(sin, nan, nan),
                      BG_AT(cos, nan, nan),
                      BG_AT(sigmoid, -inf<T>, 0),
                      BG_AT(sigmoid, inf<T>, 1),
                      BG_AT(sigmoid, 0, 0.5),
                      BG_AT(sigmoid, nan, nan),
                      BG_AT(softplus, -inf<T>, 0),
                      BG_AT(softplus, inf<T>, inf<T>),
                      BG_AT(softplus, nan, nan),
                      BG_AT(softplus, high, high),
                      BG_AT(relu, -0.0, 0),
                      BG_AT(relu, nan, nan),
                      BG_AT(relu, -inf<T>, 0),
                      BG_AT(relu, inf<T>, inf<T>),
                      BG_AT(relu, least, least),
                      BG_AT(sign, -0.0, 0),
                      BG_AT(sign, nan, nan),
                      BG_AT(sign, -inf<T>, -1),
                      BG_AT(sign, least, 1),
                      BG_AT(abs, -0.0, 0),
                      BG_AT(abs, -inf<T>, inf<T>),
                      BG_AT(negative, 0, -0.0),
                      BG_AT(round, 2.5, 2),
                      BG_AT(round, -0.5, -0.0),
                      BG_AT(round, 3.5, 4),
                      BG_AT(floor, -0.5, -1),
                      BG_AT(ceil, -0.5, -0.0),
                      BG_AT(isnan, nan, 1),
                      BG_AT(isnan, inf<T>, 0),
                      BG_AT(isinf, -inf<T>, 1),
                      BG_AT(isinf, high, 0),
                      BG_AT(isinf, nan, 0),
                      BG_AT(isfinite, low, 1),
                      BG_AT(isfinite, inf<T>, 0),
                      BG_AT(isfinite, nan, 0)};
#undef BG_AT
  for (const Row& row : rows) {
    const T y = row.function(row.x);
    BOOST_TEST(same(y, row.y), row.name << '(' << row.x << ") = " << y << ", expected " << row.y);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(maximum_and_minimum_give_nan_if_either_side_is_nan, T, Floats) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  BOOST_TEST(std::isnan(math::maximum(nan, T(1))));
  BOOST_TEST(std::isnan(math::maximum(T(1), nan)));
  BOOST_TEST(std::isnan(math::minimum(nan, T(1))));
  BOOST_TEST(std::isnan(math::minimum(T(1), nan)));
  BOOST_TEST(math::maximum(T(1), T(2)) == T(2));
  BOOST_TEST(math::minimum(T(1), T(2)) == T(1));
  BOOST_TEST(math::maximum(-inf<T>, T(2)) == T(2));
}

template <class T>
Worst worst_of_pow(int tries) {
  Worst worst;
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> size(-745, 745), near(-1e-3, 1e-3), exponent(-12, 12);
  for (int i = 0; i < tries; ++i) {
    const double base = i % 3 == 0 ? std::exp(near(random)) : std::exp(exponent(random));
    const T a = static_cast<T>(base);
    const T b = static_cast<T>(i % 2 == 0 ? size(random) / std::log(base) : exponent(random));
    worst.take(
        ulps(math::pow(a, b), std::pow(static_cast<long double>(a), static_cast<long double>(b))),
        static_cast<double>(a));
  }
  return worst;
}

BOOST_AUTO_TEST_CASE(pow_is_within_1_and_2_ulp) {
  const Worst single = worst_of_pow<float>(200000), twice = worst_of_pow<double>(200000);
  BOOST_TEST_MESSAGE("pow: f32 " << single.error << " ulp, f64 " << twice.error << " ulp");
  BOOST_TEST(single.error <= 1.0, "f32 " << single.error << " ulp at " << single.at);
  BOOST_TEST(twice.error <= 2.0, "f64 " << twice.error << " ulp at " << twice.at);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(pow_has_the_edges_of_ieee_754, T, Floats) {
  const T nan = std::numeric_limits<T>::quiet_NaN(), least = std::numeric_limits<T>::denorm_min();
  const T high = std::numeric_limits<T>::max();
  const T values[] = {T(0),   T(-0.0), T(1),  T(-1),  T(0.5),  T(-0.5), T(2),
                      T(-2),  T(3),    T(-3), T(2.5), T(-2.5), T(1e6),  T(1e6 + 1),
                      inf<T>, -inf<T>, nan,   least,  -least,  high,    -high};
  for (const T a : values) {
    for (const T b : values) {
      const T y = math::pow(a, b), expected = std::pow(a, b);
      const bool is_near =
          std::abs(y - expected) <= 4 * std::numeric_limits<T>::epsilon() * std::abs(expected);
      BOOST_TEST((same(y, expected) || (is_near && std::isfinite(expected))),
                 "pow(" << a << ", " << b << ") = " << y << ", expected " << expected);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_remainder_has_the_sign_of_the_divisor, T, Floats) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  struct Row {
    T a, b, quotient, remainder;
  };
  const Row rows[] = {{7, 3, 2, 1},
                      {-7, 3, -3, 2},
                      {7, -3, -3, -2},
                      {-7, -3, 2, -1},
                      {6, 3, 2, 0},
                      {6, -3, -2, T(-0.0)},
                      {5, inf<T>, 0, 5},
                      {-5, inf<T>, -1, inf<T>},
                      {5, -inf<T>, -1, -inf<T>},
                      {0, 4, 0, 0},
                      {1, 0, inf<T>, nan},
                      {nan, 2, nan, nan},
                      {inf<T>, 2, inf<T>, nan},
                      {2, nan, nan, nan},
                      {T(0.5), 2, 0, T(0.5)}};
  for (const Row& row : rows) {
    BOOST_TEST(same(math::floor_divide(row.a, row.b), row.quotient), row.a << " // " << row.b);
    BOOST_TEST(same(math::remainder(row.a, row.b), row.remainder), row.a << " % " << row.b);
  }
  BOOST_TEST(math::floor_divide(1.0, 0.1) == 9);
  BOOST_TEST(math::floor_divide(-1e-9f, 1.0f) == -1);
  BOOST_TEST(math::remainder(1e9f, 7.0f) == 6);
  BOOST_TEST(math::remainder(3e8f, 0.1f) == std::fmod(3e8f, 0.1f));
  BOOST_TEST(math::remainder(1e300, 3e-5) == std::fmod(1e300, 3e-5));
  std::mt19937 random(5);
  std::uniform_real_distribution<T> number(-1000, 1000);
  for (int i = 0; i < 20000; ++i) {
    const T a = number(random), b = number(random);
    const T fmod = std::fmod(a, b);
    const T expected = fmod != 0 && (fmod < 0) != (b < 0) ? fmod + b : fmod;
    BOOST_TEST(math::remainder(a, b) == expected, a << " % " << b);
  }
}

BOOST_AUTO_TEST_CASE(integers_are_divided_downwards_and_by_zero_give_zero) {
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  BOOST_TEST(math::floor_divide(-7, 2) == -4);
  BOOST_TEST(math::remainder(-7, 2) == 1);
  BOOST_TEST(math::remainder(7, -2) == -1);
  BOOST_TEST(math::floor_divide(7, 0) == 0);
  BOOST_TEST(math::remainder(7, 0) == 0);
  BOOST_TEST(math::floor_divide(least, -1) == least);
  BOOST_TEST(math::remainder(least, -1) == 0);
  BOOST_TEST(math::floor_divide(std::int64_t{-9}, std::int64_t{4}) == -3);
  BOOST_TEST(int{math::floor_divide(std::uint8_t{200}, std::uint8_t{7})} == 28);
  BOOST_TEST(int{math::remainder(std::uint8_t{200}, std::uint8_t{0})} == 0);
}

BOOST_AUTO_TEST_CASE(integers_wrap) {
  constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
  constexpr std::int64_t least64 = std::numeric_limits<std::int64_t>::min();
  BOOST_TEST(math::add(std::int32_t{2147483647}, std::int32_t{1}) == least);
  BOOST_TEST(math::subtract(least, std::int32_t{1}) == 2147483647);
  BOOST_TEST(math::multiply(std::int32_t{65536}, std::int32_t{65536}) == 0);
  BOOST_TEST(math::negative(least) == least);
  BOOST_TEST(math::abs(least) == least);
  BOOST_TEST(math::negative(least64) == least64);
  BOOST_TEST(math::multiply(least64, std::int64_t{3}) == least64);
  BOOST_TEST(int{math::add(std::uint8_t{250}, std::uint8_t{10})} == 4);
  BOOST_TEST(int{math::subtract(std::uint8_t{1}, std::uint8_t{2})} == 255);
  BOOST_TEST(int{math::multiply(std::uint8_t{16}, std::uint8_t{17})} == 16);
  BOOST_TEST(int{math::sign(std::uint8_t{9})} == 1);
  BOOST_TEST(math::sign(std::int32_t{-9}) == -1);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(casts_to_integers_truncate_and_saturate, T, Floats) {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  using std::int32_t, std::int64_t, std::uint8_t;
  BOOST_TEST(math::cast<int32_t>(T(-2.9)) == -2);
  BOOST_TEST(math::cast<int32_t>(T(3e9)) == std::numeric_limits<int32_t>::max());
  BOOST_TEST(math::cast<int32_t>(T(-3e9)) == std::numeric_limits<int32_t>::min());
  BOOST_TEST(math::cast<int32_t>(T(-0x1p31)) == std::numeric_limits<int32_t>::min());
  BOOST_TEST(math::cast<int32_t>(T(0x1p31)) == std::numeric_limits<int32_t>::max());
  BOOST_TEST(math::cast<int32_t>(nan) == 0);
  BOOST_TEST(math::cast<int64_t>(inf<T>) == std::numeric_limits<int64_t>::max());
  BOOST_TEST(math::cast<int64_t>(-inf<T>) == std::numeric_limits<int64_t>::min());
  BOOST_TEST(math::cast<int64_t>(nan) == 0);
  BOOST_TEST(math::cast<int64_t>(T(-0x1p40)) == -(int64_t{1} << 40));
  BOOST_TEST(int{math::cast<uint8_t>(T(255.9))} == 255);
  BOOST_TEST(int{math::cast<uint8_t>(T(256))} == 255);
  BOOST_TEST(int{math::cast<uint8_t>(T(-0.9))} == 0);
  BOOST_TEST(int{math::cast<uint8_t>(T(-7))} == 0);
  BOOST_TEST(int{math::cast<uint8_t>(nan)} == 0);
  BOOST_TEST(math::cast<bool>(nan));
  BOOST_TEST(!math::cast<bool>(T(-0.0)));
  BOOST_TEST(math::cast<T>(true) == T(1));
}

BOOST_AUTO_TEST_CASE(casts_between_integers_wrap) {
  BOOST_TEST(math::cast<std::int32_t>(std::int64_t{1} << 32 | 7) == 7);
  BOOST_TEST(int{math::cast<std::uint8_t>(std::int32_t{-1})} == 255);
  BOOST_TEST(math::cast<std::int64_t>(std::int32_t{-5}) == -5);
  BOOST_TEST(math::cast<float>(std::int64_t{16777217}) == 16777216.0f);
}

BOOST_AUTO_TEST_CASE(sin_and_cos_of_huge_arguments_are_reduced_exactly) {
  for (const double x :
       {1e22, 6381956970095103.0 * 0x1p797, 0x1.fffffffffffffp1023, 0x1p30, 0x1.0000000000001p30}) {
    BOOST_TEST(ulps(math::sin(x), std::sin(static_cast<long double>(x))) <= 2.0);
    BOOST_TEST(ulps(math::cos(-x), std::cos(static_cast<long double>(x))) <= 2.0);
  }
  BOOST_TEST(math::sin(1e22) ==
             -0.8522008497671888);  // known for catching reductions with too few digits
}

BOOST_AUTO_TEST_SUITE_END()
