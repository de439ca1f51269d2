#pragma once
// A product as cuBLASLt takes it: a value, made of a product and its operands without the library.
// Nothing here needs CUDA.

#include <cstdint>
#include <string>

#include "backends/cuda/products/cublaslt.h"
#include "backends/cuda/products/cuda_product.h"

namespace blockgrad {

/// A matrix whose columns lie one after the other, `leading` elements apart.
struct LtMatrix {
  std::int64_t rows = 0, columns = 0, leading = 0;
  std::int64_t batch_stride = 0;  // elements; 0: one for the whole batch
  int alignment = 16;             // bytes of which all columns begin at multiples, at most 16

  bool operator==(const LtMatrix&) const = default;
};

/// result = operation(left) operation(right), `batch` times. A matrix in rows is its transpose in
/// columns, so C = A B is asked for as C^T = B^T A^T: `left` is the memory of B, `right` of A.
struct LtProblem {
  LtMatrix left = {}, right = {}, result = {};
  lt::Operation left_operation = lt::Operation::none, right_operation = lt::Operation::none;
  lt::Type type = lt::Type::f32;         // of left and right
  lt::Type result_type = lt::Type::f32;  // f32 or that of the operands
  lt::Compute compute = lt::Compute::f32;
  lt::Type scale = lt::Type::f32;
  std::int32_t batch = 1;

  bool operator==(const LtProblem&) const = default;
};

struct LtFit {
  LtProblem problem;
  std::string why_not = {};  // it cannot be asked for; empty: it can
};

/// f32 is multiplied pedantically as f32, or rounded to TF32 where the product's math says so; f64
/// as f64; halves exactly, their sums in f32. Each operand has unit stride along rows or columns,
/// C along its rows, and the matrices of a batch lie at equal distances.
/// `dtype` is C's.
LtFit lt_problem(const CudaProduct& product, const CudaFactor& a, const CudaFactor& b,
                 const CudaFactor& c, DType dtype);

}  // namespace blockgrad
