#include "support/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

namespace bench {

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif
constexpr int chains = 12;  // enough to hide the latency, few enough for 16 registers
using Vector __attribute__((vector_size(lanes * sizeof(float)))) = float;

using Clock = std::chrono::steady_clock;

// Each chain begins and goes on with numbers of its own, else a compiler may keep one for all.
float fma_chains(int steps) {
  volatile float first = 1;
  Vector sum[chains], zero{};
  const Vector x = zero + first * 0.999f, y = zero + first * 0.001f;
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sum[i] = zero + (first + static_cast<float>(i));
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * x + y;  // contracted, see CMakeLists.txt
  }
  Vector total = sum[0];
#pragma GCC unroll 12
  for (int i = 1; i < chains; ++i) total += sum[i];
  float result = 0;
  for (int lane = 0; lane < lanes; ++lane) result += total[lane];
  return result;
}

// Seconds from the moment all threads are there until the last is done. They wait in a loop: to
// wake one would take as long as some measurements.
template <class Work>
double seconds_on(int threads, Work work) {
  std::atomic<int> here{0};
  std::atomic<bool> go{false};
  std::vector<std::jthread> others;
  for (int t = 1; t < threads; ++t) {
    others.emplace_back([&, t] {
      here.fetch_add(1);
      while (!go.load(std::memory_order_acquire)) {
      }
      work(t);
    });
  }
  while (here.load() < threads - 1) std::this_thread::yield();
  const auto start = Clock::now();
  go.store(true, std::memory_order_release);
  work(0);
  others.clear();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class Work>
double best_seconds_on(int threads, Work work) {
  double best = seconds_on(threads, work);
  for (int i = 0; i < 2; ++i) best = std::min(best, seconds_on(threads, work));
  return best;
}

struct alignas(64) Line {
  float values[16];
};

}  // namespace

double peak_flops(int threads) {
  constexpr int steps = 400000;
  std::vector<Line> results(static_cast<std::size_t>(threads));
  const double seconds = best_seconds_on(threads, [&](int t) {
    *static_cast<volatile float*>(results[static_cast<std::size_t>(t)].values) = fma_chains(steps);
  });
  return 2.0 * lanes * chains * steps * threads / seconds;
}

double triad_bytes(int threads, double bytes) {
  constexpr double least_moved = 64e6;  // some milliseconds
  const auto lines = static_cast<std::size_t>(bytes / 3 / sizeof(Line)) + 1;
  const auto times = static_cast<std::size_t>(least_moved / bytes) + 1;
  std::vector<Line> a(lines), b(lines), c(lines);
  const double seconds = best_seconds_on(threads, [&](int t) {
    const std::size_t part = static_cast<std::size_t>(t), parts = static_cast<std::size_t>(threads);
    const std::size_t first = lines * part / parts, last = lines * (part + 1) / parts;
    for (std::size_t i = 0; i < times; ++i) {
      for (std::size_t k = first; k < last; ++k) {
        for (int j = 0; j < 16; ++j) a[k].values[j] = b[k].values[j] + 0.5f * c[k].values[j];
      }
      std::atomic_signal_fence(std::memory_order_seq_cst);  // or one pass would do
    }
  });
  return 3.0 * static_cast<double>(sizeof(Line) * lines * times) / seconds;
}

Roof measure_roof(int threads, double bytes) {
  return {peak_flops(threads), triad_bytes(threads, bytes)};
}

}  // namespace bench
