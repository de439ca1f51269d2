// Means over products that count.
#include "support/product_report.h"

#include <boost/test/unit_test.hpp>

#include <string>

namespace {

nlohmann::json cell(const std::string& type, double ratio, double others = 0, int k = 64) {
  return {{"type", type}, {"peer", "oneDNN"}, {"threads", 1},   {"m", 5},
          {"n", 1},       {"k", k},           {"ratio", ratio}, {"others", others}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(product_report)

BOOST_AUTO_TEST_CASE(disturbed_cells_and_the_tiny_product_are_in_no_mean_and_types_apart) {
  const nlohmann::json rows =
      nlohmann::json::array({cell("f32", 2), cell("f32", 0.5), cell("f32", 100, 0.5),
                             cell("f32", 100, 0, 2), cell("f64", 3)});
  BOOST_TEST(bench::means_text(rows) ==
             "f32, oneDNN, 1 thread: geometric mean 1.000 over 2 undisturbed cells, least 0.500, 1 "
             "below 1\n"
             "f64, oneDNN, 1 thread: geometric mean 3.000 over 1 undisturbed cells, least 3.000, 0 "
             "below 1\n");
}

BOOST_AUTO_TEST_CASE(without_a_cell_that_counts_there_is_no_mean) {
  BOOST_TEST(bench::means_text(nlohmann::json::array({cell("f32", 2, 1)})).empty());
}

BOOST_AUTO_TEST_SUITE_END()
