#include "cuda/fake_cuda_call.h"

namespace fake_cuda {

void note_misuse(const std::string& what) {
  if (world().misuse.empty()) world().misuse = what;
}

cudaError_t enter(const std::string& name, const std::string& rest) {
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

cudaStreamCaptureMode& capture_mode() {
  thread_local constinit cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

bool spoils() {
  bool spoilt = false;
  if (capture_mode() == cudaStreamCaptureModeRelaxed) return false;
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

}  // namespace fake_cuda
