#include "backends/cuda/machine/device_runtime.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <mutex>
#include <optional>
#include <thread>

#include "backends/cuda/index/cuda_sorts.h"
#include "backends/cuda/machine/cuda_event.h"
#include "backends/cuda/machine/cuda_owner.h"
#include "backends/cuda/machine/errors.h"
#include "backends/cuda/machine/upload_ring.h"
#include "backends/cuda/products/cuda_products.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

using Calls = std::shared_ptr<CudaCalls>;
using Stream = std::shared_ptr<CUstream_st>;

Stream make_stream(const Calls& calls) {
  return cuda_owner<CUstream_st>(
      calls, "a stream",
      [](cudaStream_t* made) { return cudaStreamCreateWithFlags(made, cudaStreamNonBlocking); },
      [](cudaStream_t stream) { return cudaStreamDestroy(stream); });
}

int attribute(CudaCalls& calls, cudaDeviceAttr which) {
  int value = 0;
  calls.check([&] { return cudaDeviceGetAttribute(&value, which, 0); }, "a property of the device");
  return value;
}

/// The calls that a stream is given while this lives become a graph.
class Capture {
 public:
  Capture(const Calls& calls, const Stream& stream) : calls_(calls), stream_(stream) {
    calls->check(
        [&] { return cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal); },
        "the begin of a recording");
  }
  ~Capture() {
    if (has_ended_) return;
    cudaGraph_t graph = nullptr;
    calls_->release([&] { return cudaStreamEndCapture(stream_.get(), &graph); },
                    "the end of a recording");
    if (graph) calls_->release([&] { return cudaGraphDestroy(graph); }, "a graph");
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::shared_ptr<CUgraph_st> end() {
    has_ended_ = true;
    return cuda_owner<CUgraph_st>(
        calls_, "the end of a recording",
        [&](cudaGraph_t* made) { return cudaStreamEndCapture(stream_.get(), made); },
        [](cudaGraph_t graph) { return cudaGraphDestroy(graph); });
  }

 private:
  const Calls& calls_;
  const Stream& stream_;
  bool has_ended_ = false;
};

/// A library's first call loads kernels, and may take memory for its own, which a recording of this
/// thread need not refuse.
class MayLoad {
 public:
  MayLoad() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  ~MayLoad() { (void)cudaThreadExchangeStreamCaptureMode(&mode_); }
  MayLoad(const MayLoad&) = delete;
  MayLoad& operator=(const MayLoad&) = delete;

 private:
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
};

class GraphSequence final : public CudaSequence {
 public:
  GraphSequence(const Calls& calls, const Stream& stream, const std::shared_ptr<CUgraph_st>& graph)
      : calls_(calls), stream_(stream) {
    exec_ = cuda_owner<CUgraphExec_st>(
        calls, "a graph",
        [&](cudaGraphExec_t* made) { return cudaGraphInstantiate(made, graph.get(), 0); },
        [](cudaGraphExec_t exec) { return cudaGraphExecDestroy(exec); });
    calls->check([&] { return cudaGraphUpload(exec_.get(), stream.get()); },
                 "the upload of a graph");
  }

  void start() override {
    calls_->check([&] { return cudaGraphLaunch(exec_.get(), stream_.get()); },
                  "the start of a graph");
  }

 private:
  Calls calls_;
  Stream stream_;
  std::shared_ptr<CUgraphExec_st> exec_;
};

class EventMark final : public CudaMark {
 public:
  EventMark(const Calls& calls, const Stream& work, const Stream& ahead)
      : calls_(calls), work_(work), ahead_(ahead), event_(make_event(calls)) {}

  void set(CudaLine line) override {
    calls_->check([&] { return cudaEventRecord(event_.get(), stream(line)); }, "an event's record");
  }
  void hold(CudaLine line) override {
    calls_->check([&] { return cudaStreamWaitEvent(stream(line), event_.get(), 0); },
                  "a stream's wait for an event");
  }
  void wait() override { wait_for_event(*calls_, event_.get()); }

 private:
  cudaStream_t stream(CudaLine line) const {
    return line == CudaLine::work ? work_.get() : ahead_.get();
  }

  Calls calls_;
  Stream work_, ahead_;
  std::shared_ptr<CUevent_st> event_;
};

