#include "backends/cuda/cuda_matmul.h"

#include "backends/cuda/cuda_product.h"

namespace blockgrad {

CudaWork matmul_kernel(const CudaRequest& request) {
  const Operand &a = request.inputs[0], &b = request.inputs[1], &c = request.outputs[0];
  const Shape &of_a = a.layout.shape, &of_c = c.layout.shape;
  const int rank = of_c.rank();
  CudaProduct product{
      .m = of_c[rank - 2], .n = of_c[rank - 1], .k = of_a[rank - 1], .dtype = c.dtype};
  for (int axis = 0; axis < rank - 2; ++axis) product.batch *= of_c[axis];
  using Kind = CudaArg::Kind;
  CudaWork work;
  add_product(work, request, product, cuda_matrix(CudaSide::a, {Kind::input, 0}, a.dtype, a.layout),
              cuda_matrix(CudaSide::b, {Kind::input, 1}, b.dtype, b.layout),
              cuda_matrix(CudaSide::c, {Kind::output, 0}, c.dtype, c.layout));
  return work;
}

}  // namespace blockgrad
