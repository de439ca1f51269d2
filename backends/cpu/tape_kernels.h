#pragma once
// The tape's kernels, one source for every instruction set: the including unit's flags decide. A
// unit defines one constant, the table made by tape_kernels(). Everything else has internal
// linkage.

#include "backends/cpu/reduce_kernels.h"
#include "backends/cpu/scalar_rows.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/tape_functions.h"

namespace blockgrad::detail {
namespace {

enum class Types { F, FI };

template <class T>
constexpr bool allows(Types types) {
  if (math::Same<T, bool>::value) return false;
  return types == Types::FI || math::Kind<T>::is_floating;
}

template <class Row, class T, class R>
void map_one(void* out, const void* a, const void*, const void*, int64_t n) {
  const T* x = static_cast<const T*>(a);
  R* y = static_cast<R*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(Row::of(x[i], x[i]));
}

template <class Row, class T, class R>
void map_two(void* out, const void* a, const void* b, const void*, int64_t n) {
  const T* x = static_cast<const T*>(a);
  const T* z = static_cast<const T*>(b);
  R* y = static_cast<R*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<R>(Row::of(x[i], z[i]));
}

/// sin and cos: arguments that need the long reduction are rare, so one look decides for the whole
/// array.
template <class Row, class RowNear, class T>
void map_trig(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const T* x = static_cast<const T*>(a);
  typename math::Format<T>::Bits far = 0;
  for (int64_t i = 0; i < n; ++i) far |= math::is_far(x[i]) ? 1 : 0;
  if (far == 0) map_one<RowNear, T, T>(out, a, b, c, n);
  else map_one<Row, T, T>(out, a, b, c, n);
}
struct SinNear {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::sin_near(a);
  }
};
struct CosNear {
  template <class T>
  static inline __attribute__((always_inline)) T of(T a, T) {
    return math::cos_near(a);
  }
};

void map_not(void* out, const void* a, const void*, const void*, int64_t n) {
  const auto* x = static_cast<const unsigned char*>(a);
  auto* y = static_cast<unsigned char*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] ^ 1;
}

template <class T>
void map_where(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const unsigned char* condition = static_cast<const unsigned char*>(a);
  const T* x = static_cast<const T*>(b);
  const T* z = static_cast<const T*>(c);
  T* y = static_cast<T*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T yes = x[i], no = z[i];
    y[i] = condition[i] != 0 ? yes : no;
  }
}

template <class T>
void map_fma(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const T* x = static_cast<const T*>(a);
  const T* z = static_cast<const T*>(b);
  const T* w = static_cast<const T*>(c);
  T* y = static_cast<T*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = math::fma(x[i], z[i], w[i]);
}

template <class T>
void map_uniform_low(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const long* index = static_cast<const long*>(a);
  const long* counter = static_cast<const long*>(b);
  const long* key = static_cast<const long*>(c);
  T* y = static_cast<T*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = math::uniform_low<T>(index[i], counter[i], key[i]);
}
template <class T>
void map_uniform_high(void* out, const void* a, const void* b, const void* c, int64_t n) {
  const long* index = static_cast<const long*>(a);
  const long* counter = static_cast<const long*>(b);
  const long* key = static_cast<const long*>(c);
  T* y = static_cast<T*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = math::uniform_high<T>(index[i], counter[i], key[i]);
}

template <class To, class From>
void map_cast(void* out, const void* a, const void*, const void*, int64_t n) {
  const From* x = static_cast<const From*>(a);
  To* y = static_cast<To*>(out);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) y[i] = math::cast<To>(x[i]);
}

/// Doubled, bits lose their sign and order by size; from twice infinity on they are not finite.
template <class T>
double magnitude(const void* in, int64_t n) {
  using Format = math::Format<T>;
  using Bits = typename Format::Bits;
  const Bits* x = static_cast<const Bits*>(in);
  Bits largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Bits size = x[i] + x[i];
    largest = size > largest ? size : largest;
  }
  largest /= 2;
  return static_cast<double>(
      math::from_bits(largest > Format::infinity ? Format::infinity : largest));
}

template <class Half, unsigned short infinity>
double half_magnitude(const void* in, int64_t n) {
  const unsigned short* x = static_cast<const unsigned short*>(in);
  unsigned short largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const unsigned short size = x[i] & 0x7fff;
    largest = size > largest ? size : largest;
  }
  Half half;
  half.bits = largest > infinity ? infinity : largest;
  return static_cast<double>(static_cast<float>(half));
}

