// Rows by number: repeated indices, and indices out of range.
#include "blockgrad/ops/index.h"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/ops/refusal.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace test_support;
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
                 {{{6, 3}, {6}}, {{2, 2, 4}, {2, 2}}, {{3}, {}}, {{1, 1}, {1}}, {{0, 2}, {0}}},
                 [](auto x) {
                   const std::int64_t n = x[0].shape()[x[0].rank() - 1];
                   return x[0] * one_hot(x[1], n, x[0].dtype());
                 },
                 [](auto x) {
                   return make_array(x[0].shape, [&](const Index& i) {
                     const bool is_hot =
                         x[1].at(std::span(i).first(i.size() - 1)) == double(i.back());
                     return is_hot ? x[0].at(i) : 0 * x[0].at(i);
                   });
                 }});
  all.back().inputs = {op_check::Draw::number(), op_check::Draw::index_of(0, -1)};
  return all;
}

// Numbers in [0, n) that repeat and leave out some, of a shape.
Tensor places(const Shape& shape, std::int64_t n, DType dtype = DType::i32) {
  std::vector<std::int64_t> values;
  for (std::int64_t k = 0; k < shape.size(); ++k) values.push_back((5 * k * k + 3 * k + 1) % n);
  return tensor(std::span<const std::int64_t>(values), shape).astype(dtype);
}

std::vector<OpCase> axis_rows() {
  std::vector<OpCase> all;
  for (const int axis : {0, 1, -1}) {
    const std::string where = axis < 0 ? "_last_axis" : "_axis_" + std::to_string(axis);
    const std::vector<std::vector<Shape>> cubes = {
        {{3, 4, 3}}, {{3, 3, 5}}, {{4, 3, 3}}, {{3, 3, 1}}, {{0, 3, 3}}};
    std::vector<std::vector<Shape>> own;
    for (const auto& shapes : cubes) {
      if (shapes[0][axis < 0 ? 2 : axis] >= 3) own.push_back(shapes);
    }
    const auto picks_at = [axis](const Index& index) {
      const std::size_t first = axis < 0 ? 2 : static_cast<std::size_t>(axis);
      return picks[static_cast<std::size_t>(3 * index[first] + index[first + 1])];
    };
    all.push_back({"take_from" + where, own,
                   [=](auto x) { return take(x[0], picks_of(DType::i32, {2, 3}), axis); },
                   [=](auto x) {
                     const std::size_t a = axis < 0 ? 2 : static_cast<std::size_t>(axis);
                     const auto& in = x[0].shape.sizes();
                     std::vector<std::int64_t> sizes(in.begin(), in.end());
                     sizes[a] = 2;
                     sizes.insert(sizes.begin() + static_cast<std::ptrdiff_t>(a) + 1, 3);
                     return make_array(Shape(sizes), [&](const Index& index) {
                       Index from = index;
                       from.erase(from.begin() + static_cast<std::ptrdiff_t>(a));
                       from[a] = picks_at(index);
                       return x[0].at(from);
                     });
                   },
                   -2, 2, true, axis == 1});
    all.push_back({"scatter_add_along" + where,
                   {{{3, 3, 3}, {axis == 0 ? 6 : 3, axis == 1 ? 6 : 3, axis < 0 ? 6 : 3}},
                    {{axis == 0 ? 3 : 1, axis == 1 ? 4 : 2, axis < 0 ? 3 : 2},
                     {axis == 0 ? 6 : 1, axis == 1 ? 6 : 2, axis < 0 ? 6 : 2}}},
                   [=](auto x) { return scatter_add(x[0], picks_of(DType::i64, {6}), x[1], axis); },
                   [=](auto x) {
                     const std::size_t a = axis < 0 ? 2 : static_cast<std::size_t>(axis);
                     return make_array(x[0].shape, [&](const Index& index) {
                       double total = x[0].at(index);
                       Index from = index;
                       for (std::size_t k = 0; k < 6; ++k) {
                         from[a] = static_cast<std::int64_t>(k);
                         if (picks[k] == index[a]) total += x[1].at(from);
                       }
                       return total;
                     });
                   },
                   -2,
                   2,
                   true,
                   true});
  }
  return all;
}

}  // namespace

