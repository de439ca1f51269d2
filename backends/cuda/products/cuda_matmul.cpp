#include "backends/cuda/products/cuda_matmul.h"

#include "backends/cuda/products/cuda_epilogue.h"
#include "backends/cuda/products/cuda_product.h"
#include "backends/cuda/products/cuda_products.h"

namespace blockgrad {

namespace {

CudaWork library_work(const CudaRequest& request, const CudaMatMul& of,
                      const ProductChoice& choice) {
  const auto aligned = [](std::int64_t bytes) { return (bytes + 255) / 256 * 256; };
  CudaWork work;
  work.scratch = aligned(choice.workspace);
  work.why = choice.why;
  CudaLaunch launch;
  launch.args = {of.a.memory, of.b.memory, of.c.memory, {CudaArg::Kind::scratch}};
  launch.library = choice.call;
  if (request.epilogue == nullptr) {
    work.launches.push_back(std::move(launch));
    return work;
  }
  // A library knows no formula: the product lies in the scratch between the two.
  const CudaArg raw{CudaArg::Kind::scratch, 0, work.scratch};
  const Operand& product = request.outputs[0];
  launch.args[2] = raw;
  work.scratch += aligned(bytes_of({product.dtype, product.layout.shape}));
  work.launches.push_back(std::move(launch));
  work.launches.push_back(formula_apart(*request.epilogue, raw, request.target));
  work.why += ", then a map";
  return work;
}

}  // namespace

CudaMatMul cuda_matmul(const CudaRequest& request) {
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
  return {product, cuda_matrix(CudaSide::a, {Kind::input, 0}, a.dtype, a.layout),
          cuda_matrix(CudaSide::b, {Kind::input, 1}, b.dtype, b.layout),
          cuda_matrix(CudaSide::c, {Kind::output, 0}, c.dtype, c.layout), c.dtype};
}

CudaWork matmul_work(const CudaRequest& request, const CudaMatMul& of,
                     const ProductChoice& choice) {
  if (choice.call) return library_work(request, of, choice);
  CudaRequest cut = request;
  if (choice.cut_for > 0) cut.target.limits.processors = choice.cut_for;
  CudaWork work;
  add_product(work, cut, of.product, of.a, of.b, of.c);
  if (!choice.why.empty()) work.why += "; " + choice.why;
  return work;
}

CudaWork matmul_kernel(const CudaRequest& request) {
  const CudaMatMul of = cuda_matmul(request);
  const CudaProducts* products = request.target.libraries.products;
  // A library does not know the gate of updates.
  if (products == nullptr || request.is_update) return matmul_work(request, of, {});
  return matmul_work(request, of, products->choose(of.product, of.fit()));
}

}  // namespace blockgrad
