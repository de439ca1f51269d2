#pragma once
// Element types of tensors.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "blockgrad/graph/error.h"

namespace blockgrad {

/// f32 is the working type, f64 serves statistics and gradient checks; i32, i64 and u8 index and
/// count; boolean (one byte, 0 or 1) is what comparisons give.
enum class DType : std::uint8_t { f32, f64, i32, i64, u8, boolean };

constexpr std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::i32: return 4;
    case DType::f64:
    case DType::i64: return 8;
    case DType::u8:
    case DType::boolean: return 1;
  }
  return 0;
}

constexpr std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f32";
    case DType::f64: return "f64";
    case DType::i32: return "i32";
    case DType::i64: return "i64";
    case DType::u8: return "u8";
    case DType::boolean: return "bool";
  }
  return "?";
}

constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }
constexpr bool is_integer(DType dtype) {
  return dtype == DType::i32 || dtype == DType::i64 || dtype == DType::u8;
}

/// The DType of a C++ type: float, double, std::int32_t, std::int64_t, std::uint8_t, bool.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::f32;
  else if constexpr (std::is_same_v<T, double>) return DType::f64;
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
    case DType::i32: return f(std::int32_t{});
    case DType::i64: return f(std::int64_t{});
    case DType::u8: return f(std::uint8_t{});
    case DType::boolean: return f(bool{});
  }
  fail_internal({"dtype out of range"});
}

}  // namespace blockgrad
