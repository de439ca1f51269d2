// Tensors: making, reading, cutting, converting and printing values.
#include "blockgrad/graph/tensor.h"
#include "tests/support/checks.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

using namespace blockgrad;
using namespace test_support;

BOOST_AUTO_TEST_SUITE(tensor)

using blockgrad::tensor;

BOOST_AUTO_TEST_CASE(values_are_copied_and_read_back) {
  std::vector<float> values = {1, 2, 3, 4};
  const Tensor t = blockgrad::tensor(std::span<const float>(values), {2, 2});
  values[0] = 9;
  BOOST_TEST(t.at(0) == 1);
  BOOST_TEST(t.span<float>()[3] == 4);
  BOOST_TEST(to_string(t) == "[[1, 2], [3, 4]]");
  BOOST_TEST(to_string(t.type()) == "f32[2, 2]");
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(t.bytes()) % 64 == 0);
}

BOOST_AUTO_TEST_CASE(values_may_come_from_any_container_that_keeps_them_in_a_row) {
  std::vector<double> numbers = {1, 2, 3};
  const std::array<std::int32_t, 2> labels = {4, 5};
  const std::uint8_t bytes[] = {6, 7, 8, 9};
  BOOST_TEST(to_string(blockgrad::tensor(numbers, {3, 1})) == "[[1], [2], [3]]");
  BOOST_TEST((blockgrad::tensor(numbers, {3}).dtype() == DType::f64));
  BOOST_TEST(to_string(blockgrad::tensor(std::span(numbers).first(2), {2})) == "[1, 2]");
  BOOST_TEST(to_string(blockgrad::tensor(labels, {2})) == "[4, 5]");
  BOOST_TEST((blockgrad::tensor(labels, {2}).dtype() == DType::i32));
  BOOST_TEST(to_string(blockgrad::tensor(bytes, {2, 2})) == "[[6, 7], [8, 9]]");
  BOOST_TEST((blockgrad::tensor(bytes, {4}).dtype() == DType::u8));
  BOOST_TEST(blockgrad::tensor(std::vector<float>(), {0, 2}).size() == 0);
  BOOST_TEST(error_of([&] { blockgrad::tensor(numbers, {2}); }) ==
             "shape [2] wants 2 values, got 3");
}

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  BOOST_TEST(error_of([] { blockgrad::tensor({1.f, 2.f}, {3}); }) ==
             "shape [3] wants 3 values, got 2");
  BOOST_TEST(error_of([] { blockgrad::tensor({1.f, 2.f}, {2}).span<double>(); }) ==
             "asked for f64 elements of a tensor of f32");
  BOOST_TEST(error_of([] { blockgrad::tensor({1.f, 2.f}, {2}).at(2); }) ==
             "element 2 is outside [0, 2)");
  BOOST_TEST(error_of([] { blockgrad::tensor({1.f, 2.f}, {2}).at(-1); }) ==
             "element -1 is outside [0, 2)");
  BOOST_TEST(error_of([] { zeros({4, 2}).rows(1, 5); }) ==
             "rows [1, 5) do not fit a tensor of shape [4, 2]");
  BOOST_TEST(error_of([] { zeros({4, 2}).rows(3, 2); }) ==
             "rows [3, 2) do not fit a tensor of shape [4, 2]");
  BOOST_TEST(error_of([] { zeros({}).rows(0, 1); }) == "a scalar has no rows");
  BOOST_TEST(error_of([] { zeros({4, 2}).reshape({3}); }) ==
             "cannot reshape [4, 2] to [3]: 8 elements against 3");
  BOOST_TEST(error_of([] { linspace(0, 1, -1); }) ==
             "linspace: the count must not be negative, got -1");
  BOOST_TEST(error_of([] { linspace(0, INFINITY, 2); }) ==
             "linspace: start and stop must be finite");
  BOOST_TEST(error_of([] { arange(0, 1, 0); }) == "arange: step must not be 0");
}

