// bf16 and f16: conversions against their definition, and graphs that store them.
#include "blockgrad/graph/half.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/neural.h"
#include "blockgrad/ops/reductions.h"
#include "blockgrad/ops/windows.h"
#include "blockgrad/optim/rules.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

template <class T>
T of_bits(unsigned bits) {
  T x;
  x.bits = static_cast<unsigned short>(bits);
  return x;
}

/// The value of a bit pattern by the definition of binary formats.
double value_of(unsigned bits, int exponent_bits, int fraction_bits) {
  const unsigned fraction = bits & ((1u << fraction_bits) - 1);
  const int biased = static_cast<int>(bits >> fraction_bits & ((1u << exponent_bits) - 1));
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits & 0x8000u) != 0 ? -1 : 1;
  if (biased == (1 << exponent_bits) - 1)
    return fraction == 0 ? sign * INFINITY : std::numeric_limits<double>::quiet_NaN();
  if (biased == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp(fraction + (1u << fraction_bits), biased - bias - fraction_bits);
}

/// Nearest of the two neighbours in the table, ties to the even pattern.
template <class T>
void check_rounding(int exponent_bits, int fraction_bits) {
  const unsigned infinite = ((1u << exponent_bits) - 1) << fraction_bits;
  std::mt19937_64 random(11);
  for (unsigned low = 0; low < infinite; ++low) {
    const double a = value_of(low, exponent_bits, fraction_bits);
    const double b = low + 1 == infinite ? 2 * a - value_of(low - 1, exponent_bits, fraction_bits)
                                         : value_of(low + 1, exponent_bits, fraction_bits);
    const double middle = a + (b - a) / 2;
    const unsigned even = low % 2 == 0 ? low : low + 1;
    const double part = std::ldexp(static_cast<double>(random() >> 12), -52);
    const struct {
      double x;
      unsigned bits;
    } rows[] = {{a, low},
                {middle, even},
                {std::nextafter(middle, a), low},
                {std::nextafter(middle, b), low + 1},
                {a + (middle - a) * part, low},
                {b, low + 1}};
    for (const auto& row : rows) {
      if (T(row.x).bits != row.bits || T(-row.x).bits != (row.bits | 0x8000u))
        BOOST_ERROR(row.x << " became " << T(row.x).bits << " instead of " << row.bits);
    }
    if (float nearest = static_cast<float>(middle);
        static_cast<double>(nearest) == middle && T(nearest).bits != even)
      BOOST_ERROR("the float " << middle << " became " << T(nearest).bits);
  }
}

Tensor some(const Shape& shape, DType dtype, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<float> number(-2, 2);
  std::vector<float> values;
  for (std::int64_t i = 0; i < shape.size(); ++i) values.push_back(number(random));
  return tensor(std::span<const float>(values), shape).astype(dtype);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(half)

BOOST_AUTO_TEST_CASE(every_pattern_has_its_value_and_survives_the_way_there_and_back) {
  for (unsigned bits = 0; bits < 0x10000u; ++bits) {
    const float h = static_cast<float>(of_bits<f16>(bits)),
                b = static_cast<float>(of_bits<bf16>(bits));
    const double h_value = value_of(bits, 5, 10), b_value = value_of(bits, 8, 7);
    const bool fits =
        (std::isnan(h_value) ? std::isnan(h) && std::isnan(static_cast<float>(f16(h)))
                             : h == h_value && f16(h).bits == bits) &&
        (std::isnan(b_value) ? std::isnan(b) && std::isnan(static_cast<float>(bf16(b)))
                             : b == b_value && bf16(b).bits == bits);
    if (!fits) BOOST_ERROR("pattern " << bits);
  }
}

BOOST_AUTO_TEST_CASE(f16_is_rounded_once_to_nearest_even) { check_rounding<f16>(5, 10); }
BOOST_AUTO_TEST_CASE(bf16_is_rounded_once_to_nearest_even) { check_rounding<bf16>(8, 7); }

BOOST_AUTO_TEST_CASE(a_formula_is_computed_in_f32_and_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Expr x = input("x", {64}, dtype), y = input("y", {64}, dtype);
    const Tensor a = some({64}, dtype, 1), b = some({64}, dtype, 2);
    const auto formula = elementwise([](auto p, auto q) { return exp(p) * q + p / 3; });
    const Tensor got = evaluate(formula(x, y), {{x, a}, {y, b}});
    const Expr u = input("u", {64}), v = input("v", {64});
    const Tensor wide =
        evaluate(formula(u, v), {{u, a.astype(DType::f32)}, {v, b.astype(DType::f32)}});
    BOOST_TEST(same_bits(got, wide.astype(dtype)), name(dtype));
  }
}

BOOST_AUTO_TEST_CASE(sums_and_products_accumulate_in_f32) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Expr x = input("x", {40, 30}, dtype), w = input("w", {30, 20}, dtype);
    const Tensor a = some({40, 30}, dtype, 3), b = some({30, 20}, dtype, 4);
    const Expr u = input("u", {40, 30}), v = input("v", {30, 20});
    const Feeds feeds{{x, a}, {w, b}}, wide{{u, a.astype(DType::f32)}, {v, b.astype(DType::f32)}};
    BOOST_TEST(
        same_bits(evaluate(matmul(x, w), feeds), evaluate(matmul(u, v), wide).astype(dtype)));
    BOOST_TEST(
        same_bits(evaluate(sum(x, 0), {feeds[0]}), evaluate(sum(u, 0), {wide[0]}).astype(dtype)));
    BOOST_TEST(
        same_bits(evaluate(max(x, 1), {feeds[0]}), evaluate(max(u, 1), {wide[0]}).astype(dtype)));
    BOOST_TEST(evaluate(argmax(x, 1), {feeds[0]}).span<std::int32_t>()[7] ==
               evaluate(argmax(u, 1), {wide[0]}).span<std::int32_t>()[7]);
  }
}