template <class T>
constexpr void add_maps(TapeTable& table) {
  constexpr bool is_bool = math::Same<T, bool>::value;
  constexpr int d = static_cast<int>(dtype_of<T>());
#define BG_UNARY(name, types, value, derivative) \
  if constexpr (allows<T>(Types::types))         \
    table.maps[static_cast<int>(ScalarOp::name)][d] = map_one<row::name, T, T>;
#define BG_BINARY(name, types, value, by_a, by_b) \
  if constexpr (allows<T>(Types::types))          \
    table.maps[static_cast<int>(ScalarOp::name)][d] = map_two<row::name, T, T>;
#define BG_PREDICATE(name, value)    \
  if constexpr (allows<T>(Types::F)) \
    table.maps[static_cast<int>(ScalarOp::name)][d] = map_one<row::name, T, bool>;
#define BG_COMPARE(name, value) \
  table.maps[static_cast<int>(ScalarOp::name)][d] = map_two<row::name, T, bool>;
#define BG_LOGICAL(name, value) \
  if constexpr (is_bool)        \
    table.maps[static_cast<int>(ScalarOp::name)][d] = map_two<row::name, T, bool>;
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  if constexpr (math::Kind<T>::is_floating) {
    table.maps[static_cast<int>(ScalarOp::sin)][d] = map_trig<row::sin, SinNear, T>;
    table.maps[static_cast<int>(ScalarOp::cos)][d] = map_trig<row::cos, CosNear, T>;
    add_functions<T>(table);
    table.maps[static_cast<int>(ScalarOp::fma)][d] = map_fma<T>;
    table.maps[static_cast<int>(ScalarOp::uniform_low)][d] = map_uniform_low<T>;
    table.maps[static_cast<int>(ScalarOp::uniform_high)][d] = map_uniform_high<T>;
    table.magnitudes[d] = magnitude<T>;
  }
}

template <class T>
constexpr void add_storage(TapeTable& table) {
  constexpr bool is_bool = math::Same<T, bool>::value;
  table.maps[static_cast<int>(ScalarOp::where)][static_cast<int>(dtype_of<T>())] = map_where<T>;
  TapeFn* casts = table.casts[static_cast<int>(dtype_of<T>())];
  casts[static_cast<int>(DType::f32)] = map_cast<T, float>;
  casts[static_cast<int>(DType::f64)] = map_cast<T, double>;
  casts[static_cast<int>(DType::bf16)] = map_cast<T, bf16>;
  casts[static_cast<int>(DType::f16)] = map_cast<T, f16>;
  casts[static_cast<int>(DType::i32)] = map_cast<T, std::int32_t>;
  casts[static_cast<int>(DType::i64)] = map_cast<T, std::int64_t>;
  casts[static_cast<int>(DType::u8)] = map_cast<T, std::uint8_t>;
  using Byte = unsigned char;
  casts[static_cast<int>(DType::boolean)] = is_bool ? map_cast<Byte, Byte> : map_cast<T, Byte>;
}

template <class T>
constexpr void add_reductions(TapeTable& table) {
  constexpr int d = static_cast<int>(dtype_of<T>());
  if constexpr (math::Kind<T>::is_floating) {
    table.rows[0][d] = float_rows<Sum, T>;
    table.rows[1][d] = float_rows<Extreme<true>, T>;
    table.rows[2][d] = float_rows<Extreme<false>, T>;
    table.columns[0][d] = float_columns<Sum, T>;
    table.columns[1][d] = float_columns<Extreme<true>, T>;
    table.columns[2][d] = float_columns<Extreme<false>, T>;
    table.begin_sums[d] = begin_sums<T>;
    table.end_sums[d] = end_sums<T>;
  } else {
    table.rows[0][d] = integer_rows<Sum, T, std::int64_t>;
    table.rows[1][d] = integer_rows<Extreme<true>, T, T>;
    table.rows[2][d] = integer_rows<Extreme<false>, T, T>;
    table.columns[0][d] = integer_columns<Sum, T, std::int64_t>;
    table.columns[1][d] = integer_columns<Extreme<true>, T, T>;
    table.columns[2][d] = integer_columns<Extreme<false>, T, T>;
  }
  if constexpr (!math::Same<T, bool>::value) {
    table.rows[3][d] = arg_rows<true, T>;
    table.rows[4][d] = arg_rows<false, T>;
    table.columns[3][d] = arg_columns<true, T>;
    table.columns[4][d] = arg_columns<false, T>;
  }
}

template <class... T>
constexpr TapeTable tape_of() {
  TapeTable table;
  (add_maps<T>(table), ...);
  (add_storage<T>(table), ...);
  add_storage<bf16>(table);
  add_storage<f16>(table);
  table.magnitudes[static_cast<int>(DType::bf16)] = half_magnitude<bf16, 0x7f80>;
  table.magnitudes[static_cast<int>(DType::f16)] = half_magnitude<f16, 0x7c00>;
  (add_reductions<T>(table), ...);
  table.maps[static_cast<int>(ScalarOp::logical_not)][static_cast<int>(DType::boolean)] = map_not;
  return table;
}
constexpr TapeTable tape_kernels() {
  return tape_of<float, double, std::int32_t, std::int64_t, std::uint8_t, bool>();
}

}  // namespace
}  // namespace blockgrad::detail
