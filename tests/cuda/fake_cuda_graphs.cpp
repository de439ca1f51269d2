// The calls themselves, in place of those of libcudart: recordings, graphs, kernels.
#include <algorithm>
#include <sstream>

#include "cuda/fake_cuda_call.h"

using namespace fake_cuda;

extern "C" {

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

cudaError_t CUDARTAPI cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  const Lock lock(world().mutex);
  if (const cudaError_t error = enter("cudaThreadExchangeStreamCaptureMode")) return error;
  std::swap(*mode, capture_mode());
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
