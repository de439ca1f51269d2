// Rows of the ladder by name.
#include "models/rows.h"

#include <boost/test/unit_test.hpp>

#include <string>

#include "blockgrad/graph/error.h"

BOOST_AUTO_TEST_SUITE(rows)

BOOST_AUTO_TEST_CASE(rows_come_in_the_order_of_their_names) {
  const auto some = bench::chosen(bench::ladder_rows(), {"gpt", "lenet"});
  BOOST_TEST_REQUIRE(some.size() == 2U);
  BOOST_TEST(some[0].name == "gpt");
  BOOST_TEST(some[1].name == "lenet");
  BOOST_TEST(bench::chosen(bench::ladder_rows(), {}).size() == bench::ladder_rows().size());
}

BOOST_AUTO_TEST_CASE(a_row_that_is_not_there_is_an_error_that_lists_them) {
  BOOST_CHECK_EXCEPTION(bench::chosen(bench::ladder_rows(), {"gpt", "nosuch"}), blockgrad::Error,
                        [](const blockgrad::Error& error) {
                          const std::string text = error.what();
                          return text.find("no row 'nosuch'") != std::string::npos &&
                                 text.find(" lenet") != std::string::npos;
                        });
}

BOOST_AUTO_TEST_SUITE_END()
