#pragma once
// The way of a panel of A or B from global memory to shared memory. Both operands are seen alike:
// a panel is `depth` steps along k by `width` rows of A or columns of B, and lies in shared memory
// with the width side by side, so that a thread reads its values of one k 16 bytes at a time.

#include "backends/cuda/products/matmul_product.cuh"

namespace blockgrad::gpu {

/// An operand as a panel, from the first of its rows (of A) or columns (of B) that are wanted.
/// Where packs are read, `data` and the other stride are multiples of 16 bytes.
template <class T>
struct Panel {
  const T* data;
  long width_stride;
  long k_stride;
  long width;  // what is left of m or n
  long k_end;
};

/// The rows of a matrix from one of them on, and the columns.
template <template <class> class Operand, class T>
__device__ __forceinline__ Panel<T> rows_of(const Operand<const T>& x, long batch, long row,
                                            long width, long k_end) {
  return {&x.at(batch, row, 0), x.row_stride, x.column_stride, width, k_end};
}
template <template <class> class Operand, class T>
__device__ __forceinline__ Panel<T> columns_of(const Operand<const T>& x, long batch, long column,
                                               long width, long k_end) {
  return {&x.at(batch, 0, column), x.column_stride, x.row_stride, width, k_end};
}

template <class P>
__device__ __forceinline__ auto panel_of_a(const P& p, const Place& at, long k_end) {
  return rows_of(p.a, at.batch, at.row, p.m - at.row, k_end);
}

template <class P>
__device__ __forceinline__ auto panel_of_b(const P& p, const Place& at, long k_end) {
  return columns_of(p.b, at.batch, at.column, p.n - at.column, k_end);
}

/// The panel in shared memory; a pack between rows keeps stores along k off each other's banks.
template <class T, int width, int depth>
struct alignas(16) SharedPanel {
  T value[depth][width + Pack<T>::size];
};

/// One thread's share of a panel, in registers between the two memories: fetch() asks for the
/// values, store() waits for them, and what stands between hides the wait.
template <class T, int width, int depth, int threads, Reads reads>
struct PanelShare {
  static constexpr int size = reads == Reads::one_by_one ? 1 : Pack<T>::size;
  static constexpr int count = width * depth / size / threads;
  static_assert(count * size * threads == width * depth, "every thread moves the same");
  struct alignas(size * sizeof(T)) Part {
    T value[size];
  };
  Part part[count];

  /// Where part i of this thread begins.
  __device__ __forceinline__ static int width_of(int i) {
    const int at = static_cast<int>(threadIdx.x) + i * threads;
    return reads == Reads::along_k ? at / (depth / size) : at % (width / size) * size;
  }
  __device__ __forceinline__ static int k_of(int i) {
    const int at = static_cast<int>(threadIdx.x) + i * threads;
    return reads == Reads::along_k ? at % (depth / size) * size : at / (width / size);
  }

  /// Where this thread's first part of the next fetch lies, and what is left of width and k there.
  const T* from;
  int left_width;
  long left_k;

  __device__ __forceinline__ PanelShare(const Panel<T>& panel, long k)
      : from(panel.data + width_of(0) * panel.width_stride + (k + k_of(0)) * panel.k_stride),
        left_width(static_cast<int>(panel.width < width ? panel.width : width) - width_of(0)),
        left_k(panel.k_end - k - k_of(0)) {}

  /// Reads the next steps of the panel; what lies beyond the operand counts as `beyond`.
  __device__ __forceinline__ void fetch(const Panel<T>& panel, T beyond) {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int w = width_of(i) - width_of(0), k = k_of(i) - k_of(0);
      const T* const at = from + w * panel.width_stride + k * panel.k_stride;
      const bool is_inside = w < left_width && k < left_k;
      const long left = reads == Reads::along_k ? left_k - k : left_width - w;
      if (is_inside && left >= size) {
        part[i] = *reinterpret_cast<const Part*>(at);
      } else {
#pragma unroll
        for (int j = 0; j < size; ++j) part[i].value[j] = is_inside && j < left ? at[j] : beyond;
      }
    }
    from += depth * panel.k_stride;
    left_k -= depth;
  }

  __device__ __forceinline__ void store(SharedPanel<T, width, depth>& shared) const {
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const int w = width_of(i), k = k_of(i);
      if constexpr (reads == Reads::along_k) {
#pragma unroll
        for (int j = 0; j < size; ++j) shared.value[k + j][w] = part[i].value[j];
      } else {
        *reinterpret_cast<Part*>(&shared.value[k][w]) = part[i];
      }
    }
  }
};

/// The share of the calling thread, from step k on.
template <int width, int depth, int threads, Reads reads, class T>
__device__ __forceinline__ PanelShare<T, width, depth, threads, reads> share_of(
    const Panel<T>& panel, long k) {
  return {panel, k};
}

/// Puts the first `count` values side by side.
template <class C, class T, int size>
__device__ __forceinline__ void put_each(const C& c, long batch, long row, long column, long count,
                                         const T (&values)[size]) {
  T* const to = &c.at(batch, row, column);
#pragma unroll
  for (int j = 0; j < size; ++j)
    if (j < count) to[j] = values[j];
}

/// Puts values of a row into C: 16 bytes at once where all are inside and lie so.
template <class P, class T, int size, class Epilogue>
__device__ __forceinline__ void put_into_c(const P& p, const Epilogue& epilogue, const Place& at,
                                           long row, long column, const T (&sums)[size]) {
  static_assert(size == Pack<T>::size);
  const long batch = at.batch * p.k_splits + at.slice;
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < size; ++j)
    if (column + j < p.n) pack.value[j] = epilogue(sums[j], at.batch, column + j);
  if (p.c_in_packs && column + size <= p.n) {
    *reinterpret_cast<Pack<T>*>(&p.c.at(batch, row, column)) = pack;
  } else {
    put_each(p.c, batch, row, column, p.n - column, pack.value);
  }
}

/// Puts a row of C's values where they belong.
template <class P, class T, int size, class Epilogue>
__device__ __forceinline__ void put_pack(const P& p, const Epilogue& epilogue, const Place& at,
                                         long row, long column, const T (&sums)[size]) {
  if (row >= p.m) return;
  if constexpr (puts_itself<Epilogue>) {
    epilogue.put(at.batch, row, column, p.n - column, sums);
  } else {
    put_into_c(p, epilogue, at, row, column, sums);
  }
}

}  // namespace blockgrad::gpu
