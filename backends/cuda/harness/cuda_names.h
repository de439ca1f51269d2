#pragma once
// The names of CUDA C++ that kernels use, for g++ and clang: included before a `.cuh`, it lets
// harness::launch run the kernels of it. Nothing that no kernel uses is here.
// Source: CUDA C++ Programming Guide, "C++ Language Extensions".

#include <cstring>

#include "backends/cuda/harness/cuda_types.h"
#include "backends/cuda/harness/thread_block.h"

// NOLINTBEGIN(readability-identifier-naming): the names are CUDA's.

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
// Poisoned for each block in plain kernels. Compilers lay that of templates elsewhere, so those
// take dynamic memory.
#define __shared__ static __attribute__((section("bg_shared")))

inline void __syncthreads(int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  blockgrad::harness::meet({.name = "__syncthreads", .file = file, .line = line});
}

inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE(),
                       const char* file = __builtin_FILE()) {
  blockgrad::harness::meet({.name = "__syncwarp", .file = file, .line = line, .mask = mask});
}

namespace blockgrad::harness {

/// One lane of a shuffle: the value it gives, the lane it wants, the value it gets.
template <class T>
struct Shuffle {
  T value;
  int from;
  T result;
};

template <class T>
T shuffle(const char* name, unsigned mask, T value, int from, int line, const char* file) {
  Shuffle<T> slot{value, from, value};
  meet({.name = name,
        .file = file,
        .line = line,
        .mask = mask,
        .slot = &slot,
        .complete = [](void* const* slots) {
          for (int lane = 0; lane < 32; ++lane) {
            if (!slots[lane]) continue;
            auto& to = *static_cast<Shuffle<T>*>(slots[lane]);
            if (to.from < 0 || to.from >= 32 || !slots[to.from])
              fault("a shuffle reads a lane outside its mask");
            to.result = static_cast<const Shuffle<T>*>(slots[to.from])->value;
          }
        }});
  return slot.result;
}

inline int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) %
                          32);
}

}  // namespace blockgrad::harness

/// The value of lane `from`, modulo `width`, of this lane's group of `width` lanes, a power of two.
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, int line = __builtin_LINE(),
              const char* file = __builtin_FILE()) {
  const int group = blockgrad::harness::lane() / width * width;
  return blockgrad::harness::shuffle("__shfl_sync", mask, value, group + (from & (width - 1)), line,
                                     file);
}

/// The value `delta` lanes above; its own at the end of the group.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  const int lane = blockgrad::harness::lane(), from = lane + static_cast<int>(delta);
  return blockgrad::harness::shuffle("__shfl_down_sync", mask, value,
                                     from / width == lane / width ? from : lane, line, file);
}

/// The value `delta` lanes below; its own at the start of the group.
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 int line = __builtin_LINE(), const char* file = __builtin_FILE()) {
  const int lane = blockgrad::harness::lane(), from = lane - static_cast<int>(delta);
  return blockgrad::harness::shuffle("__shfl_up_sync", mask, value,
                                     from >= lane / width * width ? from : lane, line, file);
}

/// The value of the lane whose number differs by these bits.
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, int line = __builtin_LINE(),
                  const char* file = __builtin_FILE()) {
  const int lane = blockgrad::harness::lane(), from = lane ^ bits;
  return blockgrad::harness::shuffle("__shfl_xor_sync", mask, value,
                                     from / width <= lane / width ? from : lane, line, file);
}

/// Bit i is set where lane i of the mask says so.
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE(),
                              const char* file = __builtin_FILE()) {
  unsigned slot = predicate != 0;
  blockgrad::harness::meet({.name = "__ballot_sync",
                            .file = file,
                            .line = line,
                            .mask = mask,
                            .slot = &slot,
                            .complete = [](void* const* slots) {
                              unsigned ballot = 0;
                              for (unsigned lane = 0; lane < 32; ++lane)
                                if (slots[lane])
                                  ballot |= *static_cast<unsigned*>(slots[lane]) << lane;
                              for (int lane = 0; lane < 32; ++lane)
                                if (slots[lane]) *static_cast<unsigned*>(slots[lane]) = ballot;
                            }});
  return slot;
}

template <class T>
T __ldg(const T* address) {
  return *address;
}

/// Atomics on integers: no thread runs between the read and the write. All return the old value.
template <class T>
T atomicAdd(T* address, T value) {
  static_assert(T(1) / T(2) == T(0), "sums of floating atomics depend on the order of threads");
  const T old = *address;
  *address = old + value;
  return old;
}
template <class T>
T atomicMax(T* address, T value) {
  const T old = *address;
  *address = old < value ? value : old;
  return old;
}
template <class T>
T atomicMin(T* address, T value) {
  const T old = *address;
  *address = value < old ? value : old;
  return old;
}
template <class T>
T atomicCAS(T* address, T expected, T value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}

// NOLINTEND(readability-identifier-naming)
