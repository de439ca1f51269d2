// MatMul on the CPU: one Gemm per pair of matrices, batches outside.
#include <algorithm>
#include <memory>
#include <string>

#include "backends/cpu/families.h"
#include "backends/cpu/gemm.h"
#include "backends/cpu/linked_product.h"
#include "backends/cpu/matrix_shape.h"
#include "backends/cpu/weight_product.h"
#include "blockgrad/ops/linalg.h"

namespace blockgrad {

namespace {

struct Batched {
  Gemm gemm;
  std::vector<std::int64_t> a, b;  // where the matrices of each batch begin, in elements
  std::int64_t c = 0;              // elements of one result
  std::int64_t size = 4;           // bytes per element

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    const std::int64_t parts = gemm.parts();
    while (first < last) {
      const std::int64_t batch = first / parts;
      const std::int64_t end = std::min(last, (batch + 1) * parts);
      const auto i = static_cast<std::size_t>(batch);
      gemm.run(call.in[0] + a[i] * size, call.in[1] + b[i] * size, call.out[0] + batch * c * size,
               first - batch * parts, end - batch * parts, call.scratch);
      first = end;
    }
  }
};

std::vector<std::int64_t> batch_starts(const Layout& layout) {
  std::vector<std::int64_t> starts{layout.offset};
  for (int a = 0; a < layout.shape.rank() - 2; ++a) {
    std::vector<std::int64_t> next;
    for (const std::int64_t start : starts) {
      for (std::int64_t i = 0; i < layout.shape[a]; ++i)
        next.push_back(start + i * layout.strides[static_cast<std::size_t>(a)]);
    }
    starts = std::move(next);
  }
  return starts;
}

}  // namespace

void add_matmul_kernels(KernelTable& table) {
  table.add<MatMul>([](const KernelRequest& request) {
    const Layout& a = request.inputs[0].layout;
    const Layout& b = request.inputs[1].layout;
    const GemmShape shape = matrix_shape(request.inputs[0], request.inputs[1]);
    auto batched = std::make_shared<Batched>(
        Batched{Gemm::make(shape, request.isa), batch_starts(a), batch_starts(b), shape.m * shape.n,
                static_cast<std::int64_t>(size_of(request.inputs[0].dtype))});
    Kernel kernel;
    kernel.parts = batched->gemm.parts() * static_cast<std::int64_t>(batched->a.size());
    kernel.scratch = batched->gemm.scratch();
    kernel.cost = 20 + 2.0 * static_cast<double>(shape.m * shape.n * shape.k) *
                           static_cast<double>(batched->a.size()) / 60;
    kernel.why = to_string(batched->gemm.plan());
    if (request.updates(1) && batched->a.size() == 1 &&
        LinkedProduct::is_worth_it(shape, batched->gemm)) {
      const LinkedProduct linked(shape, batched->gemm);
      kernel.parts = linked.parts();
      kernel.why += ", for threads " + std::to_string(kernel.parts) + " of half of k";
      kernel.run = [linked, at_a = batched->a[0] * batched->size,
                    at_b = batched->b[0] * batched->size](const KernelCall& call,
                                                          std::int64_t first, std::int64_t last) {
        linked.run(call, call.in[0] + at_a, call.in[1] + at_b, call.out[0], first, last);
      };
      return kernel;
    }
    if (batched->a.size() == 1 && kernel.parts > 1 && request.makes(0) && request.makes(1) &&
        WeightProduct::is_worth_it(shape)) {
      const WeightProduct halves(shape, request.isa);
      kernel.scratch = std::max(kernel.scratch, halves.scratch());
      kernel.shared = halves.shared();
      kernel.why += ", for two threads halves of k";
      kernel.run = [halves, batched = std::shared_ptr<const Batched>(batched)](
                       const KernelCall& call, std::int64_t first, std::int64_t last) {
        if (call.shares != 2) return batched->run(call, first, last);
        halves.run(first == 0 ? 0 : 1, call.turn, call.in[0] + batched->a[0] * batched->size,
                   call.in[1] + batched->b[0] * batched->size, call.out[0], call.scratch,
                   call.shared);
      };
      return kernel;
    }
    kernel.run = [batched = std::shared_ptr<const Batched>(batched)](
                     const KernelCall& call, std::int64_t first, std::int64_t last) {
      batched->run(call, first, last);
    };
    return kernel;
  });
}

}  // namespace blockgrad
