#include "backends/cuda/harness/host_runtime.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <random>

#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/harness/fiber.h"
#include "backends/cuda/harness/guarded.h"
#include "backends/cuda/harness/host_call.h"
#include "backends/cuda/harness/host_kernels.h"
#include "backends/cuda/harness/host_lines.h"
#include "backends/cuda/harness/thrust_on_cpu.h"
#include "backends/cuda/index/cuda_sorts.h"

#ifdef BG_POISON
// LeakSanitizer's tracer crashes, now and then, where libraries with fibers were loaded at run
// time; so leaks are not looked for in such a process. All else is checked.
extern "C" int __lsan_is_turned_off() {  // NOLINT(*-naming,*-reserved-identifier)
  return blockgrad::harness::host_counts().kernels > 0 ? 1 : 0;
}
#endif

namespace blockgrad::harness {

namespace {

constexpr std::int64_t guard_zone = 512;  // bytes behind an allocation

HostCounts& mutable_counts() {
  static HostCounts counts;
  return counts;
}

/// The harness runs one launch at a time.
std::recursive_mutex& one_at_a_time() {
  static std::recursive_mutex mutex;
  return mutex;
}

/// The threads of every launch.
Fibers& fibers() {
  static Fibers fibers;
  return fibers;
}

HostKernels& kernels() {
  static HostKernels kernels(mutable_counts().kernels);
  return kernels;
}

struct RecordedCall {
  CudaCall call;
  std::vector<std::size_t> after;
};

/// Starts its calls in an order drawn anew among those that their points allow.
class HostSequence final : public CudaSequence {
 public:
  HostSequence(CudaRuntime& runtime, std::vector<RecordedCall> calls, std::uint64_t seed)
      : runtime_(runtime), calls_(std::move(calls)), random_(seed), behind_(calls_.size()) {
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      for (const std::size_t before : calls_[i].after) behind_[before].push_back(i);
    }
  }
  void start() override {
    std::vector<std::size_t> waits, ready;
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      waits.push_back(calls_[i].after.size());
      if (waits[i] == 0) ready.push_back(i);
    }
    while (!ready.empty()) {
      std::swap(ready[random_() % ready.size()], ready.back());
      const std::size_t next = ready.back();
      ready.pop_back();
      runtime_.launch(calls_[next].call);
      for (const std::size_t i : behind_[next]) {
        if (--waits[i] == 0) ready.push_back(i);
      }
    }
  }

 private:
  CudaRuntime& runtime_;
  std::vector<RecordedCall> calls_;
  std::mt19937_64 random_;
  std::vector<std::vector<std::size_t>> behind_;
};

class HostMark final : public CudaMark {
 public:
  explicit HostMark(std::shared_ptr<HostLines> lines) : lines_(std::move(lines)) {}

  void set(CudaLine line) override {
    const std::lock_guard lock(one_at_a_time());
    line_ = line;
    calls_ = lines_->given(line);
  }
  void hold(CudaLine line) override {
    const std::lock_guard lock(one_at_a_time());
    lines_->hold(line, line_, calls_);
  }
  void wait() override {
    const std::lock_guard lock(one_at_a_time());
    lines_->finish(line_, calls_);
  }

 private:
  std::shared_ptr<HostLines> lines_;
  CudaLine line_ = CudaLine::work;
  std::int64_t calls_ = 0;
};

class HostRuntime final : public CudaRuntime {
 public:
  explicit HostRuntime(const HostOptions& options)
      : seed_(options.seed), lines_(std::make_shared<HostLines>(options.seed)) {
    one_at_a_time();  // these live longer
    fibers();
    if (!options.has_sorts || thrust_on_cpu() == nullptr) return;
    sorts_.emplace("Thrust", *thrust_on_cpu(),
                   [](std::string_view what, const std::function<int()>& call) {
                     const int error = call();
                     check_internal(error == 0, what, " fails with ", error);
                   });
  }
  ~HostRuntime() override { finish(*lines_); }
  HostRuntime(const HostRuntime&) = delete;
  HostRuntime& operator=(const HostRuntime&) = delete;

  std::string title() const override { return "cuda on the CPU"; }
  CudaLimits limits() const override { return {}; }  // of an H200: its cuts are tested
  CudaLibraries libraries() const override { return {.sorts = sorts_ ? &*sorts_ : nullptr}; }
  std::int64_t free_bytes() const override { return std::int64_t{1} << 40; }

  std::vector<CudaFunction> load(std::span<const CudaText> texts) override {
    return kernels().load(texts);
  }

  std::shared_ptr<std::byte> allocate(std::int64_t bytes) override {
    constexpr std::align_val_t alignment{256};
    auto* memory = static_cast<std::byte*>(
        ::operator new(static_cast<std::size_t>(bytes + guard_zone), alignment));
    std::memset(memory, 0xff, static_cast<std::size_t>(bytes + guard_zone));
#ifdef BG_POISON
    __asan_poison_memory_region(memory + bytes, guard_zone);
#endif
    return {memory, [bytes, lines = lines_](std::byte* p) {
              finish(*lines);
#ifdef BG_POISON
              __asan_unpoison_memory_region(p, static_cast<std::size_t>(bytes + guard_zone));
#endif
              for (std::int64_t i = 0; i < guard_zone; ++i) {
                if (p[bytes + i] != std::byte{0xff}) {
                  fmt::print(stderr, "a kernel wrote {} bytes behind {} bytes of memory\n", i + 1,
                             bytes);
                  std::abort();
                }
              }
              ::operator delete(p, alignment);
            }};
  }

