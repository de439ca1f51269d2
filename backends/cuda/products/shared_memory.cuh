#pragma once
// The dynamic shared memory of a block as a value of type T; its size is given at the launch.

namespace blockgrad::gpu {

template <class T>
__device__ __forceinline__ T& shared_memory() {
#ifdef __CUDACC__
  extern __shared__ __align__(128) unsigned char memory[];
  return *reinterpret_cast<T*>(memory);
#else
  return *static_cast<T*>(harness::shared_memory(sizeof(T)));
#endif
}

}  // namespace blockgrad::gpu
