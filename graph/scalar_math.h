#pragma once
// The functions behind scalar.def's value column, one text for the host's instruction sets and for
// CUDA: equal bits everywhere (NaN payloads aside), denormals kept. Errors: docs/accuracy.md.

#include "blockgrad/graph/half.h"
#include "graph/scalar_normal.h"
#include "graph/scalar_trig.h"

namespace blockgrad::math {

/// The type in which arithmetic on T wraps instead of overflowing.
template <class T>
struct Wrapping {
  using type = T;
};
template <>
struct Wrapping<int> {
  using type = u32;
};
template <>
struct Wrapping<long> {
  using type = u64;
};
template <>
struct Wrapping<unsigned char> {
  using type = u32;
};
template <class T>
using wrapping_t = typename Wrapping<T>::type;

template <class A, class B>
struct Same {
  static constexpr bool value = false;
};
template <class A>
struct Same<A, A> {
  static constexpr bool value = true;
};
template <class T>
struct Kind {
  static constexpr bool is_floating = Same<T, float>::value || Same<T, double>::value;
};

template <class T>
BG_SCALAR T add(T a, T b) {
  return static_cast<T>(static_cast<wrapping_t<T>>(a) + static_cast<wrapping_t<T>>(b));
}
template <class T>
BG_SCALAR T subtract(T a, T b) {
  return static_cast<T>(static_cast<wrapping_t<T>>(a) - static_cast<wrapping_t<T>>(b));
}
template <class T>
BG_SCALAR T multiply(T a, T b) {
  return static_cast<T>(static_cast<wrapping_t<T>>(a) * static_cast<wrapping_t<T>>(b));
}
template <class T>
BG_SCALAR T negative(T a) {
  return static_cast<T>(-static_cast<wrapping_t<T>>(a));
}

template <class T>
BG_SCALAR T abs(T a) {
  if constexpr (Kind<T>::is_floating) return with_sign(a, T(1));
  else return a < T(0) ? negative(a) : a;
}

/// -1, 0 or 1; +0 for both zeros, NaN for NaN.
template <class T>
BG_SCALAR T sign(T a) {
  const T y = a > T(0) ? T(1) : T(0);
  if constexpr (Same<T, unsigned char>::value) return y;
  else {
    const T z = a < T(0) ? T(-1) : y;
    return a == a ? z : a;
  }
}

/// NaN on either side gives NaN; b where the two are equal.
template <class T>
BG_SCALAR T maximum(T a, T b) {
  const T y = a > b ? a : b;
  return a == a ? y : a;
}
template <class T>
BG_SCALAR T minimum(T a, T b) {
  const T y = a < b ? a : b;
  return a == a ? y : a;
}

/// 0 for -0 too; NaN for NaN.
template <class T>
BG_SCALAR T relu(T a) {
  return a <= T(0) ? T(0) : a;
}

/// 0 where a is subnormal, for -0 too; NaN for NaN.
template <class T>
BG_SCALAR T flush_subnormal(T a) {
  return abs(a) < Format<T>::least_normal ? T(0) : a;
}

template <class T>
BG_SCALAR bool isfinite(T a) {
  return abs(a) < infinity<T>();
}
template <class T>
BG_SCALAR bool isnan(T a) {
  return a != a;
}
template <class T>
BG_SCALAR bool isinf(T a) {
  return abs(a) == infinity<T>();
}

template <class T>
BG_SCALAR T where(bool condition, T a, T b) {
  return condition ? a : b;
}

/// Floating to integer: truncates, saturates at the ends, 0 for NaN. Integer to integer: wraps. To
/// bool: x != 0.
template <class To, class From>
BG_SCALAR To cast(From x) {
  if constexpr (Same<From, bf16>::value || Same<From, f16>::value) {
    return cast<To>(static_cast<float>(x));
  } else if constexpr (Same<To, bf16>::value || Same<To, f16>::value) {
    return To(x);
  } else if constexpr (Same<To, bool>::value) {
    return x != From(0);
  } else if constexpr (Kind<From>::is_floating && !Kind<To>::is_floating) {
    constexpr bool small = sizeof(To) == 1;
    constexpr From low = small ? From(0) : sizeof(To) == 4 ? From(-0x1p31) : From(-0x1p63);
    constexpr From high = small ? From(256) : -low;
    constexpr To greatest = small             ? To(255)
                            : sizeof(To) == 4 ? To(0x7fffffff)
                                              : To(0x7fffffffffffffff);
    constexpr To least = small             ? To(0)
                         : sizeof(To) == 4 ? To(-0x7fffffff - 1)
                                           : To(-0x7fffffffffffffff - 1);
    const bool inside = (x >= low) & (x < high);
    const From y = inside ? x : From(0);
    To result = small ? static_cast<To>(static_cast<int>(y)) : static_cast<To>(y);
    result = x >= high ? greatest : result;
    return x < low ? least : result;
  } else {
    return static_cast<To>(x);
  }
}

}  // namespace blockgrad::math