class DeviceRuntime final : public CudaRuntime {
 public:
  DeviceRuntime(const CudaFindings& found, CubinMaker make_cubin, const ThrustCalls* thrust)
      : title_("cuda, " + found.name),
        limits_{
            .processors = attribute(*calls_, cudaDevAttrMultiProcessorCount),
            .shared_bytes = attribute(*calls_, cudaDevAttrMaxSharedMemoryPerBlockOptin),
            .registers = attribute(*calls_, cudaDevAttrMaxRegistersPerMultiprocessor),
        },
        stream_(make_stream(calls_)),
        recorded_(make_stream(calls_)),
        ahead_(make_stream(calls_)),
        kernels_(calls_, std::move(make_cubin)),
        products_(cuda_product_source(found.name, limits_.processors)),
        uploads_(calls_, stream_),
        uploads_ahead_(calls_, ahead_) {
    if (thrust == nullptr) return;
    sorts_.emplace("CUB", *thrust,
                   [calls = calls_](std::string_view what, const std::function<int()>& call) {
                     calls->check(call, what);
                   });
  }
  /// Kernels are unloaded after their last launch is done.
  ~DeviceRuntime() override {
    calls_->release([&] { return cudaStreamSynchronize(stream_.get()); }, "a wait for the device");
  }
  DeviceRuntime(const DeviceRuntime&) = delete;
  DeviceRuntime& operator=(const DeviceRuntime&) = delete;

  std::string title() const override { return title_; }
  CudaLimits limits() const override { return limits_; }
  CudaLibraries libraries() const override {
    return {.products = &products_, .sorts = sorts_ ? &*sorts_ : nullptr};
  }

  std::int64_t free_bytes() const override {
    std::size_t free = 0, total = 0;
    calls_->check([&] { return cudaMemGetInfo(&free, &total); }, "the free memory");
    return static_cast<std::int64_t>(free);
  }

  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    require_not_recording("a load of kernels");
    return kernels_.load(texts);
  }

  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override;
  void launch(const CudaCall& call) override;

  void copy_in(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    require_not_recording("a copy from the host");
    uploads_.copy(to, from, bytes);
  }
  void copy_within(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    copy(to, from, bytes, cudaMemcpyDeviceToDevice, "a copy within the device");
  }
  void copy_out(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    require_not_recording("a copy to the host");
    copy(to, from, bytes, cudaMemcpyDeviceToHost, "a copy from the device");
    wait();
  }
  void wait() override {
    require_not_recording("a wait");
    calls_->check([&] { return cudaStreamSynchronize(stream_.get()); }, "a wait for the device");
  }

  std::unique_ptr<CudaMark> mark() override {
    require_not_recording("an event");
    return std::make_unique<EventMark>(calls_, stream_, ahead_);
  }
  void copy_ahead(std::byte* to, std::span<const CudaPart> parts) override {
    require_not_recording("a copy from the host");
    uploads_ahead_.copy(to, parts);
  }

  std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) override;
  std::int32_t recorded_point() override;
  void begin_after(std::span<const std::int32_t> points) override;

 private:
  bool is_recording() const { return recorder_.load() == std::this_thread::get_id(); }
  void require_not_recording(std::string_view what) const {
    check_internal(!is_recording(), what, " cannot be recorded");
  }
  /// Where a call of this thread goes. Recorded calls have a stream of their own, so that other
  /// threads go on.
  cudaStream_t stream() const { return is_recording() ? recorded_.get() : stream_.get(); }
  void copy(std::byte* to, const std::byte* from, std::int64_t bytes, cudaMemcpyKind kind,
            std::string_view what) {
    if (bytes == 0) return;
    calls_->check(
        [&] { return cudaMemcpyAsync(to, from, static_cast<std::size_t>(bytes), kind, stream()); },
        what);
  }

  Calls calls_ = std::make_shared<CudaCalls>();
  std::string title_;
  CudaLimits limits_;
  Stream stream_, recorded_, ahead_;
  DeviceKernels kernels_;
  CudaProducts products_;
  UploadRing uploads_, uploads_ahead_;
  std::optional<CudaSorts> sorts_;
  std::mutex recording_;                              // one thread at a time
  std::vector<std::vector<cudaGraphNode_t>> points_;  // of the recording
  std::atomic<std::thread::id> recorder_{};
};

