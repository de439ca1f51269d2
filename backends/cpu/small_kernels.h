#pragma once
// The functions of small_table.h, one source for every instruction set: the including unit's flags
// decide. A unit defines one constant, the table made by small_kernels(); everything else has
// internal linkage and nothing of std is called.

#include "backends/cpu/scalar_rows.h"
#include "backends/cpu/small_steps.h"

#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"
#define BG_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define BG_LANES _Pragma("GCC ivdep")
#endif

namespace blockgrad::detail {
namespace {

using std::int64_t;

/// Bytes of 0 and 1, which compilers do not trust bool to be.
using Truth = unsigned char;

/// Elements of every type among these that fit a place.
template <class... T>
constexpr int lanes_of() {
  int most = 64;
  ((most = 64 / int{sizeof(T)} < most ? 64 / int{sizeof(T)} : most), ...);
  return most < 16 ? most : 16;
}

template <class F, class T, class R, int operands>
void small_map(void* out, const void* a, const void* b, const void*, int64_t) {
  const T* x = static_cast<const T*>(a);
  const T* z = static_cast<const T*>(operands > 1 ? b : a);
  R* y = static_cast<R*>(out);
  constexpr int lanes = lanes_of<T, R>();
  BG_LANES
  for (int i = 0; i < lanes; ++i) y[i] = static_cast<R>(F::of(x[i], z[i]));
}

template <class To, class From>
void small_cast(void* out, const void* a, const void*, const void*, int64_t) {
  const From* x = static_cast<const From*>(a);
  To* y = static_cast<To*>(out);
  constexpr int lanes = lanes_of<To, From>();
  BG_LANES
  for (int i = 0; i < lanes; ++i) y[i] = math::cast<To>(x[i]);
}

template <class T>
void small_where(void* out, const void* a, const void* b, const void* c, int64_t) {
  const Truth* condition = static_cast<const Truth*>(a);
  const T* x = static_cast<const T*>(b);
  const T* z = static_cast<const T*>(c);
  T* y = static_cast<T*>(out);
  constexpr int lanes = lanes_of<T>();
  BG_LANES
  for (int i = 0; i < lanes; ++i) {
    const T yes = x[i], no = z[i];
    y[i] = condition[i] != 0 ? yes : no;
  }
}

template <class T>
void small_spread(void* out, const void* a, const void*, const void*, int64_t) {
  const T value = *static_cast<const T*>(a);
  T* y = static_cast<T*>(out);
  for (int i = 0; i < lanes_of<T>(); ++i) y[i] = value;
}

template <class V, bool by_scalars>
void small_chain(void* out, const void* a, const void* b, const void*, int64_t n) {
  using T = typename V::Scalar;
  constexpr int lanes = lanes_of<T>();
  constexpr int count = lanes / V::lanes;
  const T* x = static_cast<const T*>(a);
  const T* z = static_cast<const T*>(b);
  T* y = static_cast<T*>(out);
  typename V::Reg sums[count];
#pragma GCC unroll 16
  for (int v = 0; v < count; ++v) sums[v] = V::zero();
  for (int64_t k = 0; k < n; ++k) {
#pragma GCC unroll 16
    for (int v = 0; v < count; ++v) {
      const auto factor = by_scalars ? V::broadcast(z + k) : V::load(z + k * lanes + v * V::lanes);
      sums[v] = V::fma(V::load(x + k * lanes + v * V::lanes), factor, sums[v]);
    }
  }
#pragma GCC unroll 16
  for (int v = 0; v < count; ++v) V::store(y + v * V::lanes, sums[v]);
}

template <bool of_all>
void small_truth(void* out, const void* a, const void*, const void*, int64_t n) {
  const Truth* x = static_cast<const Truth*>(a);
  Truth result = of_all;
  for (int i = 0; i < 16; ++i) {
    const Truth other = i < n ? x[i] : Truth(of_all);
    result = of_all ? result & other : result | other;
  }
  *static_cast<Truth*>(out) = result;
}

template <class T, class R, class F>
constexpr TapeFn one() {
  return small_map<F, T, R, 1>;
}
template <class T, class R, class F>
constexpr TapeFn two() {
  return small_map<F, T, R, 2>;
}

template <class T>
constexpr void add_small(SmallTable& table) {
  constexpr int d = static_cast<int>(dtype_of<T>());
  const auto set = [&](ScalarOp op, TapeFn f) { table.maps[static_cast<int>(op)][d] = f; };
  set(ScalarOp::equal, two<T, Truth, row::equal>());
  set(ScalarOp::less, two<T, Truth, row::less>());
  set(ScalarOp::less_equal, two<T, Truth, row::less_equal>());
  set(ScalarOp::greater, two<T, Truth, row::greater>());
  set(ScalarOp::greater_equal, two<T, Truth, row::greater_equal>());
  table.wheres[d] = small_where<T>;
  if constexpr (math::Kind<T>::is_floating) {
    set(ScalarOp::abs, one<T, T, row::abs>());
    set(ScalarOp::reciprocal, one<T, T, row::reciprocal>());
    set(ScalarOp::sqrt, one<T, T, row::sqrt>());
    set(ScalarOp::relu, one<T, T, row::relu>());
    set(ScalarOp::flush_subnormal, one<T, T, row::flush_subnormal>());
    set(ScalarOp::isfinite, one<T, Truth, row::isfinite>());
    set(ScalarOp::maximum, two<T, T, row::maximum>());
    set(ScalarOp::minimum, two<T, T, row::minimum>());
  } else {
    set(ScalarOp::negative, one<T, T, row::negative>());
    set(ScalarOp::square, one<T, T, row::square>());
    set(ScalarOp::add, two<T, T, row::add>());
    set(ScalarOp::subtract, two<T, T, row::subtract>());
    set(ScalarOp::multiply, two<T, T, row::multiply>());
  }
  TapeFn* casts = table.casts[d];
  casts[static_cast<int>(DType::f32)] = small_cast<T, float>;
  casts[static_cast<int>(DType::f64)] = small_cast<T, double>;
  casts[static_cast<int>(DType::i32)] = small_cast<T, std::int32_t>;
  casts[static_cast<int>(DType::i64)] = small_cast<T, std::int64_t>;
  casts[static_cast<int>(DType::boolean)] = small_cast<T, Truth>;
}

constexpr SmallTable small_kernels() {
  SmallTable table;
  add_small<float>(table);
  add_small<double>(table);
  add_small<std::int32_t>(table);
  add_small<std::int64_t>(table);
  constexpr int f32 = static_cast<int>(DType::f32), f64 = static_cast<int>(DType::f64);
  constexpr int boolean = static_cast<int>(DType::boolean);
  table.chain_scalars[f32] = small_chain<SmallF32, true>;
  table.chain_scalars[f64] = small_chain<SmallF64, true>;
  table.chain[f32] = small_chain<SmallF32, false>;
  table.chain[f64] = small_chain<SmallF64, false>;
  table.find_code = small_code;
  table.run = SmallSteps<SmallF32>::run;
  table.maps[static_cast<int>(ScalarOp::logical_and)][boolean] =
      two<Truth, Truth, row::logical_and>();
  table.maps[static_cast<int>(ScalarOp::logical_or)][boolean] =
      two<Truth, Truth, row::logical_or>();
  table.wheres[boolean] = small_where<Truth>;
  table.spread[1] = small_spread<std::uint8_t>;
  table.spread[2] = small_spread<std::uint16_t>;
  table.all = small_truth<true>;
  table.any = small_truth<false>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