namespace index_cases {  // strings.h has a function of the suite's name

BOOST_AUTO_TEST_SUITE(index)

BG_CASES(rows())
[[maybe_unused]] const bool has_axis_rows = add_cases(axis_rows(), __FILE__, __LINE__);

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

// Runs f(i) for a bad index in row 1, column 2 of [2, 3] and returns the message.
std::string message_of(const std::function<Expr(const Expr&)>& f) {
  const Expr i = input("i", {2, 3}, DType::i32);
  return error_of([&] { evaluate(f(i), {{i, tensor({0, 1, 2, 0, 1, 9}, {2, 3})}}); });
}

BOOST_AUTO_TEST_CASE(a_bad_index_is_named_with_op_line_value_and_coordinates) {
  const Expr x = constant(ones({4, 3}));
  const auto expect = [](const std::string& text, const std::string& op, const std::string& range) {
    BOOST_TEST(text.starts_with(op + " (index_cases.cpp:"), text);
    BOOST_TEST(text.ends_with("): index 9 at position [1, 2] is out of range [0, " + range +
                              "); step 0 of this run updated nothing"),
               text);
  };
  expect(message_of([&](auto i) { return take(x, i); }), "take", "4");
  expect(message_of([&](auto i) { return take(x, i, 1); }), "take", "3");
  expect(message_of([&](auto i) { return scatter_add(x, i, constant(ones({2, 3, 3}))); }),
         "scatter_add", "4");
  expect(message_of([&](auto i) { return take_along_axis(x, i, 0); }), "take_along_axis", "4");
  expect(message_of([&](auto i) { return put_along_axis(x, i, 1.0, 0); }), "put_along_axis", "4");
  expect(message_of([&](auto i) { return at(constant(ones({2, 3, 5})), i); }), "at", "5");
  expect(message_of([&](auto i) { return one_hot(i, 3); }), "one_hot", "3");
}

BOOST_AUTO_TEST_CASE(misuse_is_named_when_the_graph_is_built) {
  const Expr x = input("x", {4, 3}), i = input("i", {2, 3}, DType::i32), b = input("b", {4});
  check_refusal([&] { take(x, b); }, "take", "indices must be i32 or i64, got f32");
  check_refusal([&] { take(x, i, 2); }, "take", "axis 2 is outside [-2, 2) for shape [4, 3]");
  check_refusal([&] { take(sum(x), i); }, "take", "wants rows, got a scalar");
  check_refusal([&] { scatter_add(x, i, b); }, "scatter_add",
                "x [4, 3] with indices [2, 3] wants added slices of rank 3, got [4]");
  check_refusal([&] { scatter_add(x, i, constant(ones({2, 3, 4}))); }, "scatter_add",
                "the added rows must have shape [2, 3, 3], got [2, 3, 4]");
  check_refusal([&] { scatter_add(x > 0, i, constant(ones({2, 3, 3})) > 0); }, "scatter_add",
                "wants numbers, got bool");
  check_refusal([&] { take_along_axis(b, i); }, "take_along_axis",
                "the indices must have the 1 axes of [4], got [2, 3]");
  check_refusal([&] { take_along_axis(x, i, 1); }, "take_along_axis",
                "shapes do not broadcast: [4, 1] and [2, 1]");
  check_refusal([&] { put_along_axis(input("y", {1, 3}), i, 1.0, 1); }, "put_along_axis",
                "indices [2, 3] do not broadcast to [1, 3] along the other axes");
  check_refusal([&] { at(x, i); }, "at", "x [4, 3] wants indices of shape [4], got [2, 3]");
  check_refusal([&] { tril(b); }, "tril", "wants at least two axes, got [4]");
  check_refusal([&] { triu(b, 1); }, "triu", "wants at least two axes, got [4]");
}

BOOST_AUTO_TEST_CASE(wide_rows_are_added_alike_in_one_part_and_in_many) {
  const std::int64_t rows = 50, width = 300, count = 400;
  const Expr x = input("x", {rows, width}), v = input("v", {count, width});
  const Expr i = constant(places({count}, rows));
  const Expr nothing = broadcast_to(constant(zeros({})), {rows, width});
  std::vector<float> values;
  for (std::int64_t k = 0; k < count * width; ++k)
    values.push_back(0.1f * static_cast<float>(k % 101) - 3.f);
  const Tensor added = tensor(std::span<const float>(values), {count, width});
  std::vector<float> expected(static_cast<std::size_t>(rows * width), 0.f);
  const Tensor numbers = places({count}, rows);
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t c = 0; c < width; ++c)
      expected[static_cast<std::size_t>(static_cast<std::int64_t>(numbers.at(k)) * width + c)] +=
          values[static_cast<std::size_t>(k * width + c)];
  }
  for (const int threads : {1, 2, 5}) {
    for (const Expr& output : {scatter_add(x, i, v), scatter_add(nothing, i, v)}) {
      CompileOptions options;
      options.threads = threads;
      const Tensor got = evaluate(output, {{x, zeros({rows, width})}, {v, added}}, options);
      BOOST_TEST(same_bits(got, tensor(std::span<const float>(expected), {rows, width})));
    }
  }
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