std::shared_ptr<std::byte> DeviceRuntime::allocate(std::int64_t bytes) {
  require_not_recording("an allocation");
  const auto size = static_cast<std::size_t>(std::max<std::int64_t>(bytes, 1));
  bool is_full = false;
  std::shared_ptr<std::byte> memory = cuda_owner<std::byte>(
      calls_, "device memory",
      [&](std::byte** made) {
        void* address = nullptr;
        const cudaError_t error = cudaMalloc(&address, size);
        is_full = error == cudaErrorMemoryAllocation;
        *made = static_cast<std::byte*>(address);
        return is_full ? cudaSuccess : error;
      },
      [](std::byte* address) { return cudaFree(address); });
  if (is_full) {
    forget_cuda_error();
    throw OutOfMemory(
        fmt::format("out of memory on the device: {} bytes wanted, {} free", bytes, free_bytes()));
  }
  calls_->check([&] { return cudaMemsetAsync(memory.get(), 0xff, size, stream_.get()); },
                "setting device memory");
  return memory;
}

void DeviceRuntime::launch(const CudaCall& call) {
  if (call.blocks == 0) return;
  if (call.library) {
    MayLoad may_load;
    calls_->check(
        [&] {
          call.library->enqueue(stream(), call.args);
          return cudaSuccess;
        },
        "a library's call", call.node);
    return;
  }
  constexpr std::int64_t most_blocks = std::numeric_limits<std::int32_t>::max();
  if (call.blocks < 0 || call.blocks > most_blocks) {
    throw Error(fmt::format("{}: a grid of {} blocks, a CUDA device takes at most {}", call.node,
                            call.blocks, most_blocks));
  }
  kernels_.allow_shared(call.function, call.shared_bytes, call.node);
  std::vector<void*> args;
  args.reserve(call.args.size());
  for (const std::uint64_t& arg : call.args) args.push_back(const_cast<std::uint64_t*>(&arg));
  calls_->check(
      [&] {
        return cudaLaunchKernel(static_cast<const DeviceKernel*>(call.function)->handle,
                                dim3(static_cast<unsigned>(call.blocks)),
                                dim3(static_cast<unsigned>(call.threads)), args.data(),
                                static_cast<std::size_t>(call.shared_bytes), stream());
      },
      "a launch", call.node);
}

std::unique_ptr<CudaSequence> DeviceRuntime::record(const std::function<void()>& calls) {
  require_not_recording("a recording");
  const std::lock_guard lock(recording_);
  std::shared_ptr<CUgraph_st> graph;
  {
    points_.clear();
    Capture capture(calls_, recorded_);
    struct Recorder {
      std::atomic<std::thread::id>& id;
      explicit Recorder(std::atomic<std::thread::id>& to) : id(to) {
        id = std::this_thread::get_id();
      }
      ~Recorder() { id = std::thread::id(); }
    };
    {
      const Recorder recorder(recorder_);
      calls();
    }
    graph = capture.end();
  }
  return std::make_unique<GraphSequence>(calls_, stream_, graph);
}

std::int32_t DeviceRuntime::recorded_point() {
  check_internal(is_recording(), "only a recording has points");
  cudaStreamCaptureStatus status{};
  const cudaGraphNode_t* nodes = nullptr;
  std::size_t count = 0;
  calls_->check(
      [&] {
        return cudaStreamGetCaptureInfo(recorded_.get(), &status, nullptr, nullptr, &nodes, nullptr,
                                        &count);
      },
      "a look at a recording");
  points_.emplace_back(nodes, nodes + count);
  return static_cast<std::int32_t>(points_.size()) - 1;
}

void DeviceRuntime::begin_after(std::span<const std::int32_t> points) {
  check_internal(is_recording(), "only a recording has points");
  std::vector<cudaGraphNode_t> nodes;
  for (const std::int32_t point : points) {
    for (const cudaGraphNode_t node : points_[static_cast<std::size_t>(point)]) {
      if (std::ranges::find(nodes, node) == nodes.end()) nodes.push_back(node);
    }
  }
  calls_->check(
      [&] {
        return cudaStreamUpdateCaptureDependencies(recorded_.get(), nodes.data(), nullptr,
                                                   nodes.size(), cudaStreamSetCaptureDependencies);
      },
      "an order in a recording");
}

}  // namespace

std::shared_ptr<CudaRuntime> open_cuda_runtime(const CudaFindings& found, CubinMaker make_cubin,
                                               const ThrustCalls* thrust) {
  return std::make_shared<DeviceRuntime>(found, std::move(make_cubin), thrust);
}

}  // namespace blockgrad
