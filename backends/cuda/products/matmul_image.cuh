#pragma once
// Convolutions as products without a matrix of windows in memory: an operand that is looked up in
// images. Source of the idea: Chetlur et al. 2014, "cuDNN: Efficient primitives for deep learning".

#include "backends/cuda/products/matmul_panel.cuh"

namespace blockgrad::gpu {

/// (plane * rows + row) * columns + column.
struct Digits {
  long plane;
  int row, column;

  /// Adds a number with digits below the same bases.
  __device__ __forceinline__ void add(const Digits& step, long rows, long columns) {
    column += step.column;
    const bool next_row = column >= columns;
    if (next_row) column -= static_cast<int>(columns);
    row += step.row + next_row;
    const bool next_plane = row >= rows;
    if (next_plane) row -= static_cast<int>(rows);
    plane += step.plane + next_plane;
  }
};

__device__ __forceinline__ Digits digits_of(long x, long rows, long columns) {
  return {x / columns / rows, static_cast<int>(x / columns % rows), static_cast<int>(x % columns)};
}

/// An operand with one of its numbers, w, along m or n and the other one along k. Digits of w and k
/// say which plane is read and how far down and across; outside of it there are zeros. Batch b is
/// group b % groups of image b / groups.
template <class T>
struct Image {
  T* data;
  long groups, image_stride, group_stride;
  long rows, columns;             // of a plane, which is dense
  long row, column;               // that w = k = 0 reads
  long w_rows, w_columns;         // bases of w's digits, and what one more in each of them adds:
  long w_plane, w_row, w_column;  // elements, rows and columns
  long k_rows, k_columns;
  long k_plane, k_row, k_column;

  /// The planes of one batch.
  __device__ __forceinline__ T* planes(long batch) const {
    return data + batch / groups * image_stride + batch % groups * group_stride;
  }
  __device__ __forceinline__ auto value(long batch, long at_w, long at_k) const {
    const Digits w = digits_of(at_w, w_rows, w_columns), k = digits_of(at_k, k_rows, k_columns);
    const long y = row + w.row * w_row + k.row * k_row;
    const long x = column + w.column * w_column + k.column * k_column;
    const long plane = w.plane * w_plane + k.plane * k_plane;
    const bool is_inside = y >= 0 && y < rows && x >= 0 && x < columns;
    return is_inside ? planes(batch)[plane + y * columns + x] : T(0);
  }
};

/// As A, and as B.
template <class T>
struct ImageRows : Image<T> {
  __device__ __forceinline__ auto at(long batch, long row, long column) const {
    return this->value(batch, row, column);
  }
};
template <class T>
struct ImageColumns : Image<T> {
  __device__ __forceinline__ auto at(long batch, long row, long column) const {
    return this->value(batch, column, row);
  }
};

/// As C: a row is a plane, of which every so many lines and places are written; or planes of all
/// images, each of which is a line.
template <class T>
struct Lattice {
  T* data;
  long row_stride, batch_stride;
  long columns;     // written in a line
  long line, step;  // elements from one of these lines to the next, and from place to place

  __device__ __forceinline__ T& at(long batch, long row, long column) const {
    return data[batch * batch_stride + row * row_stride + column / columns * line +
                column % columns * step];
  }
};

/// See place_in_row.
template <class T>
__device__ __forceinline__ long place_in_row(const Lattice<T>& c, long column) {
  return column / c.columns * c.line + column % c.columns * c.step;
}

template <class T, int size>
__device__ __forceinline__ void put_each(const Lattice<T>& c, long batch, long row, long column,
                                         long count, const T (&values)[size]) {
#pragma unroll
  for (int j = 0; j < size; ++j)
    if (j < count) c.at(batch, row, column + j) = values[j];
}

/// See Panel.
template <class T>
struct ImagePanel {
  Image<const T> image;
  const T* planes;
  long first;  // w
  long width;
  long k_end;
};

template <class T>
__device__ __forceinline__ ImagePanel<T> rows_of(const ImageRows<const T>& x, long batch, long row,
                                                 long width, long k_end) {
  return {x, x.planes(batch), row, width, k_end};
}
template <class T>
__device__ __forceinline__ ImagePanel<T> columns_of(const ImageColumns<const T>& x, long batch,
                                                    long column, long width, long k_end) {
  return {x, x.planes(batch), column, width, k_end};
}

/// Which elements of [width, depth] a thread of a block moves: neighbours in the block are
/// neighbours along k or along w.
template <int width, int depth, int threads, bool is_along_k>
struct ThreadWalk {
  static constexpr int count = width * depth / threads;
  static_assert(count * threads == width * depth && threads % (is_along_k ? depth : width) == 0,
                "every thread moves the same");
  static constexpr int count_w = is_along_k ? count : 1, count_k = is_along_k ? 1 : count;

