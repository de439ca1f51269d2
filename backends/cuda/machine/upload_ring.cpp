#include "backends/cuda/machine/upload_ring.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/cuda/machine/cuda_event.h"
#include "backends/cuda/machine/cuda_owner.h"

namespace blockgrad {

UploadRing::~UploadRing() {
  if (size_ > 0) calls_->release([&] { return cudaStreamSynchronize(stream_.get()); }, "a wait");
}

void UploadRing::copy(std::byte* to, const std::byte* from, std::int64_t bytes) {
  const std::lock_guard lock(mutex_);
  piece(to, from, bytes);
}

void UploadRing::copy(std::byte* to, std::span<const CudaPart> parts) {
  if (parts.empty()) return;
  const std::lock_guard lock(mutex_);
  const std::int64_t first = parts.front().at, bytes = parts.back().at + parts.back().bytes - first;
  if (bytes > most_buffer) {
    for (const CudaPart& part : parts) piece(to + part.at, part.from, part.bytes);
    return;
  }
  if (bytes == 0) return;
  if (bytes > size_) grow(bytes);
  std::byte* const pinned = place(bytes);
  for (const CudaPart& part : parts) {
    if (part.bytes > 0)
      std::memcpy(pinned + part.at - first, part.from, static_cast<std::size_t>(part.bytes));
  }
  send(to + first, pinned, bytes);
}

void UploadRing::piece(std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes > size_ && size_ < most_buffer) grow(bytes);
  while (bytes > 0) {
    const std::int64_t part = std::min(bytes, size_);
    std::byte* const pinned = place(part);
    std::memcpy(pinned, from, static_cast<std::size_t>(part));
    send(to, pinned, part);
    to += part;
    from += part;
    bytes -= part;
  }
}

void UploadRing::send(std::byte* to, const std::byte* pinned, std::int64_t bytes) {
  calls_->check(
      [&] {
        return cudaMemcpyAsync(to, pinned, static_cast<std::size_t>(bytes), cudaMemcpyHostToDevice,
                               stream_.get());
      },
      "a copy to the device");
  constexpr std::int64_t line = 64;
  used_ += (bytes + line - 1) / line * line;
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
    buffer.left = make_event(calls_);
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
  wait_for_event(*calls_, buffer.left.get());
}

}  // namespace blockgrad
