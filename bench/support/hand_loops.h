#pragma once
// What a programmer would write by hand for one chain of elementwise ops: a fused loop, compiled
// for this very processor. Also glibc's vector functions, and the processor's clock.

#include <cstdint>

namespace bench {

/// out and in: arrays of n elements, or shorter ones where the loop says so.
using HandLoop = void (*)(float* const* out, const float* const* in, std::int64_t n);

void triad(float* const* out, const float* const* in, std::int64_t n);          // a = b + 3 c
void add(float* const* out, const float* const* in, std::int64_t n);            // a + b
void relu(float* const* out, const float* const* in, std::int64_t n);           // max(a, 0)
void relu_backward(float* const* out, const float* const* in, std::int64_t n);  // a > 0 ? d : 0
void arithmetic(float* const* out, const float* const* in, std::int64_t n);     // eight operations
void sigmoid_backward(float* const* out, const float* const* in, std::int64_t n);  // d y (1 - y)
/// Rows of 10, 128 and 1000 columns: relu(a + bias), bias [columns].
void bias_relu_10(float* const* out, const float* const* in, std::int64_t n);
void bias_relu_128(float* const* out, const float* const* in, std::int64_t n);
void bias_relu_1000(float* const* out, const float* const* in, std::int64_t n);
/// Rows of 128: (a - mean) * scale * gain + bias, mean and scale [rows, 1], gain and bias [128].
void normalize_128(float* const* out, const float* const* in, std::int64_t n);
/// w - rate * g in place; out[0] = w, in[0] = g, rate = 0.01.
void sgd(float* const* out, const float* const* in, std::int64_t n);
/// v = 0.9 v + g, w - rate * v.
void momentum(float* const* out, const float* const* in, std::int64_t n);
/// m, s, w in place with the correction of a fixed step; in[0] = g.
void adam(float* const* out, const float* const* in, std::int64_t n);

/// The name's function of n elements by glibc's vector library (up to 4 ulp); null where this
/// processor or system has none.
using VectorFunction = void (*)(float* out, const float* in, std::int64_t n);
VectorFunction glibc_function(const char* name);

/// Cycles per second now, from a chain of dependent multiplications; takes about a millisecond.
double clock_rate();

}  // namespace bench
