#pragma once
// Element types of tensors.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "blockgrad/graph/error.h"
#include "blockgrad/graph/half.h"

namespace blockgrad {

/// f32 is the working type, f64 serves statistics and gradient checks; bf16 and f16 are stored and
/// computed with as f32; i32, i64 and u8 index and count; boolean (one byte, 0 or 1) is what
/// comparisons give.
enum class DType : std::uint8_t { f32, f64, bf16, f16, i32, i64, u8, boolean };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::u8:
    case DType::boolean: return 1;
  }
  return 0;
}

constexpr std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::bf16: return "bf16";
    case DType::f16: return "f16";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
  }
  return "?";
}

/// bf16 and f16: stored in two bytes, computed with as f32.
constexpr bool is_half(DType dtype) { return dtype == DType::bf16 || dtype == DType::f16; }
constexpr bool is_floating(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || is_half(dtype);
}
/// The dtype that values of `dtype` are computed in.
constexpr DType working_dtype(DType dtype) { return is_half(dtype) ? DType::f32 : dtype; }
constexpr bool is_integer(DType dtype) {
  return dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8;
}

/// The DType of a C++ type: float, double, bf16, f16, std::int32_t, std::int64_t, std::uint8_t,
/// bool.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
  else if constexpr (std::is_same_v<T, bf16>) return DType::bf16;
  else if constexpr (std::is_same_v<T, f16>) return DType::f16;
  else if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
  else if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
  else if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
  else {
    static_assert(std::is_same_v<T, bool>, "no DType for this type");
    return DType::boolean;
  }
}

/// Calls f with a value of the C++ type of `dtype`: `visit(dtype, [&](auto zero) { using T =
/// decltype(zero); … })`.
template <class F>
decltype(auto) visit(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::bf16: return f(bf16{});
    case DType::f16: return f(f16{});
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::u8: return f(std::uint8_t{});
    case DType::boolean: return f(bool{});
  }
  fail_internal({"dtype out of range"});
}

}  // namespace blockgrad
