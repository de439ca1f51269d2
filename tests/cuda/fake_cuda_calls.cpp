// The calls themselves, in place of those of libcudart.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "cuda/fake_cuda_world.h"

using namespace fake_cuda;

namespace {

void note_misuse(const std::string& what) {
  if (world().misuse.empty()) world().misuse = what;
}

/// Notes the call; the error it is to return.
cudaError_t enter(const std::string& name, const std::string& rest = {}) {
  World& w = world();
  w.calls.push_back(rest.empty() ? name : name + " " + rest);
  cudaError_t error = cudaSuccess;
  for (auto [at, end] = w.failures.equal_range(name); at != end;) {
    if (--at->second.first == 0) {
      error = at->second.second;
      at = w.failures.erase(at);
    } else {
      ++at;
    }
  }
  if (error != cudaSuccess) w.last = error;
  return error;
}

cudaError_t failed(cudaError_t error) {
  world().last = error;
  return error;
}

/// What a recording must not contain spoils it.
bool spoils() {
  bool spoilt = false;
  for (CUstream_st* stream : world().streams) {
    if (stream->recorder == std::this_thread::get_id()) stream->is_spoilt = spoilt = true;
  }
  if (spoilt) note_misuse("a call that cannot be recorded");
  return spoilt;
}

void run_until(CUstream_st* stream, std::int64_t position) {
  while (stream->done < position) {
    stream->work.front()();
    stream->work.pop_front();
    ++stream->done;
  }
}

void give(CUstream_st* stream, std::function<void()> work) {
  if (stream->recorder) {
    if (*stream->recorder != std::this_thread::get_id())
      note_misuse("a call of another thread into a recording");
    stream->graph.nodes.push_back(std::make_shared<CUgraphNode_st>(
        CUgraphNode_st{std::move(work), std::move(stream->next_after)}));
    stream->next_after = {stream->graph.nodes.back().get()};
    return;
  }
  stream->work.push_back(std::move(work));
  ++stream->given;
  if (world().keeps_up) run_until(stream, stream->given);
}

void finish_all() {
  for (CUstream_st* stream : world().streams) run_until(stream, stream->given);
}

template <class T>
void take_back(std::set<T*>& from, T* it, const char* what) {
  if (from.erase(it) == 0) return note_misuse(std::string("an unknown ") + what);
  delete it;
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

cudaError_t CUDARTAPI cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamBeginCapture")) return error;
  if (mode != cudaStreamCaptureModeThreadLocal) note_misuse("a recording that ends other threads'");
  stream->recorder = std::this_thread::get_id();
  stream->is_spoilt = false;
  stream->graph = {};
  stream->next_after.clear();
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* made) {
  const Lock lock(world().mutex);
  *made = nullptr;
  const cudaError_t error = enter("cudaStreamEndCapture");
  if (!stream->recorder) return failed(cudaErrorInvalidValue);
  stream->recorder.reset();
  if (error != cudaSuccess) return error;
  if (stream->is_spoilt) return failed(cudaErrorStreamCaptureInvalidated);
  *made = *world().graphs.insert(new CUgraph_st(stream->graph)).first;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                               unsigned long long*, cudaGraph_t*,
                                               const cudaGraphNode_t** dependencies,
                                               const cudaGraphEdgeData**, std::size_t* count) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamGetCaptureInfo")) return error;
  *status = stream->recorder ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  *dependencies = stream->next_after.data();
  *count = stream->next_after.size();
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamUpdateCaptureDependencies(cudaStream_t stream,
                                                          cudaGraphNode_t* dependencies,
                                                          const cudaGraphEdgeData*,
                                                          std::size_t count, unsigned flags) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaStreamUpdateCaptureDependencies")) return error;
  if (!stream->recorder) return failed(cudaErrorIllegalState);
  if (flags != cudaStreamSetCaptureDependencies) note_misuse("an order that adds to another");
  stream->next_after.assign(dependencies, dependencies + count);
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphDestroy(cudaGraph_t graph) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaGraphDestroy");
  take_back(world().graphs, graph, "graph");
  return error;
}

cudaError_t CUDARTAPI cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph,
                                           unsigned long long) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaGraphInstantiate")) return error;
  *made = *world().execs.insert(new CUgraphExec_st{graph->nodes}).first;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  const Lock lock(world().mutex);
  return enter("cudaGraphUpload");
}

cudaError_t CUDARTAPI cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaGraphLaunch")) return error;
  std::set<const CUgraphNode_st*> given;
  while (given.size() < exec->nodes.size()) {
    const auto& node = exec->nodes[world().random() % exec->nodes.size()];
    const bool can_start = std::ranges::all_of(
        node->after, [&](const CUgraphNode_st* before) { return given.contains(before); });
    if (can_start && given.insert(node.get()).second) give(stream, node->work);
  }
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGraphExecDestroy(cudaGraphExec_t exec) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaGraphExecDestroy");
  take_back(world().execs, exec, "ready graph");
  return error;
}

cudaError_t CUDARTAPI cudaLibraryLoadData(cudaLibrary_t* made, const void* code, cudaJitOption*,
                                          void**, unsigned, cudaLibraryOption*, void**, unsigned) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaLibraryLoadData")) return error;
  if (spoils()) return failed(cudaErrorStreamCaptureUnsupported);
  world().loaded.emplace_back(static_cast<const char*>(code));
  *made = *world().libraries.insert(new CUlib_st{world().loaded.back()}).first;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaLibraryUnload(cudaLibrary_t library) {
  const Lock lock(world().mutex);
  const cudaError_t error = enter("cudaLibraryUnload");
  take_back(world().libraries, library, "library");
  return error;
}

cudaError_t CUDARTAPI cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library,
                                           const char* name) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaLibraryGetKernel", name)) return error;
  if (library->cubin.find(name) == std::string::npos) return failed(cudaErrorInvalidValue);
  world().kernels.push_back(std::make_unique<CUkern_st>(CUkern_st{library, name}));
  *kernel = world().kernels.back().get();
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaFuncGetAttributes(cudaFuncAttributes*, const void*) {
  const Lock lock(world().mutex);
  return enter("cudaFuncGetAttributes");
}

cudaError_t CUDARTAPI cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute which, int value) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaFuncSetAttribute", std::to_string(value))) return error;
  if (which != cudaFuncAttributeMaxDynamicSharedMemorySize || value > 200 * 1024)
    return failed(cudaErrorInvalidValue);
  static_cast<CUkern_st*>(const_cast<void*>(kernel))->shared_bytes = value;
  return cudaSuccess;
}

cudaError_t CUDARTAPI cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** args,
                                       std::size_t shared_bytes, cudaStream_t stream) {
  const Lock lock(world().mutex);
  const auto& kernel = *static_cast<const CUkern_st*>(function);
  std::ostringstream what;
  what << kernel.name << " " << grid.x << "x" << block.x << " " << shared_bytes;
  if (const cudaError_t error = enter("cudaLaunchKernel", what.str())) return error;
  const bool fits = grid.x > 0 && grid.y == 1 && grid.z == 1 && block.x <= 1024 && block.y == 1 &&
                    block.z == 1 && shared_bytes <= static_cast<std::size_t>(kernel.shared_bytes);
  if (!fits) return failed(cudaErrorInvalidValue);
  const KernelBody& body = world().bodies[kernel.name];
  std::vector<std::uint64_t> values;
  for (int i = 0; i < body.arguments; ++i)
    values.push_back(*static_cast<const std::uint64_t*>(args[i]));
  give(stream, [run = body.run, values] {
    if (run) run(values);
  });
  return cudaSuccess;
}

}  // extern "C"
