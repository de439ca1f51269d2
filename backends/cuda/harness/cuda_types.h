#pragma once
// The types that CUDA declares for kernels and launches, as far as kernels of this project use
// them. Source: CUDA C++ Programming Guide, "Built-in Vector Types".

// NOLINTBEGIN(readability-identifier-naming): the names are CUDA's.

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Memory of any type may be read through them, as on the device.
struct [[gnu::may_alias]] alignas(8) float2 {
  float x, y;
};
struct [[gnu::may_alias]] alignas(16) float4 {
  float x, y, z, w;
};
struct [[gnu::may_alias]] alignas(16) double2 {
  double x, y;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

/// Of the running thread.
inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim{}, gridDim{};
inline constexpr int warpSize = 32;

// NOLINTEND(readability-identifier-naming)
