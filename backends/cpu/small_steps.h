#pragma once
// Steps of small programs on floats, one source for every instruction set. A row of them runs in
// one function: what a step makes stays in registers for the next one, and is stored as well.

#include "backends/cpu/simd.h"
#include "backends/cpu/small_table.h"

namespace blockgrad::detail {
namespace {

#if defined(__AVX512F__)
using SmallF32 = Avx512F32;
using SmallF64 = Avx512F64;
#elif defined(__AVX2__) && defined(__FMA__)
using SmallF32 = Avx2F32;
using SmallF64 = Avx2F64;
#else
using SmallF32 = Portable<float>;
using SmallF64 = Portable<double>;
#endif

/// The registers of one place.
template <class V>
struct SmallValue {
  using T = typename V::Scalar;
  static constexpr int lanes = SmallTable::bytes / int{sizeof(T)};
  static constexpr int count = lanes / V::lanes;
  typename V::Reg r[count];

  void load(const T* p) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) r[v] = V::load(p + v * V::lanes);
  }
  /// The first n elements are there; other lanes become 0.
  void load(const T* p, std::int64_t n) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const std::int64_t rest = n - v * V::lanes;
      if (rest >= V::lanes) r[v] = V::load(p + v * V::lanes);
      else if (rest > 0) r[v] = V::load(p + v * V::lanes, V::first(static_cast<int>(rest)));
      else r[v] = V::zero();
    }
  }
  void spread(const T* p) {
    const typename V::Reg value = V::broadcast(p);
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) r[v] = value;
  }
  void store(T* p) const {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) V::store(p + v * V::lanes, r[v]);
  }
  void store(T* p, std::int64_t n) const {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const std::int64_t rest = n - v * V::lanes;
      if (rest >= V::lanes) V::store(p + v * V::lanes, r[v]);
      else if (rest > 0) V::store(p + v * V::lanes, r[v], V::first(static_cast<int>(rest)));
    }
  }
};

#if defined(__AVX512F__)

/// Numbers of lanes, and what they pick.
struct SmallPickF32 {
  __m512i at;
  explicit SmallPickF32(const SmallLanes& lanes) : at(_mm512_load_si512(lanes.at)) {}
  void step(std::int32_t by) { at = _mm512_add_epi32(at, _mm512_set1_epi32(by)); }
  __m512 of(__m512 x) const { return _mm512_permutexvar_ps(at, x); }
};
struct SmallPickF64 {
  __m512i at;
  explicit SmallPickF64(const SmallLanes& lanes)
      : at(_mm512_cvtepi32_epi64(_mm256_load_si256(reinterpret_cast<const __m256i*>(lanes.at)))) {}
  void step(std::int32_t by) { at = _mm512_add_epi64(at, _mm512_set1_epi64(by)); }
  __m512d of(__m512d x) const { return _mm512_permutexvar_pd(at, x); }
};
inline SmallPickF32 small_pick(const SmallLanes& lanes, const float*) {
  return SmallPickF32(lanes);
}
inline SmallPickF64 small_pick(const SmallLanes& lanes, const double*) {
  return SmallPickF64(lanes);
}

inline __m512 small_first(__m512 x) { return _mm512_broadcastss_ps(_mm512_castps512_ps128(x)); }
inline __m512d small_first(__m512d x) { return _mm512_broadcastsd_pd(_mm512_castpd512_pd128(x)); }

/// Missing lanes are -0, which changes no sum; so halves without elements can be left out.
inline __m512 small_sum(__m512 x, std::int64_t n) {
  const auto there = static_cast<__mmask16>((1U << n) - 1U);
  x = _mm512_mask_mov_ps(_mm512_set1_ps(-0.0F), there, x);
  __m256 half = _mm512_castps512_ps256(x);
  if (n > 8) half = half + _mm512_extractf32x8_ps(x, 1);
  __m128 quarter = _mm256_castps256_ps128(half);
  if (n > 4) quarter = quarter + _mm256_extractf128_ps(half, 1);
  if (n > 2) quarter = quarter + _mm_movehl_ps(quarter, quarter);
  if (n > 1) quarter = quarter + _mm_movehdup_ps(quarter);
  return _mm512_zextps128_ps512(quarter);
}
inline __m512d small_sum(__m512d x, std::int64_t n) {
  const auto there = static_cast<__mmask8>((1U << n) - 1U);
  x = _mm512_mask_mov_pd(_mm512_set1_pd(-0.0), there, x);
  __m256d half = _mm512_castpd512_pd256(x);
  if (n > 4) half = half + _mm512_extractf64x4_pd(x, 1);
  __m128d quarter = _mm256_castpd256_pd128(half);
  if (n > 2) quarter = quarter + _mm256_extractf128_pd(half, 1);
  if (n > 1) quarter = quarter + _mm_unpackhi_pd(quarter, quarter);
  return _mm512_zextpd128_pd512(quarter);
}

#endif

template <class V>
class SmallSteps {
 public:
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  using Value = SmallValue<V>;

