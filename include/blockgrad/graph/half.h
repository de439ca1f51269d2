#pragma once
// bf16 and f16: two bytes of storage for numbers that are computed with as f32. Conversions round
// to nearest, ties to even, in one rounding from float and double alike; NaN stays NaN. Includes
// nothing, so that CUDA text can use it as it is. Source: IEEE 754-2019 binary16; bf16 is the upper
// half of binary32.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define BG_HOST_DEVICE __host__ __device__
#else
#define BG_HOST_DEVICE
#endif

namespace blockgrad {

namespace detail {

BG_HOST_DEVICE constexpr unsigned int float_bits(float x) {
  return __builtin_bit_cast(unsigned int, x);
}
BG_HOST_DEVICE constexpr float bits_float(unsigned int x) { return __builtin_bit_cast(float, x); }

/// The float on the side of x whose last bit is odd, unless x is a float: rounding it again, to
/// fewer bits, rounds x itself (Boldo and Melquiond 2008).
BG_HOST_DEVICE constexpr float rounded_to_odd(double x) {
  const float y = static_cast<float>(x);
  const double z = static_cast<double>(y);
  const unsigned int u = float_bits(y);
  const bool is_exact = z == x || x != x || (u & 1u) != 0;
  const bool is_beyond = (z < 0 ? -z : z) > (x < 0 ? -x : x);
  return is_exact ? y : bits_float(is_beyond ? u - 1 : u + 1);
}

BG_HOST_DEVICE constexpr unsigned short to_bf16(float x) {
  const unsigned int u = float_bits(x);
  const unsigned int rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  return static_cast<unsigned short>(x == x ? rounded : (u >> 16) | 0x40u);
}
BG_HOST_DEVICE constexpr float from_bf16(unsigned short bits) {
  return bits_float(static_cast<unsigned int>(bits) << 16);
}

BG_HOST_DEVICE constexpr unsigned short to_f16(float x) {
  const unsigned int u = float_bits(x), sign = u & 0x80000000u, a = u ^ sign;
  const unsigned int normal = (a - (112u << 23) + 0xfffu + ((a >> 13) & 1u)) >> 13;
  // Adding 1/2 leaves the multiple of 2^-24 in the low bits, rounded.
  const unsigned int subnormal =
      float_bits(bits_float(a < 0x38800000u ? a : 0u) + 0.5f) - 0x3f000000u;
  unsigned int y = a < 0x38800000u ? subnormal : normal;
  y = a >= 0x47800000u ? 0x7c00u : y;
  y = a > 0x7f800000u ? 0x7e00u : y;
  return static_cast<unsigned short>(y | (sign >> 16));
}
BG_HOST_DEVICE constexpr float from_f16(unsigned short bits) {
  const unsigned int h = bits, sign = (h & 0x8000u) << 16, a = h & 0x7fffu;
  const unsigned int shift = a >= 0x7c00u ? 224u << 23 : 112u << 23;
  const unsigned int normal = (a << 13) + shift;
  const unsigned int subnormal = float_bits(static_cast<float>(static_cast<int>(a)) * 0x1p-24f);
  return bits_float((a < 0x400u ? subnormal : normal) | sign);
}

}  // namespace detail

struct bf16 {
  unsigned short bits = 0;

  bf16() = default;
  BG_HOST_DEVICE explicit constexpr bf16(float x) : bits(detail::to_bf16(x)) {}
  BG_HOST_DEVICE explicit constexpr bf16(double x) : bf16(detail::rounded_to_odd(x)) {}
  template <class T>
  BG_HOST_DEVICE explicit constexpr bf16(T x) : bf16(static_cast<double>(x)) {}
  BG_HOST_DEVICE explicit constexpr operator float() const { return detail::from_bf16(bits); }
  BG_HOST_DEVICE explicit constexpr operator double() const {
    return static_cast<double>(static_cast<float>(*this));
  }
};

struct f16 {
  unsigned short bits = 0;

  f16() = default;
  BG_HOST_DEVICE explicit constexpr f16(float x) : bits(detail::to_f16(x)) {}
  BG_HOST_DEVICE explicit constexpr f16(double x) : f16(detail::rounded_to_odd(x)) {}
  template <class T>
  BG_HOST_DEVICE explicit constexpr f16(T x) : f16(static_cast<double>(x)) {}
  BG_HOST_DEVICE explicit constexpr operator float() const { return detail::from_f16(bits); }
  BG_HOST_DEVICE explicit constexpr operator double() const {
    return static_cast<double>(static_cast<float>(*this));
  }
};

}  // namespace blockgrad

#undef BG_HOST_DEVICE
