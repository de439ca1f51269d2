#include "backends/cuda/cuda_matmul.h"

#include "backends/cuda/cuda_product.h"
#include "backends/cuda/cuda_products.h"

namespace blockgrad {

namespace {

CudaWork library_work(const ProductChoice& choice, const CudaFactor& a, const CudaFactor& b,
                      const CudaFactor& c) {
  CudaWork work;
  work.scratch = (choice.workspace + 255) / 256 * 256;
  work.why = choice.why;
  CudaLaunch launch;
  launch.args = {a.memory, b.memory, c.memory, {CudaArg::Kind::scratch}};
  launch.library = choice.call;
  work.launches.push_back(std::move(launch));
  return work;
}

}  // namespace

CudaWork matmul_kernel(const CudaRequest& request) {
  const Operand &a = request.inputs[0], &b = request.inputs[1], &c = request.outputs[0];
  const Shape &of_a = a.layout.shape, &of_c = c.layout.shape;
  const int rank = of_c.rank();
  CudaProduct product{.m = of_c[rank - 2],
                      .n = of_c[rank - 1],
                      .k = of_a[rank - 1],
                      .dtype = a.dtype,
                      .math = cuda_math(request, a.dtype),
                      .result = c.dtype};
  for (int axis = 0; axis < rank - 2; ++axis) product.batch *= of_c[axis];
  using Kind = CudaArg::Kind;
  const CudaFactor of[] = {cuda_matrix(CudaSide::a, {Kind::input, 0}, a.dtype, a.layout),
                           cuda_matrix(CudaSide::b, {Kind::input, 1}, b.dtype, b.layout),
                           cuda_matrix(CudaSide::c, {Kind::output, 0}, c.dtype, c.layout)};
  ProductChoice choice;
  // A library does not know the gate of updates.
  if (const CudaProducts* products = request.target.libraries.products;
      products && !request.is_update)
    choice = products->choose(product, lt_problem(product, of[0], of[1], of[2], c.dtype));
  if (choice.call) return library_work(choice, of[0], of[1], of[2]);
  CudaRequest cut = request;
  if (choice.cut_for > 0) cut.target.limits.processors = choice.cut_for;
  CudaWork work;
  add_product(work, cut, product, of[0], of[1], of[2]);
  if (!choice.why.empty()) work.why += "; " + choice.why;
  return work;
}

}  // namespace blockgrad