BOOST_AUTO_TEST_CASE(rows_and_reshapes_share_the_data) {
  const Tensor t = arange(0, 12, 1, DType::i64).reshape({4, 3});
  const Tensor part = t.rows(1, 3);
  BOOST_TEST(part.bytes() == t.bytes() + 3 * 8);
  BOOST_TEST((part.shape() == Shape{2, 3}));
  BOOST_TEST(part.at(0) == 3);
  BOOST_TEST(t.rows(4, 4).size() == 0);
  BOOST_TEST(zeros({0, 3}).rows(0, 0).size() == 0);
}

BOOST_AUTO_TEST_CASE(a_row_range_keeps_the_data_alive) {
  Tensor part;
  {
    const Tensor whole = arange(0, 1000);
    part = whole.rows(990, 1000);
  }
  BOOST_TEST(part.at(9) == 999);
}

BOOST_AUTO_TEST_CASE(borrowed_memory_is_not_copied_and_its_owner_is_kept) {
  auto owner = std::make_shared<std::vector<double>>(std::vector<double>{1, 2, 3});
  const std::weak_ptr<std::vector<double>> watch = owner;
  {
    const Tensor t = borrow(std::span<const double>(*owner), {3}, owner);
    (*owner)[1] = 7;
    owner.reset();
    BOOST_TEST(t.at(1) == 7);
    BOOST_TEST(!watch.expired());
  }
  BOOST_TEST(watch.expired());
}

BOOST_AUTO_TEST_CASE(conversions_truncate_saturate_and_turn_nan_into_zero) {
  const Tensor t = blockgrad::tensor({2.9, -2.9, 1e20, -1e20, std::nan(""), 0.5}, {6});
  const Tensor i32 = t.astype(DType::i32), u8 = t.astype(DType::u8), b = t.astype(DType::boolean),
               i64 = t.astype(DType::i64);
  BOOST_TEST(i32.at(0) == 2);
  BOOST_TEST(i32.at(1) == -2);
  BOOST_TEST(i32.at(2) == 2147483647);
  BOOST_TEST(i32.at(3) == -2147483648.0);
  BOOST_TEST(i32.at(4) == 0);
  BOOST_TEST(i64.span<std::int64_t>()[2] == std::numeric_limits<std::int64_t>::max());
  BOOST_TEST(u8.at(1) == 0);
  BOOST_TEST(u8.at(2) == 255);
  BOOST_TEST(b.at(5) == 1);
  BOOST_TEST(b.at(4) == 1);  // NaN is not 0
  BOOST_TEST(b.at(0) == 1);
  BOOST_TEST(t.astype(DType::f64).bytes() == t.bytes());
}

BOOST_AUTO_TEST_CASE(series_and_identities_have_their_values) {
  BOOST_TEST(to_string(arange(1, 2, 0.25)) == "[1, 1.25, 1.5, 1.75]");
  BOOST_TEST(to_string(arange(3, 0, -1, DType::i32)) == "[3, 2, 1]");
  BOOST_TEST(to_string(linspace(1, 2, 5)) == "[1, 1.25, 1.5, 1.75, 2]");
  BOOST_TEST(to_string(linspace(3, 9, 1)) == "[3]");
  BOOST_TEST(linspace(0, 1, 0).size() == 0);
  BOOST_TEST(linspace(-0.1, 0.3, 7, DType::f64).at(6) == 0.3);
  BOOST_TEST(arange(1, 1).size() == 0);
  BOOST_TEST(to_string(eye(2)) == "[[1, 0], [0, 1]]");
  BOOST_TEST(Tensor().at(0) == 0);
}

BOOST_AUTO_TEST_CASE(long_tensors_are_printed_in_short) {
  BOOST_TEST(to_string(arange(0, 5), 2) == "[0, 1, … 3 more");
  BOOST_TEST(to_string(zeros({2, 0})) == "[2, 0] (no elements)");
  BOOST_TEST(to_string(full({}, 0.1)) == "0.1");
}

BOOST_AUTO_TEST_SUITE_END()