  static void run(void*, const void*, const void*, const void* steps, std::int64_t n) {
    const SmallCall* s = static_cast<const SmallCall*>(steps);
    const SmallCall* const end = s + n;
    Value last{};
    for (; s != end; ++s) {
      switch (s->op) {
        case SmallOp::add: combine(last, *s, [](Reg x, Reg y) { return x + y; }); break;
        case SmallOp::subtract: combine(last, *s, [](Reg x, Reg y) { return x - y; }); break;
        case SmallOp::multiply: combine(last, *s, [](Reg x, Reg y) { return x * y; }); break;
        case SmallOp::divide: combine(last, *s, [](Reg x, Reg y) { return x / y; }); break;
        case SmallOp::fma: multiply_add(last, *s); break;
        case SmallOp::negative: negate(last, *s); break;
        case SmallOp::load:
          if (s->from_a != SmallFrom::last) last.load(at(s->a), s->n);
          break;
        case SmallOp::spread: spread(last, *s); break;
        case SmallOp::gather: gather(last, *s); break;
        case SmallOp::product: product(last, *s); break;
        case SmallOp::sum: sum(last, *s); break;
        case SmallOp::store:
          if (s->from_a == SmallFrom::last) {
            last.store(static_cast<T*>(s->out), s->n);
          } else {
            Value value;
            value.load(at(s->a), s->n);
            value.store(static_cast<T*>(s->out), s->n);
          }
          continue;
        case SmallOp::function: __builtin_unreachable();
      }
      last.store(static_cast<T*>(s->out));
    }
  }

 private:
  static const T* at(const void* p) { return static_cast<const T*>(p); }
  static inline __attribute__((always_inline)) Value operand(const Value& last, SmallFrom from,
                                                             const void* memory) {
    Value x = last;
    if (from == SmallFrom::last) return x;
    if (from == SmallFrom::memory) x.load(at(memory));
    else x.spread(at(memory));
    return x;
  }

  template <class F>
  static inline __attribute__((always_inline)) void combine(Value& last, const SmallCall& s, F f) {
    const Value x = operand(last, s.from_a, s.a), y = operand(last, s.from_b, s.b);
#pragma GCC unroll 16
    for (int v = 0; v < Value::count; ++v) last.r[v] = f(x.r[v], y.r[v]);
  }

  static void multiply_add(Value& last, const SmallCall& s) {
    const Value x = operand(last, s.from_a, s.a), y = operand(last, s.from_b, s.b);
    const Value z = operand(last, s.from_c, s.c);
#pragma GCC unroll 16
    for (int v = 0; v < Value::count; ++v) last.r[v] = V::fma(x.r[v], y.r[v], z.r[v]);
  }

  static void negate(Value& last, const SmallCall& s) {
    const Value x = operand(last, s.from_a, s.a);
#pragma GCC unroll 16
    for (int v = 0; v < Value::count; ++v) last.r[v] = -x.r[v];
  }

#if defined(__AVX512F__)

  /// An operand of which n elements can be read.
  static Reg first(const Value& last, SmallFrom from, const void* memory, std::int64_t n) {
    if (from == SmallFrom::last) return last.r[0];
    if (n >= V::lanes) return V::load(at(memory));
    return V::load(at(memory), V::first(static_cast<int>(n)));
  }

  static void spread(Value& last, const SmallCall& s) {
    last.r[0] = s.from_a == SmallFrom::last ? small_first(last.r[0]) : V::broadcast(at(s.a));
  }

  static void gather(Value& last, const SmallCall& s) {
    const auto pick = small_pick(*static_cast<const SmallLanes*>(s.c), at(s.a));
    last.r[0] = pick.of(first(last, s.from_a, s.a, s.n));
  }

  static void product(Value& last, const SmallCall& s) {
    const SmallProduct& p = *static_cast<const SmallProduct*>(s.c);
    const Reg x = first(last, s.from_a, s.a, p.a_size);
    auto from_x = small_pick(p.a, at(s.a));
    Reg sum = V::zero();
    if (p.b_is_shared) {
      const T* y = at(s.b) + p.b.at[0];
      for (std::int32_t k = 0; k < p.k; ++k, y += p.b_step) {
        sum = V::fma(from_x.of(x), V::broadcast(y), sum);
        from_x.step(p.a_step);
      }
    } else {
      const Reg y = first(last, s.from_b, s.b, p.b_size);
      auto from_y = small_pick(p.b, at(s.b));
      for (std::int32_t k = 0; k < p.k; ++k) {
        sum = V::fma(from_x.of(x), from_y.of(y), sum);
        from_x.step(p.a_step);
        from_y.step(p.b_step);
      }
    }
    last.r[0] = sum;
  }

  static void sum(Value& last, const SmallCall& s) {
    last.r[0] = small_sum(operand(last, s.from_a, s.a).r[0], s.n);
  }

#else  // from memory, where what the step before has made is too

  static void spread(Value& last, const SmallCall& s) { last.spread(at(s.a)); }

  static void gather(Value& last, const SmallCall& s) {
    const std::int32_t* const lanes = static_cast<const SmallLanes*>(s.c)->at;
    const T* const x = at(s.a);
    alignas(64) T picked[Value::lanes];
    for (int i = 0; i < Value::lanes; ++i) picked[i] = x[lanes[i]];
    last.load(picked);
  }

  static void product(Value& last, const SmallCall& s) {
    const SmallProduct& p = *static_cast<const SmallProduct*>(s.c);
    alignas(64) T sums[Value::lanes] = {};
    for (int i = 0; i < p.n; ++i) {
      const T* x = at(s.a) + p.a.at[i];
      const T* y = at(s.b) + p.b.at[i];
      T sum = 0;
      for (std::int32_t k = 0; k < p.k; ++k) {
        sum = Portable<T>::fma(x[k * p.a_step], y[k * p.b_step], sum);
      }
      sums[i] = sum;
    }
    last.load(sums);
  }

  static void sum(Value& last, const SmallCall& s) {
    const T* const x = at(s.a);
    alignas(64) T sums[Value::lanes];
    for (int i = 0; i < Value::lanes; ++i) sums[i] = -T(0);
    for (int i = 0; i < s.n; ++i) sums[i] = x[i];
#pragma GCC unroll 4
    for (int half = Value::lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) sums[i] = sums[i] + sums[i + half];
    }
    last.load(sums);
  }

#endif
};

}  // namespace
}  // namespace blockgrad::detail
