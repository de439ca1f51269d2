#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/data/dataset.h"
#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;
using data_test::error_of;

namespace utf = boost::unit_test;

BOOST_AUTO_TEST_SUITE(standardize)

BOOST_AUTO_TEST_CASE(mean_and_spread_are_those_of_the_formula) {
  const auto by = data::standardize(tensor({1.0, 10.0, 2.0, 10.0, 3.0, 40.0, 6.0, 20.0}, {4, 2}));
  BOOST_TEST(by.mean == (std::vector<double>{3, 20}), boost::test_tools::per_element());
  BOOST_TEST(by.scale == (std::vector<double>{std::sqrt(3.5), std::sqrt(150)}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_large_mean_costs_no_digits,
                     *utf::tolerance(1e-15)) {  // rounding of the root only
  const auto by = data::standardize(tensor({1e15 + 1, 1e15 + 2, 1e15 + 3}, {3}));
  BOOST_TEST(by.mean[0] == 1e15 + 2);
  BOOST_TEST(by.scale[0] == std::sqrt(2.0 / 3));
}

BOOST_AUTO_TEST_CASE(huge_and_tiny_columns_neither_overflow_nor_vanish,
                     *utf::tolerance(1e-15)) {  // rounding
  const auto by = data::standardize(tensor({1e300, 1e-300, -1e300, -1e-300}, {2, 2}));
  BOOST_TEST(by.scale[0] == 1e300);
  BOOST_TEST(by.scale[1] == 1e-300);
  BOOST_TEST(error_of([] { data::standardize(tensor({1.7e308, -1.7e308}, {2})); }) ==
             "column 0 spreads too far to be standardized");
}

BOOST_AUTO_TEST_CASE(a_constant_column_becomes_zeros) {
  const Tensor x = tensor({0.1, 0.1, 0.1}, {3, 1});
  const auto by = data::standardize(x);
  BOOST_TEST(by.mean[0] == 0.1);
  BOOST_TEST(by.scale[0] == 1);
  for (std::int64_t i = 0; i < 3; ++i) BOOST_TEST(by.apply(x).at(i) == 0);
}

BOOST_AUTO_TEST_CASE(without_centering_only_the_size_changes) {
  const auto by = data::standardize(tensor({3.0, 0.0, -4.0, 0.0}, {2, 2}), {.center = false});
  BOOST_TEST(by.mean == (std::vector<double>{0, 0}), boost::test_tools::per_element());
  BOOST_TEST(by.scale == (std::vector<double>{std::sqrt(12.5), 1}),
             boost::test_tools::per_element());
  BOOST_TEST(data::standardize(tensor({5.0, 5.0}, {2}), {.center = false}).scale[0] == 5);
}

BOOST_AUTO_TEST_CASE(apply_and_undo_are_inverse, *utf::tolerance(1e-15)) {  // one rounding each
  const Tensor x = tensor({1.5, -7.0, 2.0, 9.0, 4.0, 11.0}, {3, 2});
  const auto by = data::standardize(x);
  const Tensor y = by.apply(x);
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    sum += y.at(2 * i);
    squares += y.at(2 * i) * y.at(2 * i);
  }
  BOOST_TEST((std::abs(sum) < 1e-15));
  BOOST_TEST(squares == 3.0);
  for (std::int64_t i = 0; i < x.size(); ++i) BOOST_TEST(by.undo(y).at(i) == x.at(i));
  BOOST_TEST((by.apply(x.astype(DType::f32)).type() == TensorType{DType::f32, {3, 2}}));
}

BOOST_AUTO_TEST_CASE(coefficients_come_back_in_data_units,
                     *utf::tolerance(1e-14)) {  // a few roundings
  // y = 7 + 3 a - 2 b, written on the standardized columns.
  const Tensor x = tensor({1.0, 200.0, 4.0, 100.0, 9.0, 700.0}, {3, 2});
  const auto by = data::standardize(x);
  const LinearModel standardized{7 + 3 * by.mean[0] - 2 * by.mean[1],
                                 {3 * by.scale[0], -2 * by.scale[1]}};
  const LinearModel model = by.in_data_units(standardized);
  BOOST_TEST(model.intercept == 7.0);
  BOOST_TEST(model.coefficients[0] == 3.0);
  BOOST_TEST(model.coefficients[1] == -2.0);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_standardized_is_refused) {
  BOOST_TEST(error_of([] { data::standardize(tensor({1, 2}, {2})); }) ==
             "standardizing needs f32 or f64, got i32");
  BOOST_TEST(error_of([] { data::standardize(Tensor()); }) ==
             "standardizing needs a table [n, columns] or a column [n], got shape []");
  BOOST_TEST(error_of([] { data::standardize(zeros({0, 2})); }) ==
             "standardizing needs rows, got shape [0, 2]");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(error_of([&] { data::standardize(tensor({1.0, 2.0, 3.0, nan}, {2, 2})); }) ==
             "standardizing needs finite values, got nan in row 1, column 1");
  const auto by = data::standardize(tensor({1.0, 2.0}, {2, 1}));
  BOOST_TEST(error_of([&] { by.apply(zeros({3, 2})); }) ==
             "the standardization is of 1 columns, the tensor has shape [3, 2]");
  BOOST_TEST(error_of([&] { by.in_data_units({0, {1, 2}}); }) ==
             "the standardization is of 1 columns, the model has 2 coefficients");
  BOOST_TEST(data::standardize(zeros({2, 0})).mean.empty());
}

BOOST_AUTO_TEST_SUITE_END()