BOOST_AUTO_TEST_CASE(gradients_have_the_dtype_of_their_input_and_follow_the_f32_ones) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const auto loss = [](const Expr& x, const Expr& w) {
      return sum(square(softmax(tanh(matmul(x, w)) * 3)));
    };
    const Expr x = input("x", {6, 5}, dtype), w = input("w", {5, 4}, dtype);
    const Expr u = input("u", {6, 5}), v = input("v", {5, 4});
    const Tensor a = some({6, 5}, dtype, 5), b = some({5, 4}, dtype, 6);
    const auto narrow = grad(loss(x, w), {x, w}), wide = grad(loss(u, v), {u, v});
    for (int i = 0; i < 2; ++i) {
      const auto n = static_cast<std::size_t>(i);
      BOOST_TEST((narrow[n].type() == (i == 0 ? x : w).type()));
      const Tensor got = evaluate(narrow[n], {{x, a}, {w, b}});
      const Tensor want = evaluate(wide[n], {{u, a.astype(DType::f32)}, {v, b.astype(DType::f32)}});
      const double step =
          dtype == DType::bf16 ? 0x1p-8 : 0x1p-11;  // half a unit in the last place of 1
      for (std::int64_t e = 0; e < got.size(); ++e)
        BOOST_TEST(std::abs(got.at(e) - want.at(e)) <= 12 * step, name(dtype) << " element " << e);
    }
  }
}

BOOST_AUTO_TEST_CASE(losses_and_means_leave_the_range_of_f16_in_between) {
  const Expr y = input("y", {70000}, DType::f16);
  const Feed fed{y, full({70000}, 20, DType::f16)};
  BOOST_TEST(evaluate(mean(y), {fed}).at(0) == 20);
  const Loss loss = mse_loss(y, constant(zeros({70000}, DType::f16)));
  BOOST_TEST(evaluate(mean(loss), {fed}).at(0) == 400);
  const Tensor slope = evaluate(grad(loss, {y})[0], {fed});
  BOOST_TEST((slope.dtype() == DType::f16));
  BOOST_TEST(std::abs(slope.at(7) - 40.0 / 70000) <= 0x1p-22);  // half a unit of its last place
}

BOOST_AUTO_TEST_CASE(overlapping_windows_add_as_f32) {
  const Expr x = input("x", {1000}, DType::bf16);
  const Tensor slope =
      evaluate(grad(sum(windows(x, {600})), {x})[0], {{x, zeros({1000}, DType::bf16)}});
  BOOST_TEST(slope.at(500) == static_cast<double>(static_cast<float>(bf16(401.0f))));
}

BOOST_AUTO_TEST_CASE(a_fill_of_an_unview_keeps_its_value) {
  const Expr x = input("x", {1}, DType::bf16);
  const std::int64_t one[] = {1};
  const Tensor y = evaluate(pad(x, one, one, 0.5), {{x, ones({1}, DType::bf16)}});
  BOOST_TEST(y.at(0) == 0.5);
  BOOST_TEST(y.at(1) == 1);
}

BOOST_AUTO_TEST_CASE(logs_of_softmax_and_sigmoid_are_stable) {
  const Expr x = input("x", {2}, DType::bf16);
  const Feed fed{x, tensor({-200.0f, 0.0f}, {2}).astype(DType::bf16)};
  for (const Expr& y : {log(sigmoid(x)), log(softmax(x))}) {
    const Tensor slope = evaluate(
        grad(sum(y * constant(tensor({1.0f, 0.0f}, {2}).astype(DType::bf16))), {x})[0], {fed});
    BOOST_TEST(slope.at(0) == 1);
  }
}

BOOST_AUTO_TEST_CASE(parameters_train_in_f32_or_f64) {
  const Expr w = parameter(ones({2}, DType::bf16), "w");
  Optimizer optimizer(Sgd{});
  try {
    minimize(optimizer, mse_loss(w, constant(zeros({2}, DType::bf16))));
    BOOST_ERROR("no error");
  } catch (const Error& error) {
    BOOST_TEST(std::string_view(error.what()).find("trains as f32 or f64, got bf16") !=
                   std::string_view::npos,
               error.what());
  }
}

BOOST_AUTO_TEST_CASE(two_floating_dtypes_never_mix_in_silence) {
  const Expr x = input("x", {3}, DType::bf16), y = input("y", {3}, DType::f16), z = input("z", {3});
  for (const Expr& other : {y, z}) {
    try {
      static_cast<void>(x + other);
      BOOST_ERROR("no error");
    } catch (const Error& error) {
      BOOST_TEST(std::string_view(error.what()).find("wants one dtype, got bf16 and ") !=
                     std::string_view::npos,
                 error.what());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
