// What the ladder's times count as right; no GPU is needed.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <string>

#include "backends/cuda/harness/ladder.h"
#include "backends/cuda/harness/ladder_times.h"

using namespace blockgrad::harness;

BOOST_AUTO_TEST_SUITE(ladder_times)

BOOST_AUTO_TEST_CASE(a_rung_is_right_within_its_bound) {
  const auto is_right = [](double error, double bound) {
    return RungTime{.name = "", .largest_error = error, .bound = bound}.is_right();
  };
  BOOST_TEST(is_right(0, 0));
  BOOST_TEST(!is_right(1e-30, 0));
  BOOST_TEST(is_right(1e-6, 1e-5));
  BOOST_TEST(!is_right(2e-5, 1e-5));
  BOOST_TEST(!is_right(NAN, 1));
  BOOST_TEST(!is_right(INFINITY, 1));
}

BOOST_AUTO_TEST_CASE(one_chain_has_one_result_and_a_lost_product_shows_in_every_rung) {
  // At k = 4096 the largest of 4096^2 sums of products of numbers in [-1, 1) is near 5.4 sqrt(k)/3.
  const double lost = 0.5 / (5.4 * std::sqrt(4096.0) / 3);
  for (const Rung& rung : ladder()) {
    const bool is_other = rung.name == "splits" || rung.name == "mma";
    BOOST_TEST((rung.bound > 0) == is_other, rung.name);
    BOOST_TEST(rung.bound < lost, rung.name);
  }
}

BOOST_AUTO_TEST_SUITE_END()
