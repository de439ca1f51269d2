#pragma once
// The functions of the tape that take long, one source for every instruction set. They look at all
// arguments before they choose a form, and fetch what comes next between blocks of elements.
// Everything has internal linkage.

#include "backends/cpu/reduce_kernels.h"
#include "backends/cpu/scalar_rows.h"
#include "backends/cpu/tape.h"

namespace blockgrad::detail {
namespace {

// Functions whose edges cost as much as all the rest: where no argument of the array is beyond
// `limit`, in the order of `key`, the form without edges gives the same bits.
template <class T>
using bits_of = typename math::Format<T>::Bits;
struct BySize {
  template <class T>
  static inline __attribute__((always_inline)) bits_of<T> key(T a) {
    return math::bits(math::with_sign(a, T(1)));
  }
};
struct ExpRange : BySize {
  template <class T>
  static bits_of<T> limit() {
    return math::bits(math::exp_limit<T>());
  }
};
struct ExpNear : ExpRange {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::exp_near(a);
  }
};
struct Expm1Near : ExpRange {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::expm1_near(a);
  }
};
struct SigmoidNear : ExpRange {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::sigmoid_near(a);
  }
};
struct SoftplusNear : ExpRange {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::softplus_near(a);
  }
};
struct TanhNear : BySize {
  template <class T>
  static bits_of<T> limit() {
    return math::bits(T(43));
  }
  static inline __attribute__((always_inline)) float of(float a, float) {
    return math::tanh_near(a);
  }
};
struct NormalNear : BySize {
  template <class T>
  static bits_of<T> limit() {
    return math::bits(T(12));
  }
  static inline __attribute__((always_inline)) float of(float a, float) {
    return math::normal_cdf_near(a);
  }
};
struct GeluValueNear : NormalNear {
  static inline __attribute__((always_inline)) float of(float a, float) {
    return math::gelu_pair_near(a).value;
  }
};
struct GeluSlopeNear : NormalNear {
  static inline __attribute__((always_inline)) float of(float a, float) {
    return math::gelu_pair_near(a).slope;
  }
};
/// Normal numbers above 0.
struct LogNear {
  template <class T>
  static inline __attribute__((always_inline)) bits_of<T> key(T a) {
    return math::bits(a) - math::bits(math::Format<T>::least_normal);
  }
  template <class T>
  static bits_of<T> limit() {
    return key(math::infinity<T>()) - 1;
  }
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::log_near(a);
  }
};
struct Log1pNear {
  template <class T>
  static inline __attribute__((always_inline)) bits_of<T> key(T a) {
    return LogNear::key(T(1) + a);
  }
  template <class T>
  static bits_of<T> limit() {
    return LogNear::key(T(1) / math::Format<T>::least_normal) - 1;
  }
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::log1p_near(a);
  }
};

static inline void bring(TapeFetch& fetch) {
  for (int s = 0; s < fetch.streams; ++s) {
    const std::byte* const at = fetch.at[s];
    const int64_t bytes = fetch.bytes[s];
    if (s < fetch.reads)
      for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(at + b, 0);
    else
      for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(at + b, 1);
    fetch.at[s] = at + bytes;
  }
}

/// f(i) for i < n, with what is fetched spread over the blocks.
template <class F>
static inline __attribute__((always_inline)) void by_blocks(int64_t n, TapeFetch& fetch, F f) {
  int64_t begin = 0;
  for (; fetch.streams > 0 && begin + TapeFetch::block <= n; begin += TapeFetch::block) {
    bring(fetch);
    BG_INDEPENDENT
    for (int64_t i = begin; i < begin + TapeFetch::block; ++i) f(i);
  }
  BG_INDEPENDENT
  for (int64_t i = begin; i < n; ++i) f(i);
}

template <class Near, class T>
bool all_near(const T* x, int64_t n) {
  bits_of<T> most = 0;
  for (int64_t i = 0; i < n; ++i) {
    const bits_of<T> key = Near::key(x[i]);
    most = key > most ? key : most;
  }
  return most <= Near::template limit<T>();
}

