// Elements and rows by number on CUDA's executable against the CPU's kernels: equal bits, as sums
// follow the order of positions on both.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "tests/cuda/drawn_case.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

using test_support::DrawnCase;
using test_support::skips_cuda_programs;

// Of each size; floats of two bytes, and bool, are types of their own.
constexpr DType moved_dtypes[] = {DType::f32, DType::i64, DType::f16, DType::u8, DType::boolean};

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_index)

BOOST_AUTO_TEST_CASE(rows_and_elements_are_read_by_number) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : moved_dtypes) {
    const Expr i = t.indices({7}, dtype == DType::f32 ? DType::i64 : DType::i32, 5);
    for (const std::int64_t width : {1, 3, 16})
      t.outputs.push_back(take(t.values({5, width}, dtype), i));
  }
  t.outputs.push_back(take(t.values({5}, DType::f32), t.indices({40, 30}, DType::i32, 5)));
  t.outputs.push_back(take(t.values({5, 3}, DType::f32), t.indices({0}, DType::i32, 5)));
  t.outputs.push_back(take(t.values({5, 0}, DType::f32), t.indices({4}, DType::i32, 5)));
  t.outputs.push_back(take(t.values({2, 5, 3}, DType::f32), t.indices({4}, DType::i32, 5), 1));
  t.outputs.push_back(
      take_along_axis(t.values({4, 6}, DType::f64), t.indices({4, 2}, DType::i64, 6)));
  t.check();
}

BOOST_AUTO_TEST_CASE(what_is_added_to_one_place_is_added_in_order_of_position) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
    const Expr i = t.indices({40}, dtype == DType::f32 ? DType::i64 : DType::i32, 5);
    for (const std::int64_t width : {1, 3})
      t.outputs.push_back(
          scatter_add(t.values({5, width}, dtype), i, t.values({40, width}, dtype)));
  }
  const Expr x = t.values({9}, DType::f32), none = t.indices({0}, DType::i32, 9);
  t.outputs.push_back(scatter_add(x, none, t.values({0}, DType::f32)));
  const Expr zero = broadcast_to(constant(zeros({}, DType::f32)), {6, 2});
  t.outputs.push_back(
      scatter_add(zero, t.indices({20}, DType::i32, 6), t.values({20, 2}, DType::f32)));
  for (const DType index : {DType::i32, DType::i64}) {
    t.outputs.push_back(scatter_add(t.values({50}, DType::f32), t.indices({9000}, index, 50),
                                    t.values({9000}, DType::f32)));
  }
  t.check();
}

BOOST_AUTO_TEST_CASE(the_last_value_for_a_place_wins) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : moved_dtypes) {
    const Expr x = t.values({4, 6}, dtype), v = t.values({4, 9}, dtype);
    t.outputs.push_back(put_along_axis(x, t.indices({4, 9}, DType::i32, 6), v));
  }
  const Expr i = t.indices({3000, 3}, DType::i64, 4);
  t.outputs.push_back(
      put_along_axis(t.values({3000, 4}, DType::f32), i, t.values({3000, 3}, DType::f32)));
  t.outputs.push_back(
      put_along_axis(t.values({3000, 4}, DType::f32), i, constant(full({1, 1}, 7))));
  t.outputs.push_back(put_along_axis(t.values({3, 0}, DType::f32), t.indices({3, 0}, DType::i32, 1),
                                     t.values({3, 0}, DType::f32)));
  t.check();
}

BOOST_AUTO_TEST_CASE(equal_rows_are_merged_and_written_back) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  const auto add = [&](const Rows& rows) {
    for (const Expr& part : {rows.rows, rows.values, rows.count}) t.outputs.push_back(part);
  };
  for (const DType index : {DType::i32, DType::i64}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Rows rows = merge_rows(t.indices({300}, index, 40), t.values({300, 3}, dtype));
      add(rows);
      t.outputs.push_back(put_rows(t.values({40, 3}, dtype), rows));
    }
  }
  add(merge_rows(t.numbers({5000}, DType::i64, -1e6, 1e6), t.values({5000}, DType::f32)));
  add(merge_rows(t.numbers({4000}, DType::i32, -300, 300), t.values({4000, 2}, DType::f32)));
  add(merge_rows(t.indices({0}, DType::i32, 4), t.values({0, 2}, DType::f32)));
  add(merge_rows(t.indices({6}, DType::i32, 4), t.values({6, 0}, DType::f32)));
  const Expr wide = t.values({2000, 64}, DType::f32);
  t.outputs.push_back(put_rows(t.values({100, 64}, DType::f32),
                               merge_rows(t.indices({2000}, DType::i32, 100), wide)));
  t.check();
}

BOOST_AUTO_TEST_CASE(rows_of_a_parameter_are_replaced_in_place_unless_the_step_fails) {
  if (skips_cuda_programs()) return;
  std::vector<std::vector<Tensor>> seen;
  std::vector<std::string> errors;
  for (const Device& device : {cpu(), test_support::cuda_test_device()}) {
    const Expr w = parameter(arange(0, 60).reshape({20, 3}), "w");
    const Expr i = input("i", {8}, DType::i32);
    const Expr rows = take(w, i);
    const Rows merged = merge_rows(i, rows * 0.5);
    Updates updates;
    updates.set(w, put_rows(w, merged));
    Program program = compile({rows}, updates, device);
    std::vector<Tensor> values;
    const auto run = [&](std::int32_t bad) {
      const Tensor numbers = tensor<std::int32_t>({1, 5, 5, 19, 0, bad, 5, 1}, {8});
      program.run({{i, numbers}});
      values.push_back(w.value());
    };
    run(7);
    try {
      run(20);
    } catch (const Error& error) {
      errors.push_back(error.what());
    }
    values.push_back(w.value());
    run(3);
    seen.push_back(values);
  }
  BOOST_TEST_REQUIRE(errors.size() == 2u);
  BOOST_TEST(errors[0] == errors[1]);
  for (std::size_t k = 0; k < seen[0].size(); ++k) {
    for (std::int64_t e = 0; e < 60; ++e) BOOST_TEST(seen[0][k].at(e) == seen[1][k].at(e));
  }
}

BOOST_AUTO_TEST_SUITE_END()
