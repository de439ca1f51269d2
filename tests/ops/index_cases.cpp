// Rows by number: repeated indices, and indices out of range.
#include "blockgrad/ops/index.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

const std::vector<std::int32_t> picks = {2, 0, 2, 1, 2, 0};

Expr picks_of(DType dtype, const Shape& shape) {
  return constant(tensor(std::span<const std::int32_t>(picks), shape).astype(dtype));
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto taken = [](auto x) {
    const std::int64_t row = x[0].shape.size() / x[0].shape[0];
    std::vector<std::int64_t> sizes(x[0].shape.sizes().begin(), x[0].shape.sizes().end());
    sizes[0] = 6;
    Array result{Shape(sizes), {}};
    for (const std::int32_t pick : picks) {
      for (std::int64_t i = 0; i < row; ++i)
        result.values.push_back(x[0].values[static_cast<std::size_t>(pick * row + i)]);
    }
    return result;
  };
  const std::vector<std::vector<Shape>> tables = {{{3}}, {{3, 2}}, {{4, 1, 2}}, {{3, 0}}};
  all.push_back(
      {"take_by_i32", tables, [](auto x) { return take(x[0], picks_of(DType::i32, {6})); }, taken});
  all.back().takes_integers = true;
  all.push_back(
      {"take_by_i64", tables, [](auto x) { return take(x[0], picks_of(DType::i64, {6})); }, taken});
  all.push_back({"take_by_a_matrix_of_indices",
                 {{{3, 2}}, {{5}}},
                 [](auto x) { return take(x[0], picks_of(DType::i32, {2, 3})); },
                 [taken](auto x) {
                   Array y = taken(x);
                   std::vector<std::int64_t> sizes(y.shape.sizes().begin(), y.shape.sizes().end());
                   sizes[0] = 2;
                   sizes.insert(sizes.begin() + 1, 3);
                   y.shape = Shape(sizes);
                   return y;
                 }});
  all.push_back(
      {"scatter_add_into_rows",
       {{{3, 2}, {6, 2}}, {{4}, {6}}},
       [](auto x) { return scatter_add(x[0], picks_of(DType::i32, {6}), x[1]); },
       [](auto x) {
         Array y = x[0];
         const std::int64_t row = y.shape.size() / y.shape[0];
         for (std::int64_t k = 0; k < 6; ++k) {
           for (std::int64_t i = 0; i < row; ++i) {
             y.values[static_cast<std::size_t>(picks[static_cast<std::size_t>(k)] * row + i)] +=
                 x[1].values[static_cast<std::size_t>(k * row + i)];
           }
         }
         return y;
       },
       -2,
       2,
       true,
       true});
  all.push_back({"one_hot_times_x",
                 {{{6, 3}}},
                 [](auto x) { return x[0] * one_hot(picks_of(DType::i32, {6}), 3, x[0].dtype()); },
                 [](auto x) {
                   return make_array(x[0].shape, [&](const Index& i) {
                     return picks[static_cast<std::size_t>(i[0])] == i[1] ? x[0].at(i)
                                                                          : 0 * x[0].at(i);
                   });
                 }});
  return all;
}

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

namespace index_cases {  // strings.h has a function of the suite's name

BOOST_AUTO_TEST_SUITE(index)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(an_index_out_of_range_is_named_with_its_position_and_the_next_run_works) {
  const Expr x = input("x", {3, 2}), i = input("i", {4}, DType::i32);
  Program program = compile({take(x, i)});
  const Tensor table = tensor({1.f, 2.f, 3.f, 4.f, 5.f, 6.f}, {3, 2});
  for (const std::int32_t bad : {3, -1, 2147483647}) {
    const std::string text =
        error_of([&] { program.run({{x, table}, {i, tensor({0, 2, bad, bad}, {4})}}); });
    BOOST_TEST(text.find("index " + std::to_string(bad) + " at position 2 is out of range") !=
                   std::string::npos,
               text);
    BOOST_TEST(text.find("index_cases.cpp:") != std::string::npos, text);
    const Tensor y = program.run({{x, table}, {i, tensor({0, 2, 1, 0}, {4})}}).tensor(0);
    BOOST_TEST(y.at(2) == 5);
  }
}

BOOST_AUTO_TEST_CASE(an_empty_table_refuses_every_index) {
  const Expr x = input("x", {0, 2}), i = input("i", {1}, DType::i64);
  BOOST_CHECK_THROW(evaluate(take(x, i), {{x, zeros({0, 2})}, {i, zeros({1}, DType::i64)}}), Error);
  const Expr none = input("n", {0}, DType::i64);
  BOOST_TEST(evaluate(take(x, none), {{x, zeros({0, 2})}, {none, zeros({0}, DType::i64)}}).size() ==
             0);
}

BOOST_AUTO_TEST_CASE(one_hot_of_a_bad_index_is_an_error) {
  const Expr i = input("i", {2}, DType::i32);
  BOOST_CHECK_THROW(evaluate(one_hot(i, 3), {{i, tensor({0, 3}, {2})}}), Error);
}

BOOST_AUTO_TEST_CASE(ten_thousand_indices_into_one_row_add_in_order) {
  const std::int64_t n = 10000;
  const Expr x = input("x", {2, 3}), v = input("v", {n, 3}), i = input("i", {n}, DType::i32);
  std::vector<float> values;
  std::vector<float> expected(3, 0.f);
  for (std::int64_t k = 0; k < n; ++k) {
    for (std::size_t c = 0; c < 3; ++c) {
      values.push_back(0.1f * static_cast<float>(k % 7) + 0.01f * static_cast<float>(c));
      expected[c] += values.back();
    }
  }
  const Tensor y =
      evaluate(scatter_add(x, i, v), {{x, zeros({2, 3})},
                                      {v, tensor(std::span<const float>(values), {n, 3})},
                                      {i, zeros({n}, DType::i32)}});
  for (std::size_t c = 0; c < 3; ++c) BOOST_TEST(y.span<float>()[c] == expected[c]);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace index_cases
