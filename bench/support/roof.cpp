#include "support/roof.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

namespace bench {

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
constexpr int chains = 12;  // enough to hide the latency, few enough for 16 registers

template <class T>
struct Vector {
  typedef T Type __attribute__((vector_size(vector_bytes)));
};
template <class T>
constexpr int lanes = vector_bytes / sizeof(T);

using Clock = std::chrono::steady_clock;

// Each chain begins and goes on with numbers of its own, else a compiler may keep one for all.
template <class T>
T fma_chains(int steps) {
  using V = typename Vector<T>::Type;
  volatile T first = 1;
  V sum[chains], zero{};
  const V x = zero + first * static_cast<T>(0.999), y = zero + first * static_cast<T>(0.001);
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sum[i] = zero + (first + static_cast<T>(i));
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * x + y;  // contracted, see CMakeLists.txt
  }
  V total = sum[0];
#pragma GCC unroll 12
  for (int i = 1; i < chains; ++i) total += sum[i];
  T result = 0;
  for (int lane = 0; lane < lanes<T>; ++lane) result += total[lane];
  return result;
}

// Reads `streams` pieces of `length` bytes side by side, four lines of each in turns, then the
// pieces behind them, as long as they fit. The sum is there so that all is read.
float read_in_streams(std::span<const std::byte> memory, std::size_t streams, std::size_t length) {
  using V = Vector<float>::Type;
  constexpr std::size_t turn = 256, vectors = turn / vector_bytes;
  V sum[vectors] = {};
  const std::size_t block = streams * length;
  for (std::size_t at = 0; at + block <= memory.size(); at += block) {
    for (std::size_t i = 0; i < length; i += turn) {
      for (std::size_t s = 0; s < streams; ++s) {
        const std::byte* const line = memory.data() + at + s * length + i;
#pragma GCC unroll 16
        for (std::size_t v = 0; v < vectors; ++v) {
          V next;
          std::memcpy(&next, line + v * vector_bytes, sizeof next);
          sum[v] += next;
        }
      }
    }
  }
  float result = 0;
  for (const V& s : sum) result += s[0];
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

template <class T>
double peak_flops(int threads) {
  constexpr int steps = 400000;
  std::vector<Line> results(static_cast<std::size_t>(threads));
  const double seconds = best_seconds_on(threads, [&](int t) {
    const T result = fma_chains<T>(steps);
    *static_cast<volatile float*>(results[static_cast<std::size_t>(t)].values) =
        static_cast<float>(result);
  });
  return 2.0 * lanes<T> * chains * steps * threads / seconds;
}

template double peak_flops<float>(int);
template double peak_flops<double>(int);

double read_bytes(int threads, std::span<const std::byte> memory) {
  constexpr std::size_t row = 16384, turn = 256;
  const std::size_t share = memory.size() / static_cast<std::size_t>(threads) / row * row;
  std::vector<Line> results(static_cast<std::size_t>(threads));
  const auto rate_of = [&](std::size_t streams, std::size_t length) {
    const double seconds = seconds_on(threads, [&](int t) {
      const std::size_t part = static_cast<std::size_t>(t);
      *static_cast<volatile float*>(results[part].values) =
          read_in_streams(memory.subspan(part * share, share), streams, length);
    });
    const std::size_t block = streams * length;
    return static_cast<double>(share / block * block) * threads / seconds;
  };
  const auto part = [&](std::size_t streams) { return share / streams / turn * turn; };
  return std::max({rate_of(1, share), rate_of(4, part(4)), rate_of(8, part(8)), rate_of(8, row)});
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
  return {peak_flops<float>(threads), triad_bytes(threads, bytes)};
}

}  // namespace bench
