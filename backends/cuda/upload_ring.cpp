#include "backends/cuda/upload_ring.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/cuda/cuda_owner.h"

namespace blockgrad {

UploadRing::~UploadRing() {
  if (size_ > 0) calls_->release([&] { return cudaStreamSynchronize(stream_.get()); }, "a wait");
}

void UploadRing::copy(std::byte* to, const std::byte* from, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > size_ && size_ < most_buffer) grow(bytes);
  while (bytes > 0) {
    const std::int64_t part = std::min(bytes, size_);
    std::byte* const pinned = place(part);
    std::memcpy(pinned, from, static_cast<std::size_t>(part));
    calls_->check(
        [&] {
          return cudaMemcpyAsync(to, pinned, static_cast<std::size_t>(part), cudaMemcpyHostToDevice,
                                 stream_.get());
        },
        "a copy to the device");
    constexpr std::int64_t line = 64;
    used_ += (part + line - 1) / line * line;
    to += part;
    from += part;
    bytes -= part;
  }
}

UploadRing::Buffers UploadRing::make_buffers(std::int64_t size) const {
  Buffers buffers;
  for (Buffer& buffer : buffers) {
    buffer.bytes = cuda_owner<std::byte>(
        calls_, "pinned memory",
        [&](std::byte** made) {
          void* bytes = nullptr;
          const cudaError_t error =
              cudaHostAlloc(&bytes, static_cast<std::size_t>(size), cudaHostAllocDefault);
          *made = static_cast<std::byte*>(bytes);
          return error;
        },
        [](std::byte* bytes) { return cudaFreeHost(bytes); });
    buffer.left = cuda_owner<CUevent_st>(
        calls_, "an event",
        [](cudaEvent_t* made) { return cudaEventCreateWithFlags(made, cudaEventDisableTiming); },
        [](cudaEvent_t event) { return cudaEventDestroy(event); });
  }
  return buffers;
}

void UploadRing::grow(std::int64_t bytes) {
  const auto wanted = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(bytes)));
  const std::int64_t size = std::clamp(wanted, least_buffer, most_buffer);
  Buffers buffers = make_buffers(size);
  if (size_ > 0) {
    leave();
    for (const Buffer& buffer : buffers_) wait(buffer);
  }
  buffers_ = std::move(buffers);
  size_ = size;
  at_ = 0;
  used_ = 0;
}

std::byte* UploadRing::place(std::int64_t bytes) {
  if (used_ + bytes > size_) {
    leave();
    const std::size_t next = (at_ + 1) % buffers_.size();
    wait(buffers_[next]);
    at_ = next;
    used_ = 0;
  }
  return buffers_[at_].bytes.get() + used_;
}

void UploadRing::leave() {
  calls_->check([&] { return cudaEventRecord(buffers_[at_].left.get(), stream_.get()); },
                "an event's record");
}

void UploadRing::wait(const Buffer& buffer) {
  // An event that was never recorded is past.
  calls_->check([&] { return cudaEventSynchronize(buffer.left.get()); }, "a wait for an event");
}

}  // namespace blockgrad
