// The exponential of attention's weights from its own source, with the instruction for powers of
// two rounded once: what remains is the error of the exponent.
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/tensor_model.h"
#include "graph/scalar_math.h"

#include "backends/cuda/attention/attention_halves.cuh"

namespace attention = blockgrad::gpu::attention;

BOOST_AUTO_TEST_SUITE(quick_power)

BOOST_AUTO_TEST_CASE(its_relative_error_grows_with_the_exponent_as_it_says) {
  // Every 997th float from -2^-24 to where results are no longer normal.
  const auto first = std::bit_cast<std::uint32_t>(0x1p-24F);
  const auto last = std::bit_cast<std::uint32_t>(87.0F);
  constexpr double rounding = 0x1p-24;  // of a result
  double worst = 0;
  for (std::uint32_t bits = first; bits < last; bits += 997) {
    const float d = -std::bit_cast<float>(bits);
    const double exact = std::exp(double{d});
    const double error = std::abs(double{attention::quick_power(d, 0.0F)} - exact) / exact;
    worst = std::max(worst, (error - rounding) / -double{d});
  }
  BOOST_TEST(worst <= std::exp2(-23.7));
  BOOST_TEST(worst >= std::exp2(-23.75));  // the bound is the largest error, not a guess above it
}

BOOST_AUTO_TEST_CASE(nothing_seen_weighs_nothing) {
  const float none = -std::numeric_limits<float>::infinity();
  BOOST_TEST(attention::quick_power(none, 1.0F) == 0.0F);
  BOOST_TEST(attention::quick_power(none, none) == 0.0F);
  BOOST_TEST(attention::quick_power(2.5F, 2.5F) == 1.0F);
}

BOOST_AUTO_TEST_SUITE_END()
