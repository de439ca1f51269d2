#pragma once
// Products whose elements go through a formula in registers: the text of that, and its operands.
// Nothing here needs CUDA.

#include <span>
#include <string>
#include <vector>

#include "backends/cuda/products/cuda_product.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// What a product's kernel does in place of writing C. Its operands lie as matrices of the
/// product's batch.
struct CudaEpilogue {
  struct Side {
    CudaFactor factor;
    DType dtype = DType::f32;
    bool is_one_a_row = false;  // the same for all columns
  };
  ScalarFn fn;  // input 0 is the sum
  std::vector<Side> extras, results;
  std::vector<Operand> inputs, outputs;  // of the formula, in the product's rows; input 0 is C
};

/// A struct KERNEL_formula, a product's epilogue: the extras x1, x2, ..., the results y0, y1, ...
/// and, if the formula wants an element's number, `m` and `n`.
std::string cuda_formula(const CudaEpilogue& epilogue);
/// Whether it does.
bool wants_number(const ScalarFn& fn);

/// The formula as a Map of its own, for products that cannot run it: C lies densely at `raw`.
CudaLaunch formula_apart(const CudaEpilogue& epilogue, const CudaArg& raw,
                         const CudaTarget& target);

/// ProductMap: the product's own launches, the last of which runs the formula.
CudaWork product_map_kernel(const CudaRequest& request);

}  // namespace blockgrad
