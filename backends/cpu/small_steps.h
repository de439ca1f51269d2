#pragma once
// Steps of small programs on floats, one source for every instruction set. Each jumps to the next
// one and hands it what it has made in registers.

#include <utility>

#include "backends/cpu/simd.h"
#include "backends/cpu/small_table.h"

namespace blockgrad::detail {
namespace {

#if defined(__AVX512F__)
using SmallF32 = Avx512F32;
using SmallF64 = Avx512F64;
using SmallCarried = std::make_index_sequence<1>;
#elif defined(__AVX2__) && defined(__FMA__)
using SmallF32 = Avx2F32;
using SmallF64 = Avx2F64;
using SmallCarried = std::make_index_sequence<2>;
#else
using SmallF32 = Portable<float>;
using SmallF64 = Portable<double>;
using SmallCarried = std::index_sequence<>;
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

/// A step's code takes the registers that the step before has made and jumps to the next one, so
/// that nothing but the operands is looked up. `carried` numbers these registers; where there are
/// none a step finds what was made in memory, as everything is stored too.
template <class V, class Numbers = SmallCarried>
class SmallSteps;

template <class V, std::size_t... carried>
class SmallSteps<V, std::index_sequence<carried...>> {
 public:
  using T = typename V::Scalar;
  using Reg = typename V::Reg;
  using Value = SmallValue<V>;

  static SmallCode code_of(const SmallCall& call) {
    const int number =
        (static_cast<int>(call.from_c) * froms + static_cast<int>(call.from_b)) * froms +
        static_cast<int>(call.from_a);
    return find(static_cast<int>(call.op) * combinations + number,
                std::make_index_sequence<std::size_t{small_ops * combinations}>());
  }

  static void run(const SmallCall* first, std::int64_t times) {
    for (; times > 0; --times) go_on(first, Value{});
    leave_vectors();
  }

 private:
  template <std::size_t>
  using Carried = SmallF32::Reg;  // whatever the elements
  using Code = void (*)(const SmallCall*, Carried<carried>...);
  static constexpr int froms = 3, combinations = froms * froms * froms;
  static constexpr bool carries = sizeof...(carried) > 0;

  static constexpr int operands_of(SmallOp op) {
    switch (op) {
      case SmallOp::function:
      case SmallOp::end: return 0;
      case SmallOp::add:
      case SmallOp::subtract:
      case SmallOp::multiply:
      case SmallOp::divide:
      case SmallOp::product: return 2;
      case SmallOp::fma: return 3;
      case SmallOp::negative:
      case SmallOp::load:
      case SmallOp::spread:
      case SmallOp::gather:
      case SmallOp::sum:
      case SmallOp::store: return 1;
    }
    return 0;
  }

  /// Where combination i finds operand number `operand` of its op.
  static constexpr SmallFrom from(std::size_t i, int operand) {
    const auto op = static_cast<SmallOp>(i / combinations);
    if (operand >= operands_of(op)) return SmallFrom::memory;
    for (int o = 0; o < operand; ++o) i /= froms;
    const auto from = static_cast<SmallFrom>(i % froms);
    return from == SmallFrom::last && !carries ? SmallFrom::memory : from;
  }

  template <std::size_t... i>
  static SmallCode find(int number, std::index_sequence<i...>) {
    static constexpr Code codes[] = {
        &step<static_cast<SmallOp>(i / combinations), from(i, 0), from(i, 1), from(i, 2)>...};
    return reinterpret_cast<SmallCode>(codes[number]);
  }

  /// Compilers do not where registers are arguments, and older code is slow while their upper
  /// halves are in use.
  static void leave_vectors() {
#if defined(__AVX2__)
    _mm256_zeroupper();
#endif
  }

  static inline __attribute__((always_inline)) void go_on(const SmallCall* s, const Value& last) {
    reinterpret_cast<Code>(s->code)(s, reinterpret_cast<Carried<carried>>(last.r[carried])...);
  }

  template <SmallOp op, SmallFrom a, SmallFrom b, SmallFrom c>
  static void step(const SmallCall* s, Carried<carried>... registers) {
    const Value last{{reinterpret_cast<Reg>(registers)...}};
    if constexpr (op == SmallOp::end) {
      return;
    } else if constexpr (op == SmallOp::function) {
      leave_vectors();
      s->run(s->out, s->a, s->b, s->c, s->n);
      go_on(s + 1, Value{});
    } else if constexpr (op == SmallOp::store) {
      Value value = last;
      if constexpr (a != SmallFrom::last) value.load(at(s->a), s->n);
      value.store(static_cast<T*>(s->out), s->n);
      go_on(s + 1, last);
    } else {
      const Value made = result<op, a, b, c>(last, *s);
      made.store(static_cast<T*>(s->out));
      go_on(s + 1, made);
    }
  }

