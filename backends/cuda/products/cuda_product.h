#pragma once
// The launches of a product, whatever its operands are: the kernels of the ladder as one header of
// text, and a small kernel that calls one of them. Sizes and strides are arguments, so the text
// depends on the cut, the types of the operands and how they are read alone. Nothing here needs
// CUDA.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// A, B or C of a product as a kernel's text makes it: `type{address, fields..., starts}`.
struct CudaFactor {
  struct Field {
    std::string_view name;
    std::int64_t value = 0;
  };
  std::string_view type;  // gpu::Matrix or another one with its at(), without the element type
  CudaArg memory;
  std::vector<Field> fields;
  std::vector<std::int64_t> starts = {};  // of each batch, if the type has them
  gpu::Reads reads = gpu::Reads::one_by_one;
  bool in_packs = false;  // of C: its rows begin at multiples of 16 bytes
};

/// A value with at least two axes: a matrix for each index of the axes before the last two, which
/// are the batch in row-major order. As A, as B or as C, whose columns lie side by side.
enum class CudaSide { a, b, c };
CudaFactor cuda_matrix(CudaSide side, const CudaArg& memory, DType dtype, const Layout& layout);

/// How products of operands of this dtype are multiplied: TF32 is for f32 alone.
CudaMath cuda_math(const CudaRequest& request, DType dtype);

/// Adds launches of C = A B to the work: the tiles and, where there are slices of k, their sum. All
/// products of a node use the same scratch.
void add_product(CudaWork& work, const CudaRequest& request, const CudaProduct& product,
                 const CudaFactor& a, const CudaFactor& b, const CudaFactor& c);

}  // namespace blockgrad
