#include "blockgrad/data/dataset.h"

#include <boost/test/unit_test.hpp>

#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;
using data_test::error_of;

namespace {
const Tensor spend = tensor({1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f}, {3, 2});
const Tensor sales = tensor({10.0f, 20.0f, 30.0f}, {3, 1});
}  // namespace

BOOST_AUTO_TEST_SUITE(dataset)

BOOST_AUTO_TEST_CASE(columns_are_found_by_name) {
  const Dataset rows{{"spend", spend}, {"sales", sales}};
  BOOST_TEST(rows.rows() == 3);
  BOOST_TEST(rows.names() == (std::vector<std::string>{"spend", "sales"}),
             boost::test_tools::per_element());
  BOOST_TEST(rows.contains("sales"));
  BOOST_TEST(!rows.contains("Sales"));
  BOOST_TEST(rows["spend"].bytes() == spend.bytes());
  BOOST_TEST(error_of([&] { rows["Sales"]; }) ==
             "no column 'Sales' in the dataset; the columns are 'spend', 'sales'");
}

BOOST_AUTO_TEST_CASE(a_slice_of_rows_shares_the_data) {
  const Dataset part = Dataset{{"spend", spend}, {"sales", sales}}.rows(1, 3);
  BOOST_TEST(part.rows() == 2);
  BOOST_TEST(part["spend"].at(0) == 3);
  BOOST_TEST(part["sales"].at(1) == 30);
  BOOST_TEST(part["sales"].bytes() == sales.bytes() + 4);
  BOOST_TEST(part.rows(1, 1).rows() == 0);
  BOOST_TEST(error_of([&] { part.rows(1, 3); }) == "rows [1, 3) do not fit a dataset of 2");
  BOOST_TEST(error_of([&] { part.rows(-1, 1); }) == "rows [-1, 1) do not fit a dataset of 2");
  BOOST_TEST(error_of([&] { part.rows(2, 1); }) == "rows [2, 1) do not fit a dataset of 2");
}

BOOST_AUTO_TEST_CASE(one_column_is_a_dataset_too) {
  const Dataset rows{{"x", sales}};
  BOOST_TEST(rows.names().size() == 1);
  BOOST_TEST(Dataset(std::vector<Column>{{"x", sales}}).rows() == 3);
}

BOOST_AUTO_TEST_CASE(columns_that_do_not_fit_together_are_refused) {
  const auto refusal = [](std::vector<Column> columns) {
    return error_of([&] { Dataset rows(std::move(columns)); });
  };
  BOOST_TEST(refusal({}) == "a dataset needs at least one column");
  BOOST_TEST(refusal({{"", sales}}) == "column 0 of a dataset has no name");
  BOOST_TEST(refusal({{"x", Tensor()}}) == "column 'x' of a dataset needs rows, got a scalar");
  BOOST_TEST(refusal({{"x", sales}, {"x", spend}}) == "two columns of a dataset are called 'x'");
  BOOST_TEST(refusal({{"spend", spend}, {"sales", sales.rows(0, 2)}}) ==
             "columns of a dataset need the same number of rows: 'spend' has 3, 'sales' has 2");
}

BOOST_AUTO_TEST_SUITE_END()
