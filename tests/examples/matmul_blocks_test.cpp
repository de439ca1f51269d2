// What the teaching example prints.

#include <boost/test/unit_test.hpp>

#include "examples/call.h"

BOOST_AUTO_TEST_SUITE(matmul_blocks)

BOOST_AUTO_TEST_CASE(walk_shows_product_wrong_sizes_and_equal_blocks) {
  const example_test::Answer answer = example_test::call("matmul_blocks", {});
  BOOST_TEST(answer.exit_code == 0);
  for (const char* part :
       {"A B = [  19  22 ]\n           [  43  50 ]", "error: inner sizes differ: 2x3 times 2x2",
        "C11 = [  11  13 ]\n           [  27  29 ]",
        "The joined blocks equal the product that was not split."}) {
    BOOST_TEST((answer.out.find(part) != std::string::npos), part);
  }
}

BOOST_AUTO_TEST_SUITE_END()
