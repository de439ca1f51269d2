#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>
#include <numeric>

#include "blockgrad/data/dataset.h"
#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;

namespace {

std::vector<std::int32_t> order(std::int64_t n, std::uint64_t seed, std::uint64_t epoch) {
  const Tensor tensor = data::permutation(n, seed, epoch);
  const auto values = tensor.span<std::int32_t>();
  return {values.begin(), values.end()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(permutation)

BOOST_AUTO_TEST_CASE(every_number_comes_once) {
  for (const std::int64_t n : {0, 1, 2, 3, 7, 1000, 65537}) {
    auto sorted = order(n, 5, 2);
    std::sort(sorted.begin(), sorted.end());
    std::vector<std::int32_t> expected(static_cast<std::size_t>(n));
    std::iota(expected.begin(), expected.end(), 0);
    BOOST_TEST(sorted == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(seed_and_epoch_decide_and_nothing_else) {
  BOOST_TEST(order(100, 1, 0) == order(100, 1, 0));
  BOOST_TEST(order(100, 1, 0) != order(100, 2, 0));
  BOOST_TEST(order(100, 1, 0) != order(100, 1, 1));
  BOOST_TEST(order(100, 1, 0) != order(100, std::uint64_t{1} << 32, 0));
  BOOST_TEST(order(100, 1, 1) != order(100, 1, std::uint64_t{1} << 32));
  std::vector<std::int32_t> filled(100);
  fill_permutation(filled, 1, 0);
  BOOST_TEST(filled == order(100, 1, 0));
}

// Worked out apart from this code from the formulas. The order is part of the promise that a seed
// gives the same training on every machine and in every version.
BOOST_AUTO_TEST_CASE(the_order_of_seed_1_is_the_recorded_one) {
  BOOST_TEST(order(10, 1, 0) == (std::vector<std::int32_t>{5, 2, 7, 1, 6, 3, 9, 8, 4, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(all_orders_of_four_are_equally_likely) {
  constexpr int draws = 240'000;
  std::map<std::vector<std::int32_t>, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[order(4, 9, static_cast<std::uint64_t>(i))];
  BOOST_TEST(counts.size() == 24);
  double chi_squared = 0;
  for (const auto& [key, count] : counts)
    chi_squared += std::pow(count - draws / 24.0, 2) / (draws / 24.0);
  BOOST_TEST(chi_squared < 49.7);  // 23 degrees of freedom, 1 in 1000
}

BOOST_AUTO_TEST_CASE(every_number_lands_everywhere_equally_often) {
  constexpr int n = 50, draws = 20'000;
  std::vector<int> counts(n * n);
  for (int i = 0; i < draws; ++i) {
    const auto drawn = order(n, static_cast<std::uint64_t>(i), 3);
    for (int at = 0; at < n; ++at)
      ++counts[static_cast<std::size_t>(at * n + drawn[static_cast<std::size_t>(at)])];
  }
  double chi_squared = 0;
  for (const int count : counts)
    chi_squared += std::pow(count - draws / double{n}, 2) / (draws / double{n});
  // 49^2 degrees of freedom: mean 2401, standard deviation 69; four of them.
  BOOST_TEST(chi_squared > 2401 - 4 * 69.3);
  BOOST_TEST(chi_squared < 2401 + 4 * 69.3);
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_are_refused) {
  const auto refusal = [](std::int64_t n) {
    return data_test::error_of([&] { data::permutation(n, 0, 0); });
  };
  BOOST_TEST(refusal(-1) == "a permutation of -1 numbers does not fit i32");
  BOOST_TEST(refusal(std::int64_t{1} << 31) ==
             "a permutation of 2147483648 numbers does not fit i32");
}

BOOST_AUTO_TEST_SUITE_END()
