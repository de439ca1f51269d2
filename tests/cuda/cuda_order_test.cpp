// Sorting and running sums on CUDA's executable against the CPU's kernels: equal bits, as both
// orders depend on shapes alone.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "tests/cuda/drawn_case.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::DrawnCase;
using test_support::skips_cuda_programs;

namespace {

/// Few different values, some NaN, infinite and -0: ties of all kinds.
Expr tied(DrawnCase& t, const Shape& shape, DType dtype) {
  const Expr x = t.numbers(shape, dtype, -3.9, 3.9);
  if (!is_floating(dtype)) return x;
  const Expr whole = floor(x);
  return where(whole > 2.0, whole - whole * 0.0 / 0.0,
               where(whole < -3.0, whole / 0.0, where(equal(whole, 1.0), -0.0 * whole, whole)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_order)

BOOST_AUTO_TEST_CASE(lines_of_all_lengths_and_types_are_sorted_stably) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype :
       {DType::f32, DType::f64, DType::bf16, DType::f16, DType::i32, DType::i64, DType::u8}) {
    const Expr x = tied(t, {5, 37}, dtype);
    t.outputs.push_back(argsort(x));
    t.outputs.push_back(argsort(x, -1, true));
    t.outputs.push_back(argsort(t.values({3, 600}, dtype), -1, true));
  }
  for (const std::int64_t n : {0, 1, 2, 8, 511, 2048})
    t.outputs.push_back(argsort(t.values({3, n}, DType::f32)));
  t.outputs.push_back(argsort(t.values({0, 4}, DType::f32)));
  t.outputs.push_back(sort(t.values({4, 9, 3}, DType::f32), 1));
  t.check();
}

BOOST_AUTO_TEST_CASE(lines_longer_than_a_tile_are_sorted_and_their_first_elements_selected) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  t.outputs.push_back(argsort(t.values({2, 2049}, DType::f32)));
  t.outputs.push_back(argsort(tied(t, {1, 17000}, DType::f32), -1, true));
  t.outputs.push_back(argsort(t.values({5000}, DType::i64)));
  t.outputs.push_back(topk(tied(t, {2, 9000}, DType::f32), 20).indices);
  t.outputs.push_back(topk(t.values({4500}, DType::f64), 1000).indices);
  t.outputs.push_back(topk(t.values({4500}, DType::u8), 1500).indices);
  t.outputs.push_back(topk(t.values({3, 100}, DType::f32), 7).values);
  t.outputs.push_back(topk(t.values({3, 100}, DType::f32), 0).values);
  t.check();
}

BOOST_AUTO_TEST_CASE(running_sums_add_in_the_same_order) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::i64, DType::u8}) {
    const bool reverse = dtype == DType::f64 || dtype == DType::i32;
    t.outputs.push_back(cumsum(t.values({700}, dtype), 0, reverse));
    t.outputs.push_back(cumsum(t.values({2, 300, 3}, dtype), 1, reverse));
    t.outputs.push_back(cumsum(t.values({40, 9}, dtype), 1, !reverse));
  }
  t.outputs.push_back(cumsum(t.values({70000}, DType::f64)));
  t.outputs.push_back(cumsum(t.values({3, 0}, DType::f32)));
  t.outputs.push_back(cumsum(t.values({0, 3}, DType::f32)));
  t.outputs.push_back(cumsum(0.0 * t.values({300}, DType::f32)));
  t.check();
}

BOOST_AUTO_TEST_SUITE_END()
