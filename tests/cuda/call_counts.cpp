#include "cuda/call_counts.h"

#include <cuda_runtime_api.h>

#include <atomic>

namespace {

std::atomic<std::int64_t> allocations{0}, waits{0};

}  // namespace

namespace test_support {

CallCounts call_counts() { return {allocations, waits}; }

}  // namespace test_support

// `ld --wrap=f` turns every call of f into one of __wrap_f, and __real_f is f. The list stands in
// tests/CMakeLists.txt, too.
// NOLINTBEGIN(*-naming,*-reserved-identifier): the names are the linker's.
extern "C" {

cudaError_t __real_cudaMalloc(void** memory, std::size_t bytes);
cudaError_t __wrap_cudaMalloc(void** memory, std::size_t bytes) {
  ++allocations;
  return __real_cudaMalloc(memory, bytes);
}

cudaError_t __real_cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream);
cudaError_t __wrap_cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  ++allocations;
  return __real_cudaMallocAsync(memory, bytes, stream);
}

cudaError_t __real_cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags);
cudaError_t __wrap_cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  ++allocations;
  return __real_cudaHostAlloc(memory, bytes, flags);
}

cudaError_t __real_cudaMallocHost(void** memory, std::size_t bytes);
cudaError_t __wrap_cudaMallocHost(void** memory, std::size_t bytes) {
  ++allocations;
  return __real_cudaMallocHost(memory, bytes);
}

cudaError_t __real_cudaFree(void* memory);
cudaError_t __wrap_cudaFree(void* memory) {
  ++allocations;
  return __real_cudaFree(memory);
}

cudaError_t __real_cudaFreeHost(void* memory);
cudaError_t __wrap_cudaFreeHost(void* memory) {
  ++allocations;
  return __real_cudaFreeHost(memory);
}

cudaError_t __real_cudaDeviceSynchronize();
cudaError_t __wrap_cudaDeviceSynchronize() {
  ++waits;
  return __real_cudaDeviceSynchronize();
}

cudaError_t __real_cudaStreamSynchronize(cudaStream_t stream);
cudaError_t __wrap_cudaStreamSynchronize(cudaStream_t stream) {
  ++waits;
  return __real_cudaStreamSynchronize(stream);
}

cudaError_t __real_cudaEventSynchronize(cudaEvent_t event);
cudaError_t __wrap_cudaEventSynchronize(cudaEvent_t event) {
  ++waits;
  return __real_cudaEventSynchronize(event);
}

cudaError_t __real_cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
cudaError_t __wrap_cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  ++waits;
  return __real_cudaMemcpy(to, from, bytes, kind);
}
}
// NOLINTEND(*-naming,*-reserved-identifier)
