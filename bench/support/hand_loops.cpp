#include "support/hand_loops.h"

#include <chrono>
#include <cmath>
#include <cstring>

#if defined(__AVX512F__) && defined(__GLIBC__) && defined(__x86_64__) && __GLIBC_PREREQ(2, 35)
#define BG_HAS_LIBMVEC 1
#include <immintrin.h>
#endif

namespace bench {

namespace {

using Out = float* const*;
using In = const float* const*;

template <std::int64_t columns>
void bias_relu(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict bias = in[1];
  for (std::int64_t row = 0; row < n; row += columns) {
    for (std::int64_t i = 0; i < columns; ++i) {
      const float x = a[row + i] + bias[i];
      y[row + i] = x <= 0 ? 0 : x;
    }
  }
}

}  // namespace

void triad(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict b = in[1];
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + 3.0f * b[i];
}
void add(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict b = in[1];
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] + b[i];
}
void relu(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] <= 0 ? 0 : a[i];
}
void relu_backward(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict d = in[1];
  for (std::int64_t i = 0; i < n; ++i) y[i] = a[i] > 0 ? d[i] : 0;
}
void arithmetic(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict b = in[1];
  for (std::int64_t i = 0; i < n; ++i) {
    const float u = a[i] * 0.5f + b[i], v = u * a[i] - 0.25f;
    y[i] = (v * v + u) * b[i] - v;
  }
}
void sigmoid_backward(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict s = in[0];
  const float* __restrict d = in[1];
  for (std::int64_t i = 0; i < n; ++i) y[i] = d[i] * (s[i] * (1.0f - s[i]));
}
void bias_relu_10(Out out, In in, std::int64_t n) { bias_relu<10>(out, in, n); }
void bias_relu_128(Out out, In in, std::int64_t n) { bias_relu<128>(out, in, n); }
void bias_relu_1000(Out out, In in, std::int64_t n) { bias_relu<1000>(out, in, n); }
void normalize_128(Out out, In in, std::int64_t n) {
  float* __restrict y = out[0];
  const float* __restrict a = in[0];
  const float* __restrict mean = in[1];
  const float* __restrict scale = in[2];
  const float* __restrict gain = in[3];
  const float* __restrict bias = in[4];
  for (std::int64_t row = 0; row < n / 128; ++row) {
    const float m = mean[row], s = scale[row];
    for (std::int64_t i = 0; i < 128; ++i)
      y[row * 128 + i] = (a[row * 128 + i] - m) * s * gain[i] + bias[i];
  }
}
void sgd(Out out, In in, std::int64_t n) {
  float* __restrict w = out[0];
  const float* __restrict g = in[0];
  for (std::int64_t i = 0; i < n; ++i) w[i] = w[i] - 0.01f * g[i];
}
void momentum(Out out, In in, std::int64_t n) {
  float* __restrict w = out[0];
  float* __restrict v = out[1];
  const float* __restrict g = in[0];
  for (std::int64_t i = 0; i < n; ++i) {
    v[i] = 0.9f * v[i] + g[i];
    w[i] = w[i] - 0.01f * v[i];
  }
}
void adam(Out out, In in, std::int64_t n) {
  float* __restrict w = out[0];
  float* __restrict m = out[1];
  float* __restrict s = out[2];
  const float* __restrict g = in[0];
  for (std::int64_t i = 0; i < n; ++i) {
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    s[i] = 0.999f * s[i] + 0.001f * (g[i] * g[i]);
    w[i] = w[i] - 0.001f * (m[i] / (std::sqrt(s[i]) / 0.5f + 1e-8f));
  }
}

#if BG_HAS_LIBMVEC
// Names of the C library.
// NOLINTBEGIN(readability-identifier-naming)
extern "C" {
__m512 _ZGVeN16v_expf(__m512);
__m512 _ZGVeN16v_expm1f(__m512);
__m512 _ZGVeN16v_logf(__m512);
__m512 _ZGVeN16v_log1pf(__m512);
__m512 _ZGVeN16v_sinf(__m512);
__m512 _ZGVeN16v_cosf(__m512);
__m512 _ZGVeN16v_tanhf(__m512);
__m512 _ZGVeN16v_erff(__m512);
}
// NOLINTEND(readability-identifier-naming)
namespace {
template <__m512 (*f)(__m512)>
void by_vectors(float* out, const float* in, std::int64_t n) {
  for (std::int64_t i = 0; i + 16 <= n; i += 16)
    _mm512_storeu_ps(out + i, f(_mm512_loadu_ps(in + i)));
}
}  // namespace
VectorFunction glibc_function(const char* name) {
  struct Row {
    const char* name;
    VectorFunction function;
  };
  const Row rows[] = {
      {"exp", by_vectors<_ZGVeN16v_expf>},   {"expm1", by_vectors<_ZGVeN16v_expm1f>},
      {"log", by_vectors<_ZGVeN16v_logf>},   {"log1p", by_vectors<_ZGVeN16v_log1pf>},
      {"sin", by_vectors<_ZGVeN16v_sinf>},   {"cos", by_vectors<_ZGVeN16v_cosf>},
      {"tanh", by_vectors<_ZGVeN16v_tanhf>}, {"erf", by_vectors<_ZGVeN16v_erff>}};
  for (const Row& row : rows) {
    if (std::strcmp(row.name, name) == 0) return row.function;
  }
  return nullptr;
}
#else
VectorFunction glibc_function(const char*) { return nullptr; }
#endif

double clock_rate() {
  volatile std::uint64_t start = 3;
  std::uint64_t x = start;
  const auto begin = std::chrono::steady_clock::now();
  constexpr int turns = 200000;
  for (int i = 0; i < turns; ++i) {
    x = x * x + 1;  // 3 cycles and 1
    x = x * x + 1;
    x = x * x + 1;
    x = x * x + 1;
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  start = x;
  return 16.0 * turns / seconds.count();
}

}  // namespace bench
