#include "support/native.h"

#include <chrono>
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

/// The sum of what every thread does per second, each timed by itself.
template <class Rate>
double on_all(int threads, Rate rate) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::vector<std::thread> others;
  for (int t = 1; t < threads; ++t)
    others.emplace_back([&, t] { rates[static_cast<std::size_t>(t)] = rate(t); });
  rates[0] = rate(0);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

}  // namespace

template <class T>
double peak_flops(int threads) {
  return on_all(threads, [](int) {
    return 2.0 * (vector_bytes / sizeof(T)) * chains * steps / chain_seconds<T>();
  });
}

double read_bytes_per_second(int threads) {
  using V = Vector<float>::Type;
  static const std::vector<float> memory(std::size_t{32} << 20, 1.0F);
  const auto all = static_cast<std::int64_t>(memory.size());
  return on_all(threads, [&](int thread) {
    constexpr std::int64_t lanes = vector_bytes / sizeof(float);
    const std::int64_t size = all / threads / (8 * lanes) * (8 * lanes);
    const float* const from = memory.data() + thread * size;
    V sum[8] = {};
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < size; i += 8 * lanes) {
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        V next;
        __builtin_memcpy(&next, from + i + j * lanes, sizeof next);
        sum[j] += next;
      }
    }
    volatile float sink = 0;
    for (const V& s : sum) sink = sink + s[0];
    return static_cast<double>(size) * sizeof(float) / seconds_since(begin);
  });
}

template double peak_flops<float>(int);
template double peak_flops<double>(int);

}  // namespace bench