  template <SmallOp op, SmallFrom a, SmallFrom b, SmallFrom c>
  static inline __attribute__((always_inline)) Value result(const Value& last, const SmallCall& s) {
    if constexpr (op == SmallOp::load) {
      Value x = last;
      if constexpr (a != SmallFrom::last) x.load(at(s.a), s.n);
      return x;
    } else if constexpr (op == SmallOp::spread) {
      return spread<a>(last, s);
    } else if constexpr (op == SmallOp::gather) {
      return gather<a>(last, s);
    } else if constexpr (op == SmallOp::product) {
      return product<a, b>(last, s);
    } else if constexpr (op == SmallOp::sum) {
      return sum<a>(last, s);
    } else {
      const Value x = operand<a>(last, s.a);
      if constexpr (op == SmallOp::negative)
        return each([](Reg p, Reg, Reg) { return -p; }, x, x, x);
      const Value y = operand<b>(last, s.b);
      if constexpr (op == SmallOp::add)
        return each([](Reg p, Reg q, Reg) { return p + q; }, x, y, y);
      if constexpr (op == SmallOp::subtract)
        return each([](Reg p, Reg q, Reg) { return p - q; }, x, y, y);
      if constexpr (op == SmallOp::multiply)
        return each([](Reg p, Reg q, Reg) { return p * q; }, x, y, y);
      if constexpr (op == SmallOp::divide)
        return each([](Reg p, Reg q, Reg) { return p / q; }, x, y, y);
      const Value z = operand<c>(last, s.c);
      return each([](Reg p, Reg q, Reg r) { return V::fma(p, q, r); }, x, y, z);
    }
  }

  template <class F>
  static inline __attribute__((always_inline)) Value each(F f, const Value& x, const Value& y,
                                                          const Value& z) {
    Value made;
#pragma GCC unroll 16
    for (int v = 0; v < Value::count; ++v) made.r[v] = f(x.r[v], y.r[v], z.r[v]);
    return made;
  }

  static const T* at(const void* p) { return static_cast<const T*>(p); }
  template <SmallFrom from>
  static inline __attribute__((always_inline)) Value operand(const Value& last,
                                                             const void* memory) {
    Value x = last;
    if constexpr (from == SmallFrom::memory) x.load(at(memory));
    if constexpr (from == SmallFrom::spread) x.spread(at(memory));
    return x;
  }

#if defined(__AVX512F__)

  /// An operand of which n elements can be read.
  template <SmallFrom from>
  static Reg first(const Value& last, const void* memory, std::int64_t n) {
    if constexpr (from == SmallFrom::last) return last.r[0];
    if (n >= V::lanes) return V::load(at(memory));
    return V::load(at(memory), V::first(static_cast<int>(n)));
  }

  template <SmallFrom a>
  static Value spread(const Value& last, const SmallCall& s) {
    if constexpr (a == SmallFrom::last) return {{ small_first(last.r[0]) }};
    return {{ V::broadcast(at(s.a)) }};
  }

  template <SmallFrom a>
  static Value gather(const Value& last, const SmallCall& s) {
    const auto pick = small_pick(*static_cast<const SmallLanes*>(s.c), at(s.a));
    return {{ pick.of(first<a>(last, s.a, s.n)) }};
  }

  template <SmallFrom a, SmallFrom b>
  static Value product(const Value& last, const SmallCall& s) {
    const SmallProduct& p = *static_cast<const SmallProduct*>(s.c);
    const Reg x = first<a>(last, s.a, p.a_size);
    auto from_x = small_pick(p.a, at(s.a));
    Reg sum = V::zero();
    if (b != SmallFrom::last && p.b_is_shared) {
      const T* y = at(s.b) + p.b.at[0];
      for (std::int32_t k = 0; k < p.k; ++k, y += p.b_step) {
        sum = V::fma(from_x.of(x), V::broadcast(y), sum);
        from_x.step(p.a_step);
      }
    } else {
      const Reg y = first<b>(last, s.b, p.b_size);
      auto from_y = small_pick(p.b, at(s.b));
      for (std::int32_t k = 0; k < p.k; ++k) {
        sum = V::fma(from_x.of(x), from_y.of(y), sum);
        from_x.step(p.a_step);
        from_y.step(p.b_step);
      }
    }
    return {{ sum }};
  }

  template <SmallFrom a>
  static Value sum(const Value& last, const SmallCall& s) {
    return {{ small_sum(operand<a>(last, s.a).r[0], s.n) }};
  }

#else  // from memory, where what the step before has made is too

  template <SmallFrom>
  static Value spread(const Value&, const SmallCall& s) {
    Value x;
    x.spread(at(s.a));
    return x;
  }

  template <SmallFrom>
  static Value gather(const Value&, const SmallCall& s) {
    const std::int32_t* const lanes = static_cast<const SmallLanes*>(s.c)->at;
    const T* const x = at(s.a);
    alignas(64) T picked[Value::lanes];
    for (int i = 0; i < Value::lanes; ++i) picked[i] = x[lanes[i]];
    return value_at(picked);
  }

  template <SmallFrom, SmallFrom>
  static Value product(const Value&, const SmallCall& s) {
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
    return value_at(sums);
  }

  template <SmallFrom>
  static Value sum(const Value&, const SmallCall& s) {
    const T* const x = at(s.a);
    alignas(64) T sums[Value::lanes];
    for (int i = 0; i < Value::lanes; ++i) sums[i] = -T(0);
    for (int i = 0; i < s.n; ++i) sums[i] = x[i];
#pragma GCC unroll 4
    for (int half = Value::lanes / 2; half > 0; half /= 2) {
#pragma GCC unroll 8
      for (int i = 0; i < half; ++i) sums[i] = sums[i] + sums[i + half];
    }
    return value_at(sums);
  }

  static Value value_at(const T* p) {
    Value x;
    x.load(p);
    return x;
  }

#endif
};

inline SmallCode small_code(const SmallCall& call) {
  return call.size == 8 ? SmallSteps<SmallF64>::code_of(call) : SmallSteps<SmallF32>::code_of(call);
}

}  // namespace
}  // namespace blockgrad::detail
