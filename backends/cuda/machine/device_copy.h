#pragma once
// The value of a parameter or state in a runtime's memory, shared by the programs that run there.

#include <memory>
#include <mutex>

#include "backends/cuda/cuda_runtime.h"
#include "blockgrad/graph/stored.h"

namespace blockgrad {

class DeviceCopy final : public Stored::Mirror {
 public:
  DeviceCopy(std::shared_ptr<CudaRuntime> runtime, const TensorType& type)
      : runtime_(std::move(runtime)), bytes_(bytes_of(type)), memory_(runtime_->allocate(bytes_)) {}

  bool is_on(const CudaRuntime* runtime) const { return runtime_.get() == runtime; }
  std::byte* memory() const { return memory_.get(); }
  std::int64_t bytes() const { return bytes_; }
  void fetch(std::byte* to) override { runtime_->copy_out(to, memory(), bytes_); }
  /// Takes the host's value if this one is old. The storage is locked.
  void refresh(const Stored& storage) {
    const std::lock_guard lock(mutex_);
    if (version == storage.version()) return;
    storage.bring_home();
    runtime_->copy_in(memory(), storage.bytes(), bytes_);
    version = storage.version();
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<CudaRuntime> runtime_;
  std::int64_t bytes_;
  std::shared_ptr<std::byte> memory_;
};

}  // namespace blockgrad
