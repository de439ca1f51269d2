#include "backends/cuda/cuda_runtime.h"

namespace blockgrad {

namespace {

class PastMark final : public CudaMark {
 public:
  void set(CudaLine) override {}
  void hold(CudaLine) override {}
  void wait() override {}
};

}  // namespace

std::unique_ptr<CudaMark> CudaRuntime::mark() { return std::make_unique<PastMark>(); }

void CudaRuntime::copy_ahead(std::byte* to, std::span<const CudaPart> parts) {
  for (const CudaPart& part : parts) copy_in(to + part.at, part.from, part.bytes);
}

}  // namespace blockgrad
