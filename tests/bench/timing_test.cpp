// Quartiles of few values.
#include "support/timing.h"

#include <boost/test/unit_test.hpp>

#include <vector>

#include "blockgrad/graph/error.h"

namespace {

void check(const std::vector<double>& values, double low, double median, double high) {
  const bench::Spread spread = bench::spread_of(values);
  BOOST_TEST(spread.low == low);
  BOOST_TEST(spread.median == median);
  BOOST_TEST(spread.high == high);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(timing)

BOOST_AUTO_TEST_CASE(quartiles_lie_as_far_from_both_ends) {
  check({2, 1}, 1.25, 1.5, 1.75);
  check({3, 1, 2}, 1.5, 2, 2.5);
  std::vector<double> many;
  for (int i = 15; i > 0; --i) many.push_back(i);
  check(many, 4.5, 8, 11.5);
}

BOOST_AUTO_TEST_CASE(one_value_is_all_three_and_none_is_an_error) {
  check({7}, 7, 7, 7);
  BOOST_CHECK_THROW(bench::spread_of({}), blockgrad::Error);
}

BOOST_AUTO_TEST_SUITE_END()
