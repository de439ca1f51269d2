#include "support/native.h"

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

template <class T>
struct Vector {
  typedef T Type __attribute__((vector_size(vector_bytes)));
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

constexpr int chains = 12;
constexpr int steps = 40000;

template <class T>
double chain_seconds() {
  using V = typename Vector<T>::Type;
  // Different starts, else the compiler keeps one chain for all; read, so that it knows none.
  volatile T first = 1;
  V sum[chains];
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sum[i] = V{} + (first + static_cast<T>(i));
  const V x = V{} + first * static_cast<T>(0.999);
  const V y = V{} + first * static_cast<T>(0.001);
  const auto begin = std::chrono::steady_clock::now();
  for (int s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (int i = 0; i < chains; ++i) sum[i] = sum[i] * x + y;
  }
  const double seconds = seconds_since(begin);
  volatile T sink = 0;
#pragma GCC unroll 12
  for (int i = 0; i < chains; ++i) sink = sink + sum[i][0];
  return seconds;
}

/// The sum of what every thread does per second, each timed by itself from when all are there.
template <class Rate>
double on_all(int threads, Rate rate) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::atomic<int> missing{threads};
  const auto measure = [&](int t) {
    missing.fetch_sub(1);
    while (missing.load() > 0) {
    }
    rates[static_cast<std::size_t>(t)] = rate(t);
  };
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t) others.emplace_back(measure, t);
  measure(0);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

/// Reads `streams` pieces of `length` bytes side by side, four lines of each in turns, then the
/// pieces behind them, as long as they fit; bytes per second.
double read_in_streams(const std::byte* from, std::size_t bytes, int streams, std::size_t length) {
  using V = Vector<float>::Type;
  constexpr std::size_t turn = 256;
  constexpr std::size_t vectors = turn / vector_bytes;
  V sum[vectors] = {};
  const std::size_t block = static_cast<std::size_t>(streams) * length;
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t at = 0; at + block <= bytes; at += block) {
    for (std::size_t i = 0; i < length; i += turn) {
      for (int s = 0; s < streams; ++s) {
        const std::byte* const line = from + at + static_cast<std::size_t>(s) * length + i;
#pragma GCC unroll 16
        for (std::size_t v = 0; v < vectors; ++v) {
          V next;
          std::memcpy(&next, line + v * vector_bytes, sizeof next);
          sum[v] += next;
        }
      }
    }
  }
  const double seconds = seconds_since(begin);
  volatile float sink = 0;
  for (const V& s : sum) sink = sink + s[0];
  return static_cast<double>(bytes / block * block) / seconds;
}

}  // namespace

template <class T>
double peak_flops(int threads) {
  return on_all(threads, [](int) {
    return 2.0 * (vector_bytes / sizeof(T)) * chains * steps / chain_seconds<T>();
  });
}

double read_bytes_per_second(int threads, std::span<const std::byte> memory) {
  constexpr std::size_t row = 16384;
  const std::size_t share = memory.size() / static_cast<std::size_t>(threads) / row * row;
  const auto rate_of = [&](int streams, std::size_t length) {
    return on_all(threads, [&](int t) {
      const std::byte* const begin = memory.data() + static_cast<std::size_t>(t) * share;
      return read_in_streams(begin, share, streams, length);
    });
  };
  const auto part = [&](std::size_t streams) { return share / streams / 256 * 256; };
  return std::max({rate_of(1, share), rate_of(4, part(4)), rate_of(8, part(8)), rate_of(8, row)});
}

template double peak_flops<float>(int);
template double peak_flops<double>(int);

}  // namespace bench