  void launch(const CudaCall& call) override {
    const std::lock_guard lock(one_at_a_time());
    if (is_recording_) {
      recorded_.push_back({call, std::move(next_after_)});
      next_after_ = {recorded_.size() - 1};
      return;
    }
    if (lines_->are_idle()) return run(call);
    lines_->give(CudaLine::work, [this, call] { run(call); });
  }

  void copy_in(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    const std::lock_guard lock(one_at_a_time());
    give_copy(CudaLine::work, to, from, bytes);
  }
  void copy_within(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    const std::lock_guard lock(one_at_a_time());
    lines_->give(CudaLine::work, [=] { std::memcpy(to, from, static_cast<std::size_t>(bytes)); });
  }
  void copy_out(std::byte* to, const std::byte* from, std::int64_t bytes) override {
    wait();
    std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }
  void wait() override {
    const std::lock_guard lock(one_at_a_time());
    lines_->finish(CudaLine::work, lines_->given(CudaLine::work));
  }

  std::unique_ptr<CudaMark> mark() override { return std::make_unique<HostMark>(lines_); }
  void copy_ahead(std::byte* to, std::span<const CudaPart> parts) override {
    const std::lock_guard lock(one_at_a_time());
    for (const CudaPart& part : parts)
      give_copy(CudaLine::ahead, to + part.at, part.from, part.bytes);
  }

  std::unique_ptr<CudaSequence> record(const std::function<void()>& calls) override {
    const std::lock_guard lock(one_at_a_time());
    recorded_.clear();
    next_after_.clear();
    is_recording_ = true;
    calls();
    is_recording_ = false;
    return std::make_unique<HostSequence>(*this, std::move(recorded_), seed_);
  }
  std::int32_t recorded_point() override { return static_cast<std::int32_t>(recorded_.size()) - 1; }
  void begin_after(std::span<const std::int32_t> points) override {
    next_after_.assign(points.begin(), points.end());
  }

 private:
  void run(const CudaCall& call) {
    if (call.blocks == 0) return;
    if (call.library) return call.library->enqueue(nullptr, call.args);
    // What all drivers of the least compute capability take (CUDA C++ Programming Guide).
    constexpr std::size_t most_parameters = 4096 / 8;
    check_internal(call.args.size() <= most_parameters, call.node, ": a kernel of ",
                   call.args.size(), " parameters, a GPU takes at most ", most_parameters);
    const int most_threads = kernels().most_threads(call.function);
    check_internal(call.threads <= most_threads, call.node, ": blocks of ", call.threads,
                   " threads, the text of their kernel is for at most ", most_threads);
    ++mutable_counts().launches;
    mutable_counts().threads += call.blocks * call.threads;
    HostCall host{call.blocks,      call.threads,     call.shared_bytes, seed_++,
                  call.args.data(), call.args.size(), &fibers()};
    reinterpret_cast<void (*)(HostCall&)>(const_cast<void*>(call.function))(host);
    if (!host.fault.empty()) fail_internal({call.node, ": ", host.fault});
  }

  void give_copy(CudaLine line, std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (bytes == 0) return;  // of no elements, where an address may be null
    if (line == CudaLine::work && lines_->are_idle()) {
      std::memcpy(to, from, static_cast<std::size_t>(bytes));
      return;
    }
    lines_->give(line, [to, kept = std::vector<std::byte>(from, from + bytes)] {
      std::memcpy(to, kept.data(), kept.size());
    });
  }

  /// As cudaFree does, so what is still asked for has its memory.
  static void finish(HostLines& lines) noexcept {
    const std::lock_guard lock(one_at_a_time());
    try {
      lines.finish();
    } catch (const std::exception& error) {
      fmt::print(stderr, "while nobody waited: {}\n", error.what());
      std::abort();
    }
  }

  std::uint64_t seed_;
  std::shared_ptr<HostLines> lines_;
  std::optional<CudaSorts> sorts_;
  bool is_recording_ = false;
  std::vector<RecordedCall> recorded_;
  std::vector<std::size_t> next_after_;  // of the next recorded call
};

}  // namespace

HostCounts host_counts() { return mutable_counts(); }

std::vector<CudaText> host_texts() { return kernels().texts(); }

std::shared_ptr<CudaRuntime> host_runtime(const HostOptions& options) {
  return std::make_shared<HostRuntime>(options);
}

Device host_device(const HostOptions& options) {
  return make_device("cuda on the CPU", cuda_backend(host_runtime(options)));
}

void compile_together(const std::function<void()>& make) {
  kernels().begin_collecting();
  try {
    make();
  } catch (...) {
    kernels().end_collecting();
    throw;
  }
  kernels().end_collecting();
}

std::string why_no_host_device() { return BG_WHY_NO_HOST_DEVICE; }

}  // namespace blockgrad::harness
