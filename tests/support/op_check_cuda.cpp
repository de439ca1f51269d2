#include "tests/support/op_check_cuda.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <deque>
#include <functional>
#include <random>

#include "backends/cuda/harness/host_runtime.h"
#include "tests/support/on_cuda.h"
#include "tests/support/op_try.h"

namespace op_check {

using namespace blockgrad;

namespace {

bool takes_all() {
  const char* all = std::getenv("BLOCKGRAD_TEST_ALL");
  return all != nullptr && *all == '1';
}

// Sums are made in another order than on the CPU, and products in more than one.
double tolerance_of(const OpCase& row, DType dtype) {
  switch (dtype) {
    case DType::f64: return std::max(1e-11, 10 * row.tolerance64);
    case DType::f32: return std::max(2e-5, 10 * row.tolerance32);
    case DType::bf16: return std::max(0.02, 10 * row.tolerance32);
    case DType::f16: return std::max(0.004, 10 * row.tolerance32);
    default: return 0;
  }
}

}  // namespace

bool is_about_cuda() {
  const char* device = std::getenv("BLOCKGRAD_TEST_DEVICE");
  return device != nullptr && *device != 0;
}

void check_cuda(const OpCase& row) {
  if (test_support::skips_cuda_programs()) return;
  std::vector<DType> dtypes = row.dtypes;
  if (row.takes_integers) dtypes.insert(dtypes.end(), {DType::i32, DType::i64, DType::u8});
  const bool has_f32 = std::find(dtypes.begin(), dtypes.end(), DType::f32) != dtypes.end();
  std::mt19937_64 random(std::hash<std::string>{}(row.name));
  struct Try {
    OpTry one;
    std::vector<Output> outputs;
    std::string title;
    double tolerance;
  };
  std::deque<Try> tries;
  for (const DType dtype : dtypes) {
    for (const std::vector<Shape>& shapes : row.shapes) {
      const bool is_main = has_f32 ? dtype == DType::f32 : dtype == dtypes[0];
      if (!is_main && random() % 10 != 0 && !takes_all()) continue;
      std::string title(name(dtype));
      for (const Shape& shape : shapes) title += " " + to_string(shape);
      Try& made = tries.emplace_back(OpTry(row, shapes, dtype, false), std::vector<Output>{},
                                     std::move(title), tolerance_of(row, dtype));
      for (const Expr& output : made.one.outputs()) made.outputs.emplace_back(output);
    }
  }
  const Device& device = test_support::cuda_test_device();
  harness::compile_together([&] {
    for (const Try& made : tries) compile(made.outputs, {}, device);
  });
  for (const Try& made : tries) {
    BOOST_TEST_CONTEXT(made.title)
    test_support::check_on_cuda(made.outputs, made.one.feeds(), made.tolerance);
  }
  test_support::check_machine_code();
}

}  // namespace op_check
