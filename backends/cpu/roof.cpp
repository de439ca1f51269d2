#include "backends/cpu/roof.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "backends/cpu/gemm_kernels.h"
#include "backends/cpu/thread_pool.h"
#include "blockgrad/graph/tensor.h"

namespace blockgrad {

namespace {

using Work = ThreadPool::Work;

void on_all(Work work, void* context, int threads) {
  if (threads > 1 && ThreadPool::shared().run(work, context, threads)) return;
  for (int t = 0; t < threads; ++t) work(context, t);
}

// Seconds per repetition on all threads: the shortest of some runs, each long against the clock and
// the start of the threads.
template <class Run>
double best_seconds(Run run, int threads) {
  using Clock = std::chrono::steady_clock;
  const auto seconds = [&](std::int64_t repeats, int on) {
    const auto start = Clock::now();
    run(repeats, on);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  std::int64_t repeats = 1;
  while (seconds(repeats, 1) < 1e-3) repeats *= 2;
  double best = seconds(repeats, threads);
  for (int i = 0; i < 4; ++i) best = std::min(best, seconds(repeats, threads));
  return best / static_cast<double>(repeats);
}

template <class T>
double flops_per_second(const detail::TileKernels<T>& kernels, int threads) {
  struct Chains {
    T (*run)(std::int64_t);
    std::int64_t n;
    T results[ThreadPool::most_threads];
  } chains{kernels.fma_chains, 0, {}};
  const auto run = [&](std::int64_t repeats, int on) {
    chains.n = repeats;
    on_all(
        [](void* context, int thread) {
          auto& c = *static_cast<Chains*>(context);
          c.results[thread] = c.run(c.n);
        },
        &chains, on);
  };
  const double seconds = best_seconds(run, threads);
  return 2.0 * kernels.lanes * kernels.accumulators * threads / seconds;
}

double copied_bytes_per_second(std::int64_t bytes, int threads) {
  struct Copy {
    std::byte *to, *from;
    std::int64_t bytes, repeats;
    int threads;
  };
  const auto from = allocate_bytes(bytes), to = allocate_bytes(bytes);
  std::memset(from.get(), 1, static_cast<std::size_t>(bytes));
  std::memset(to.get(), 1, static_cast<std::size_t>(bytes));
  Copy copy{to.get(), from.get(), bytes, 0, threads};
  const auto run = [&](std::int64_t repeats, int on) {
    copy.repeats = repeats;
    copy.threads = on;
    on_all(
        [](void* context, int thread) {
          const Copy& c = *static_cast<const Copy*>(context);
          const std::int64_t first = c.bytes * thread / c.threads;
          const std::int64_t last = c.bytes * (thread + 1) / c.threads;
          for (std::int64_t i = 0; i < c.repeats; ++i)
            std::memcpy(c.to + first, c.from + first, static_cast<std::size_t>(last - first));
        },
        &copy, on);
  };
  const double seconds = best_seconds(run, threads);
  return 2.0 * static_cast<double>(bytes) / seconds;
}

}  // namespace

double Roof::seconds(const Cost& cost, DType dtype) const {
  double bandwidth = 0;
  for (const auto& [bytes, rate] : bytes_per_second) {
    if (bandwidth == 0 || bytes <= cost.bytes) bandwidth = rate;
  }
  const double flops = dtype == DType::f64 ? flops64 : flops32;
  return std::max(cost.bytes / bandwidth, cost.flops / flops);
}

Roof measure_roof(Isa isa, int threads) {
  Roof roof;
  roof.flops32 = flops_per_second(detail::gemm_kernels(isa).f32, threads);
  roof.flops64 = flops_per_second(detail::gemm_kernels(isa).f64, threads);
  for (const std::int64_t bytes : {std::int64_t{8} << 10, std::int64_t{128} << 10,
                                   std::int64_t{1} << 20, std::int64_t{32} << 20}) {
    roof.bytes_per_second.emplace_back(2.0 * static_cast<double>(bytes),
                                       copied_bytes_per_second(bytes, threads));
  }
  return roof;
}

}  // namespace blockgrad