  __device__ __forceinline__ static int w(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return is_along_k ? thread / depth + i * (threads / depth) : thread % width;
  }
  __device__ __forceinline__ static int k(int i) {
    const int thread = static_cast<int>(threadIdx.x);
    return is_along_k ? thread % depth : thread / width + i * (threads / width);
  }
};

/// Where each w that a thread moves reads where k = 0. Digits are found by divisions once and
/// counted up then.
template <class T, class Walk>
struct ImageStarts {
  const T* planes[Walk::count_w];
  int row[Walk::count_w], column[Walk::count_w];

  __device__ __forceinline__ explicit ImageStarts(const ImagePanel<T>& panel) {
    const Image<const T>& image = panel.image;
#pragma unroll
    for (int i = 0; i < Walk::count_w; ++i) {
      const Digits w = digits_of(panel.first + Walk::w(i), image.w_rows, image.w_columns);
      planes[i] = panel.planes + w.plane * image.w_plane;
      row[i] = static_cast<int>(image.row + w.row * image.w_row);
      column[i] = static_cast<int>(image.column + w.column * image.w_column);
    }
  }

  /// 0 outside of a plane.
  __device__ __forceinline__ T value(const Image<const T>& image, int at_w, const Digits& k) const {
    const int y = row[at_w] + k.row * static_cast<int>(image.k_row);
    const int x = column[at_w] + k.column * static_cast<int>(image.k_column);
    const bool is_inside = y >= 0 && y < image.rows && x >= 0 && x < image.columns;
    return is_inside ? planes[at_w][k.plane * image.k_plane + y * image.columns + x] : T(0.0f);
  }
};

/// See PanelShare.
template <class T, int width, int depth, int threads, bool is_along_k>
struct ImageShare {
  using Walk = ThreadWalk<width, depth, threads, is_along_k>;
  static constexpr int count = Walk::count, count_k = Walk::count_k;
  T part[count];

  ImageStarts<T, Walk> starts;
  Digits k[count_k], step;
  int left_width;
  long left_k;

  __device__ __forceinline__ ImageShare(const ImagePanel<T>& panel, long k_begin)
      : starts(panel),
        left_width(static_cast<int>(panel.width < width ? panel.width : width)),
        left_k(panel.k_end - k_begin) {
    const Image<const T>& image = panel.image;
#pragma unroll
    for (int i = 0; i < count_k; ++i)
      k[i] = digits_of(k_begin + Walk::k(i), image.k_rows, image.k_columns);
    step = digits_of(depth, image.k_rows, image.k_columns);
  }

  __device__ __forceinline__ void fetch(const ImagePanel<T>& panel, T beyond) {
    const Image<const T>& image = panel.image;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const bool is_there = Walk::w(i) < left_width && Walk::k(i) < left_k;
      part[i] = is_there ? starts.value(image, is_along_k ? i : 0, k[is_along_k ? 0 : i]) : beyond;
    }
#pragma unroll
    for (int i = 0; i < count_k; ++i) k[i].add(step, image.k_rows, image.k_columns);
    left_k -= depth;
  }

  __device__ __forceinline__ void store(SharedPanel<T, width, depth>& shared) const {
#pragma unroll
    for (int i = 0; i < count; ++i) shared.value[Walk::k(i)][Walk::w(i)] = part[i];
  }
};

template <int width, int depth, int threads, Reads reads, class T>
__device__ __forceinline__ ImageShare<T, width, depth, threads, reads == Reads::along_k> share_of(
    const ImagePanel<T>& panel, long k) {
  return {panel, k};
}

}  // namespace blockgrad::gpu
