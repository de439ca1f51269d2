// The calls themselves, in place of those of libcudart: streams, events, memory.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cuda/fake_cuda_call.h"

using namespace fake_cuda;

namespace {

void finish_all() {
  for (CUstream_st* stream : world().streams) run_until(stream, stream->given);
}

cudaError_t take_memory(std::map<std::byte*, std::size_t>& all, void** made, std::size_t bytes) {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  std::memset(memory, 0x5a, bytes);
  all.emplace(memory, bytes);
  *made = memory;
  return cudaSuccess;
}

void free_memory(std::map<std::byte*, std::size_t>& all, void* memory) {
  if (all.erase(static_cast<std::byte*>(memory)) == 0) note_misuse("an unknown address");
  else std::free(memory);
}

bool lies_in(const std::map<std::byte*, std::size_t>& all, const void* address, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(address);
  return std::ranges::any_of(all, [&](const auto& memory) {
    return first >= memory.first && first + bytes <= memory.first + memory.second;
  });
}

}  // namespace

extern "C" {

const char* CUDARTAPI cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    default: return "another error";
  }
}
const char* CUDARTAPI cudaGetErrorString(cudaError_t) { return "as asked for"; }
cudaError_t CUDARTAPI cudaGetLastError() {
  const Lock lock(world().mutex);
  return std::exchange(world().last, cudaSuccess);
}

cudaError_t CUDARTAPI cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaDeviceGetAttribute")) return error;
  *value = which == cudaDevAttrMultiProcessorCount            ? 7
           : which == cudaDevAttrMaxSharedMemoryPerBlockOptin ? 200 * 1024
                                                              : 65536;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaMemGetInfo")) return error;
  *free = world().memory - world().used;
  *total = world().memory;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t* made, unsigned flags) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamCreateWithFlags")) return error;
  if (flags != cudaStreamNonBlocking) note_misuse("a stream that waits for the legacy one");
  *made = *world().streams.insert(new CUstream_st).first;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaStreamDestroy");
  run_until(stream, stream->given);
  take_back(world().streams, stream, "stream");
  return error;
}

cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamSynchronize")) return error;
  if (spoils()) return failed(cudaErrorStreamCaptureUnsupported);
  if (stream->done < stream->given) ++world().waits;
  run_until(stream, stream->given);
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t* made, unsigned) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaEventCreateWithFlags")) return error;
  *made = *world().events.insert(new CUevent_st).first;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t event) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaEventDestroy");
  take_back(world().events, event, "event");
  return error;
}

cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaEventRecord")) return error;
  *event = {stream, stream->given};
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamWaitEvent")) return error;
  // "as if the record has already completed" where there was none (CUDA Runtime API).
  if (event->stream == nullptr) return cudaSuccess;
  give(stream, [on = event->stream, position = event->position] {
    if (world().streams.contains(on)) run_until(on, position);
  });
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventQuery(cudaEvent_t event) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaEventQuery")) return error;
  if (event->stream == nullptr || event->stream->done >= event->position) return cudaSuccess;
  return failed(cudaErrorNotReady);
}

cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t event) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaEventSynchronize")) return error;
  if (event->stream == nullptr || event->stream->done >= event->position) return cudaSuccess;
  ++world().waits;
  run_until(event->stream, event->position);
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMalloc(void** made, std::size_t bytes) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaMalloc", std::to_string(bytes))) return error;
  if (spoils()) return failed(cudaErrorStreamCaptureUnsupported);
  if (bytes > world().memory - world().used) return failed(cudaErrorMemoryAllocation);
  world().used += bytes;
  return take_memory(world().device, made, bytes);
}

cudaError_t CUDARTAPI cudaFree(void* memory) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaFree");
  if (spoils()) return failed(cudaErrorStreamCaptureUnsupported);
  finish_all();
  if (const auto at = world().device.find(static_cast<std::byte*>(memory));
      at != world().device.end()) {
    world().used -= at->second;
  }
  free_memory(world().device, memory);
  return error;
}

cudaError_t CUDARTAPI cudaHostAlloc(void** made, std::size_t bytes, unsigned) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaHostAlloc", std::to_string(bytes))) return error;
  if (spoils()) return failed(cudaErrorStreamCaptureUnsupported);
  return take_memory(world().pinned, made, bytes);
}

cudaError_t CUDARTAPI cudaFreeHost(void* memory) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaFreeHost");
  const auto* first = static_cast<std::byte*>(memory);
  const std::size_t bytes = world().pinned[static_cast<std::byte*>(memory)];
  for (const Range& upload : world().uploads) {
    if (upload.from >= first && upload.from < first + bytes)
      note_misuse("pinned memory was freed while it was copied");
  }
  free_memory(world().pinned, memory);
  return error;
}

cudaError_t CUDARTAPI cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  const Lock lock(world().mutex);
  const char* names[] = {"in host", "in", "out", "within"};
  if (const cudaError_t error =
          enter("cudaMemcpyAsync", names[kind] + (" " + std::to_string(bytes))))
    return error;
  const bool is_in = kind == cudaMemcpyHostToDevice, is_out = kind == cudaMemcpyDeviceToHost;
  if (is_in && !lies_in(world().pinned, from, bytes)) note_misuse("a copy from pageable memory");
  if (!is_out && !lies_in(world().device, to, bytes)) note_misuse("a copy outside the device");
  if (!is_in && !lies_in(world().device, from, bytes)) note_misuse("a copy outside the device");
  if (is_in) world().uploads.push_back({static_cast<const std::byte*>(from), bytes});
  give(stream, [=] {
    std::memcpy(to, from, bytes);
    if (is_in) {
      std::erase_if(world().uploads, [&](const Range& upload) { return upload.from == from; });
    }
  });
  // "For transfers from device memory to pageable host memory, the function will return only once
  // the copy has completed" (CUDA Runtime API, "API synchronization behavior").
  if (is_out) run_until(stream, stream->given);
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaMemsetAsync", std::to_string(bytes))) return error;
  if (!lies_in(world().device, to, bytes)) note_misuse("set outside the device");
  give(stream, [=] { std::memset(to, value, bytes); });
  return cudaSuccess;
}

}  // extern "C"