template <class Row, class Near, class T>
void function_near(void* out, void*, const void* a, int64_t n, TapeFetch& fetch) {
  const T* const x = static_cast<const T*>(a);
  T* const y = static_cast<T*>(out);
  if (all_near<Near>(x, n))
    by_blocks(n, fetch,
              [&](int64_t i) __attribute__((always_inline)) { y[i] = Near::of(x[i], x[i]); });
  else
    by_blocks(n, fetch,
              [&](int64_t i) __attribute__((always_inline)) { y[i] = Row::of(x[i], x[i]); });
}
template <class Row, class T>
void function_anywhere(void* out, void*, const void* a, int64_t n, TapeFetch& fetch) {
  const T* const x = static_cast<const T*>(a);
  T* const y = static_cast<T*>(out);
  by_blocks(n, fetch,
            [&](int64_t i) __attribute__((always_inline)) { y[i] = Row::of(x[i], x[i]); });
}
template <TapeFunction function>
void map_function(void* out, const void* a, const void*, const void*, int64_t n) {
  TapeFetch none;
  function(out, nullptr, a, n, none);
}

void gelu_pair(void* out, void* also, const void* a, int64_t n, TapeFetch& fetch) {
  const float* const x = static_cast<const float*>(a);
  float *const value = static_cast<float*>(out), *const slope = static_cast<float*>(also);
  if (all_near<NormalNear>(x, n)) {
    by_blocks(n, fetch, [&](int64_t i) __attribute__((always_inline)) {
      const math::GeluPair pair = math::gelu_pair_near(x[i]);
      value[i] = pair.value;
      slope[i] = pair.slope;
    });
  } else {
    by_blocks(n, fetch, [&](int64_t i) __attribute__((always_inline)) {
      const math::GeluPair pair = math::gelu_pair(x[i]);
      value[i] = pair.value;
      slope[i] = pair.slope;
    });
  }
}

template <TapeFunction function>
constexpr void add_function(TapeTable& table, ScalarOp op, int dtype) {
  table.functions[static_cast<int>(op)][dtype == static_cast<int>(DType::f64) ? 1 : 0] = function;
  table.maps[static_cast<int>(op)][dtype] = map_function<function>;
}

template <class T>
constexpr void add_functions(TapeTable& table) {
  constexpr int d = static_cast<int>(dtype_of<T>());
  add_function<function_near<row::exp, ExpNear, T>>(table, ScalarOp::exp, d);
  add_function<function_near<row::expm1, Expm1Near, T>>(table, ScalarOp::expm1, d);
  add_function<function_near<row::log, LogNear, T>>(table, ScalarOp::log, d);
  add_function<function_near<row::log1p, Log1pNear, T>>(table, ScalarOp::log1p, d);
  add_function<function_near<row::sigmoid, SigmoidNear, T>>(table, ScalarOp::sigmoid, d);
  add_function<function_near<row::softplus, SoftplusNear, T>>(table, ScalarOp::softplus, d);
  add_function<function_anywhere<row::erf, T>>(table, ScalarOp::erf, d);
  add_function<function_anywhere<row::normal_cdf_tanh, T>>(table, ScalarOp::normal_cdf_tanh, d);
  if constexpr (math::Same<T, float>::value) {
    add_function<function_near<row::tanh, TanhNear, T>>(table, ScalarOp::tanh, d);
    add_function<function_near<row::normal_cdf, NormalNear, T>>(table, ScalarOp::normal_cdf, d);
    add_function<function_near<row::gelu_value, GeluValueNear, T>>(table, ScalarOp::gelu_value, d);
    add_function<function_near<row::gelu_slope, GeluSlopeNear, T>>(table, ScalarOp::gelu_slope, d);
    table.gelu_pair = gelu_pair;
  } else {
    add_function<function_anywhere<row::tanh, T>>(table, ScalarOp::tanh, d);
    add_function<function_anywhere<row::normal_cdf, T>>(table, ScalarOp::normal_cdf, d);
  }
}

}  // namespace
}  // namespace blockgrad::detail
