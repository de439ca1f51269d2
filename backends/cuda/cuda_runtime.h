#pragma once
// What the executable of a program needs of a device. The GPU's is cuda_device.cpp; in tests the
// thread-block harness stands in, so that whole programs run from the same kernels on the CPU.
// Calls take effect in their order, but for copies ahead, which have an order of their own. None
// but copy_out and the waits waits for the device.

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

/// What a compiler says against the text of a kernel.
class CudaTextError : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

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

/// An order in which calls take effect.
enum class CudaLine : std::uint8_t {
  work,   // of all calls but
  ahead,  // copies from the host that run while the device works
};

/// A point in a line, set again and again by one thread at a time.
class CudaMark {
 public:
  virtual ~CudaMark() = default;
  /// Behind what the line has been given so far.
  virtual void set(CudaLine line) = 0;
  /// What the line is given from now on begins when the mark is past. One never set is past.
  virtual void hold(CudaLine line) = 0;
  /// Until it is past.
  virtual void wait() = 0;
};

/// Bytes of the host, and where they go.
struct CudaPart {
  const std::byte* from = nullptr;
  std::int64_t at = 0, bytes = 0;
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

  /// A function for each text, equal ones once. Throws CudaTextError with the compiler's messages,
  /// DeviceError if there is no compiler or memory.
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

  virtual std::unique_ptr<CudaMark> mark();
  /// As copy_in, on the line ahead: each part to `to + at`, in ascending order. What lies between
  /// them may be written too. Here and in mark(): for a runtime that does each call at once.
  virtual void copy_ahead(std::byte* to, std::span<const CudaPart> parts);

  /// Launches and copies within the device that `calls` makes, to be started often. The calls are
  /// kept, not run.
  virtual std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) = 0;
  /// While it records: a number for what was called last.
  virtual std::int32_t recorded_point() { return 0; }
  /// While it records: the next call begins after these points, not after the call before it. By
  /// default calls stay in one row, which keeps every order.
  virtual void begin_after(std::span<const std::int32_t>) {}
};

}  // namespace blockgrad
