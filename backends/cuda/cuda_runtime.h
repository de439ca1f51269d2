#pragma once
// What the executable of a program needs of a device. The GPU's is cuda_device.cpp; in tests the
// thread-block harness stands in, so that whole programs run from the same kernels on the CPU.
// Calls take effect in their order; none but copy_out and wait waits for the device.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// A loaded kernel; valid while the runtime is.
using CudaFunction = const void*;

/// One launch with its arguments, all of which are 8 bytes wide: addresses and longs.
struct CudaCall {
  CudaFunction function = nullptr;
  std::int64_t blocks = 1;
  int threads = 1;
  int shared_bytes = 0;
  std::vector<std::uint64_t> args;
  std::shared_ptr<const CudaLibraryCall> library = nullptr;  // does the work, if not null
  std::string_view node =
      {};  // "matmul fc1 (train.cpp:41)", for errors; kept by who makes the call
};

/// Calls in order that are started by one.
class CudaSequence {
 public:
  virtual ~CudaSequence() = default;
  virtual void start() = 0;
};

class CudaRuntime {
 public:
  virtual ~CudaRuntime() = default;

  /// "cuda, NVIDIA H200".
  virtual std::string title() const = 0;
  virtual CudaLimits limits() const = 0;
  /// Valid while the runtime is.
  virtual CudaLibraries libraries() const { return {}; }
  /// Bytes that could be allocated now.
  virtual std::int64_t free_bytes() const = 0;

  /// A function for each text, equal ones once. Throws DeviceError with the compiler's messages.
  virtual std::vector<CudaFunction> load(std::span<const CudaText> texts) = 0;
  /// Device memory, aligned to 256 bytes, all bits set. Throws DeviceError if there is not enough.
  virtual std::shared_ptr<std::byte> allocate(std::int64_t bytes) = 0;

  virtual void launch(const CudaCall& call) = 0;
  /// From the host; `from` may change when this returns.
  virtual void copy_in(std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  virtual void copy_within(std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  /// To the host, waiting for everything before it.
  virtual void copy_out(std::byte* to, const std::byte* from, std::int64_t bytes) = 0;
  virtual void wait() = 0;

  /// Launches and copies within the device that `calls` makes, to be started often. The calls are
  /// kept, not run.
  virtual std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) = 0;
};

}  // namespace blockgrad
