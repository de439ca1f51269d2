#pragma once
// Copies from the host that leave its memory free: through pinned buffers, used in turns. A copy
// waits only where all of them are on their way. Any thread may call.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/machine/calls.h"

struct CUevent_st;
struct CUstream_st;

namespace blockgrad {

class UploadRing {
 public:
  static constexpr std::int64_t least_buffer = std::int64_t{1} << 20;
  static constexpr std::int64_t most_buffer = std::int64_t{16} << 20;

  UploadRing(std::shared_ptr<CudaCalls> calls, std::shared_ptr<CUstream_st> stream)
      : calls_(std::move(calls)), stream_(std::move(stream)) {}
  /// Waits for the copies that are on their way.
  ~UploadRing();
  UploadRing(const UploadRing&) = delete;
  UploadRing& operator=(const UploadRing&) = delete;

  /// In the stream. Small copies share a buffer. What is larger than the buffers makes them grow;
  /// what is larger than most_buffer goes in pieces.
  void copy(std::byte* to, const std::byte* from, std::int64_t bytes);
  /// Parts in ascending order, each to `to + at`; by one copy if they fit into a buffer.
  void copy(std::byte* to, std::span<const CudaPart> parts);

 private:
  struct Buffer {
    std::shared_ptr<std::byte> bytes;
    std::shared_ptr<CUevent_st> left;  // after the last copy out of it
  };
  using Buffers = std::array<Buffer, 4>;

  Buffers make_buffers(std::int64_t size) const;
  void grow(std::int64_t bytes);
  void piece(std::byte* to, const std::byte* from, std::int64_t bytes);
  std::byte* place(std::int64_t bytes);
  void send(std::byte* to, const std::byte* pinned, std::int64_t bytes);
  void leave();
  void wait(const Buffer& buffer);

  std::shared_ptr<CudaCalls> calls_;
  std::shared_ptr<CUstream_st> stream_;
  std::mutex mutex_;
  Buffers buffers_;
  std::int64_t size_ = 0;  // of each buffer
  std::size_t at_ = 0;     // the buffer that is being filled
  std::int64_t used_ = 0;  // of it
};

}  // namespace blockgrad
