// Rows of a larger value: equal ones merged, and rows written by number.
#include "blockgrad/ops/rows.h"

#include <boost/test/unit_test.hpp>
#include <map>
#include <random>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/updates.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace test_support;
using namespace op_check;

namespace {

// Rows 4, 0 and 2 of x, of which the first `count` are replaced.
Array replaced(std::span<const Array> x, std::int64_t count) {
  Array y = x[0];
  const std::int64_t row = y.shape.size() / y.shape[0];
  const std::vector<std::int64_t> rows = {4, 0, 2};
  for (std::int64_t k = 0; k < count; ++k) {
    for (std::int64_t i = 0; i < row; ++i)
      y.values[static_cast<std::size_t>(rows[static_cast<std::size_t>(k)] * row + i)] =
          x[1].values[static_cast<std::size_t>(k * row + i)];
  }
  return y;
}

std::vector<OpCase> rows_of_ops() {
  std::vector<OpCase> all;
  const std::vector<std::vector<Shape>> shapes = {{{5}, {3}},
                                                  {{5, 2}, {3, 2}},
                                                  {{6, 1, 3}, {3, 1, 3}},
                                                  {{5, 0}, {3, 0}},
                                                  {{7, 2, 2}, {3, 2, 2}}};
  for (const int count : {3, 1, 0}) {
    OpCase row{"put_rows_of_" + std::to_string(count), shapes,
               [count](auto x) {
                 const Expr rows = constant(tensor<std::int32_t>({4, 0, 2}, {3}));
                 const Expr n = constant(full({}, count, DType::i64));
                 return put_rows(x[0], Rows{rows, x[1], n});
               },
               [count](auto x) { return replaced(x, count); }};
    row.has_gradient = false;
    row.has_second_order = false;
    row.takes_integers = true;
    all.push_back(row);
  }
  OpCase merged{"merge_rows_by_i64",
                {{{6}}, {{6, 2}}, {{6, 1, 3}}, {{6, 0}}, {{6, 2, 2}}},
                [](auto x) {
                  const Expr i = constant(tensor<std::int64_t>({5, -1, 5, 2, 5, -1}, {6}));
                  return merge_rows(i, x[0]).values;
                },
                [](auto x) {
                  const std::vector<std::vector<std::int64_t>> parts = {{1, 5}, {3}, {0, 2, 4}};
                  return make_array(x[0].shape, [&](const Index& at) {
                    double sum = 0;
                    if (at[0] < 3) {
                      Index from = at;
                      for (const std::int64_t p : parts[static_cast<std::size_t>(at[0])]) {
                        from[0] = p;
                        sum += x[0].at(from);
                      }
                    }
                    return sum;
                  });
                }};
  merged.has_gradient = false;
  merged.has_second_order = false;
  all.push_back(merged);
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rows)

BG_CASES(rows_of_ops())

BOOST_AUTO_TEST_CASE(random_indices_are_merged_in_order_of_position) {
  std::mt19937 random(7);
  for (const std::int64_t n : {1, 2, 17, 1000}) {
    for (const std::int64_t below : {1, 5, 300}) {
      std::vector<std::int32_t> indices;
      std::vector<float> values;
      std::map<std::int32_t, float> expected;
      for (std::int64_t k = 0; k < n; ++k) {
        indices.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(below)));
        values.push_back(static_cast<float>(random() % 1000) * 0.37f - 150);
        const auto [sum, is_new] = expected.emplace(indices.back(), 0.f);
        sum->second = sum->second + values.back();
      }
      const Expr i = input("i", {n}, DType::i32), v = input("v", {n});
      const Rows merged = merge_rows(i, v);
      Program program = compile({merged.rows, merged.values, merged.count});
      const Results results = program.run({{i, tensor(std::span<const std::int32_t>(indices), {n})},
                                           {v, tensor(std::span<const float>(values), {n})}});
      BOOST_TEST_REQUIRE(results.number(2) == static_cast<double>(expected.size()));
      const Tensor rows = results.tensor(0), sums = results.tensor(1);
      std::int64_t k = 0;
      for (const auto& [row, sum] : expected) {
        BOOST_TEST(rows.at(k) == row);
        BOOST_TEST(sums.span<float>()[static_cast<std::size_t>(k)] == sum);
        ++k;
      }
      for (; k < n; ++k) {
        BOOST_TEST(rows.at(k) == 0);
        BOOST_TEST(sums.at(k) == 0);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(no_indices_give_no_rows) {
  const Rows merged = merge_rows(constant(zeros({0}, DType::i64)), constant(zeros({0, 3})));
  BOOST_TEST(evaluate(merged.count).at(0) == 0);
  BOOST_TEST((merged.values.shape() == Shape{0, 3}));
  const Expr x = constant(ones({2, 3}));
  BOOST_TEST(evaluate(put_rows(x, merged)).at(5) == 1);
}

BOOST_AUTO_TEST_CASE(an_index_per_element_of_a_matrix_is_merged_like_a_list) {
  const Rows merged = merge_rows(constant(tensor<std::int32_t>({1, 0, 1, 1}, {2, 2})),
                                 constant(tensor({1.0, 2.0, 4.0, 8.0}, {2, 2, 1})));
  BOOST_TEST(evaluate(merged.count).at(0) == 2);
  BOOST_TEST(evaluate(merged.values).at(0) == 2);
  BOOST_TEST(evaluate(merged.values).at(1) == 13);
}

// The update writes two rows of a large storage; nothing of its size is made.
BOOST_AUTO_TEST_CASE(an_update_writes_its_rows_in_place) {
  const std::int64_t n = 100000;
  const Expr w = parameter(ones({n, 4}), "w"), i = input("i", {3}, DType::i32);
  const Rows merged = merge_rows(i, constant(full({3, 4}, 2)));
  Updates updates;
  updates.set(w, put_rows(w, merged));
  Program program = compile({}, updates);
  BOOST_TEST(program.report().arena_bytes < 2000);
  BOOST_TEST(program.explain().find("3 rows of 16 bytes at most, in place") != std::string::npos);
  program.run({{i, tensor<std::int32_t>({7, 99999, 7}, {3})}});
  const Tensor now = w.value();
  for (const std::int64_t row : {0, 6, 8, 99998}) BOOST_TEST(now.at(row * 4) == 1);
  BOOST_TEST(now.at(7 * 4 + 3) == 4);
  BOOST_TEST(now.at(99999 * 4) == 2);
}

BOOST_AUTO_TEST_CASE(every_reader_of_the_storage_sees_the_value_before_the_update) {
  const Expr w = parameter(tensor({1.0, 2.0, 3.0}, {3}), "w");
  const Expr other = parameter(zeros({3}, DType::f64), "other");
  const Expr copy = parameter(zeros({3}, DType::f64), "copy");
  const Rows rows{constant(tensor<std::int32_t>({2, 0}, {2})), constant(tensor({30.0, 10.0}, {2})),
                  constant(full({}, 2, DType::i64))};
  const Expr written = put_rows(w, rows);
  Updates updates;
  updates.set(w, written);
  updates.set(other, other + w);     // reads the old value
  updates.set(copy, written * 1.0);  // reads the new one
  Program program = compile({sum(w), sum(written)}, updates);
  const Results results = program.run();
  BOOST_TEST(results.number(0) == 6);
  BOOST_TEST(results.number(1) == 42);
  BOOST_TEST(w.value().at(2) == 30);
  BOOST_TEST(other.value().at(2) == 3);
  BOOST_TEST(copy.value().at(2) == 30);
}

BOOST_AUTO_TEST_CASE(a_value_whose_own_rows_are_put_elsewhere_is_not_written_while_it_is_read) {
  const Expr x = input("x", {3}, DType::f64);
  const Expr y = x * 2.0;
  const Rows rows{constant(tensor<std::int32_t>({2, 0, 1}, {3})), y,
                  constant(full({}, 3, DType::i64))};
  const Tensor z = evaluate(put_rows(y, rows), {{x, tensor({1.0, 2.0, 3.0}, {3})}});
  BOOST_TEST(z.at(0) == 4);
  BOOST_TEST(z.at(1) == 6);
  BOOST_TEST(z.at(2) == 2);
}

BOOST_AUTO_TEST_CASE(a_guard_that_is_false_and_a_row_out_of_range_leave_the_storage) {
  const Expr w = parameter(ones({3, 2}), "w"), i = input("i", {2}, DType::i32);
  const Expr allowed = state(zeros({}, DType::boolean), "allowed");
  Updates updates;
  updates.set(w, put_rows(w, Rows{i, constant(full({2, 2}, 5)), constant(full({}, 2, DType::i64))}),
              allowed);
  Program program = compile({}, updates);
  program.run({{i, tensor<std::int32_t>({0, 2}, {2})}});
  for (std::int64_t e = 0; e < 6; ++e) BOOST_TEST(w.value().at(e) == 1);
  allowed.set_value(full({}, 1, DType::boolean));
  for (const std::int32_t bad : {3, -1}) {
    const std::string text =
        error_of([&] { program.run({{i, tensor<std::int32_t>({0, bad}, {2})}}); });
    BOOST_TEST(text.find("index " + std::to_string(bad) + " at position 1 is out of range") !=
                   std::string::npos,
               text);
    for (std::int64_t e = 0; e < 6; ++e) BOOST_TEST(w.value().at(e) == 1);
  }
  program.run({{i, tensor<std::int32_t>({0, 2}, {2})}});
  BOOST_TEST(w.value().at(0) == 5);
  BOOST_TEST(w.value().at(2) == 1);
  BOOST_TEST(w.value().at(4) == 5);
}

BOOST_AUTO_TEST_CASE(a_count_beyond_the_rows_is_cut) {
  const Expr x = constant(zeros({2}, DType::f64));
  const auto put = [&](double count) {
    return evaluate(
        put_rows(x, Rows{constant(tensor<std::int64_t>({1}, {1})), constant(tensor({3.0}, {1})),
                         constant(full({}, count, DType::i64))}));
  };
  BOOST_TEST(put(1e6).at(1) == 3);
  BOOST_TEST(put(-1).at(1) == 0);
}

BOOST_AUTO_TEST_CASE(mistakes_are_named) {
  const Expr i = constant(zeros({2}, DType::i32)), count = constant(zeros({}, DType::i64));
  const Expr x = constant(zeros({3, 2})), v = constant(zeros({2, 2}));
  const auto ends = [](const auto& call, const std::string& end) {
    const std::string text = error_of(call);
    BOOST_TEST(text.ends_with(end), text);
    BOOST_TEST(text.find("_rows (rows_cases.cpp:") != std::string::npos, text);
  };
  ends([&] { merge_rows(v, v); }, ": indices must be i32 or i64, got f32");
  ends([&] { merge_rows(i, i); }, ": values must be f32 or f64, got i32");
  ends([&] { merge_rows(i, x); },
       ": indices [2] want values of shape [2] and the shape of a row, got [3, 2]");
  ends([&] { put_rows(constant(zeros({})), Rows{i, v, count}); }, ": wants rows, got a scalar");
  ends([&] { put_rows(x, Rows{i, constant(zeros({2, 2}, DType::f64)), count}); },
       ": dtypes differ: f32 and f64");
  ends([&] { put_rows(x, Rows{i, constant(zeros({2, 3})), count}); },
       ": the new rows must have shape [2, 2], got [2, 3]");
  ends([&] { put_rows(x, Rows{i, v, i}); }, ": the count must be an i64 scalar, got i32[2]");
  ends([&] { put_rows(x, Rows{constant(zeros({2, 1}, DType::i32)), v, count}); },
       ": row numbers must have one axis, got [2, 1]");
  ends([&] { put_rows(x, Rows{}); }, ": rows, values or count are empty");
}

BOOST_AUTO_TEST_SUITE_END()
