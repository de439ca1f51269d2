#pragma once
// A product on random data for kernels that run on the harness: operands of any layout between
// guard zones, and what the kernel must answer.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "backends/cuda/harness/guarded.h"
#include "backends/cuda/harness/thread_block.h"
#include "backends/cuda/products/matmul_product.cuh"

namespace blockgrad::harness {

/// Shape and layout; strides are chosen from them.
struct ProductShape {
  long m = 0, n = 0, k = 0;
  long batch = 1;
  bool transpose_a = false, transpose_b = false;
  long pitch = 1;   // rows in memory begin at multiples of so many elements
  long offset = 0;  // of A and B from an aligned address
  int k_splits = 1;
  long k_slice = 0;       // 0: all of k
  bool shares_b = false;  // one B for the whole batch
};

inline std::string to_string(const ProductShape& s) {
  return std::to_string(s.batch) + " of " + std::to_string(s.m) + "x" + std::to_string(s.n) + "x" +
         std::to_string(s.k) + (s.transpose_a ? " T" : " N") + (s.transpose_b ? "T" : "N") +
         " pitch " + std::to_string(s.pitch) + " offset " + std::to_string(s.offset) + " splits " +
         std::to_string(s.k_splits);
}

template <class T>
T random_value(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<T>(static_cast<double>(state >> 40) / (1 << 23) - 1.0);
}

template <class In, class Out = In>
class ProductCase {
 public:
  explicit ProductCase(const ProductShape& of, std::uint64_t seed = 1)
      : shape(of),
        a_(operand(of.transpose_a, of.m, of.k, of.batch)),
        b_(operand(of.transpose_b, of.k, of.n, of.shares_b ? 1 : of.batch)),
        c_(static_cast<std::size_t>(of.batch * of.k_splits * of.m * row_size(of.n))) {
    for (Guarded<In>* x : {&a_, &b_})
      for (std::size_t i = 0; i < x->size(); ++i)
        (*x)[i] = static_cast<In>(random_value<float>(seed));
    product.a = matrix<const In>(a_.data() + shape.offset, shape.transpose_a, shape.m, shape.k);
    product.b = matrix<const In>(b_.data() + shape.offset, shape.transpose_b, shape.k, shape.n);
    if (shape.shares_b) product.b.batch_stride = 0;
    product.c = matrix<Out>(c_.data(), false, shape.m, shape.n);
    product.m = shape.m;
    product.n = shape.n;
    product.k = shape.k;
    product.k_slice = shape.k_slice ? shape.k_slice : shape.k;
    product.k_splits = shape.k_splits;
    product.band = 2;
    product.c_in_packs = row_size(shape.n) * static_cast<long>(sizeof(Out)) % 16 == 0;
  }

  /// The chain of fused multiply-adds over slice s of k.
  Out sum(long batch, long row, long column, long slice) const {
    Out value = 0;
    for (long k = slice * product.k_slice; k < std::min(product.k, (slice + 1) * product.k_slice);
         ++k)
      value = std::fma(static_cast<Out>(product.a.at(batch, row, k)),
                       static_cast<Out>(product.b.at(batch, k, column)), value);
    return value;
  }

  /// The number of elements of C that are not, bit for bit, epilogue(sum of their slice).
  template <class Epilogue>
  long wrong(const Epilogue& epilogue) {
    long count = 0;
    each([&](long batch, long slice, long row, long column) {
      const Out expected = epilogue(sum(batch, row, column, slice), batch, column);
      const Out& found = product.c.at(batch * shape.k_splits + slice, row, column);
      count += std::memcmp(&expected, &found, sizeof(Out)) != 0;
    });
    check();
    return count;
  }

  void each(const std::function<void(long, long, long, long)>& visit) const {
    for (long batch = 0; batch < shape.batch; ++batch)
      for (long slice = 0; slice < shape.k_splits; ++slice)
        for (long row = 0; row < shape.m; ++row)
          for (long column = 0; column < shape.n; ++column) visit(batch, slice, row, column);
  }

  /// Throws if a kernel wrote beside C, to A or B's surroundings, or between the rows of C.
  void check() {
    a_.check("A");
    b_.check("B");
    c_.check("C");
    const long row = row_size(shape.n);
    for (std::size_t i = 0; i < c_.size(); ++i) {
      unsigned char bytes[sizeof(Out)];
      std::memcpy(bytes, &c_[i], sizeof(Out));
      if (static_cast<long>(i) % row >= shape.n && bytes[0] != 0xff)
        throw std::runtime_error("C: written between its rows");
    }
  }

  ProductShape shape;
  gpu::Product<In, Out> product{};

 private:
  long row_size(long length) const {
    return (length + shape.pitch - 1) / shape.pitch * shape.pitch;
  }

  /// Memory of an operand of these rows and columns, or of its transpose.
  Guarded<In> operand(bool is_transposed, long rows, long columns, long batch) const {
    const long lines = is_transposed ? columns : rows, length = is_transposed ? rows : columns;
    return Guarded<In>(static_cast<std::size_t>(batch * lines * row_size(length) + shape.offset));
  }

  template <class T>
  gpu::Matrix<T> matrix(T* data, bool is_transposed, long rows, long columns) const {
    const long lines = is_transposed ? columns : rows;
    const long row = row_size(is_transposed ? rows : columns);
    return is_transposed ? gpu::Matrix<T>{data, 1, row, lines * row}
                         : gpu::Matrix<T>{data, row, 1, lines * row};
  }

  Guarded<In> a_, b_;
  Guarded<Out> c_;
};

/// For the record of what has been verified: run last in a suite, which is a process of its own.
inline void print_counts() {
  const Counts all = counts();
  std::printf("CUDA kernels run on the CPU: %ld, in %ld launches of %ld blocks, %ld threads\n",
              all.kernels, all.launches, all.blocks, all.threads);
}

/// A grid that covers m x n by tiles, for every slice and batch, as place_of_block reads it.
template <class In, class Out>
dim3 line_of_tiles(const gpu::Product<In, Out>& p, long batch, int tile_m, int tile_n) {
  const long tiles = (p.m + tile_m - 1) / tile_m * ((p.n + tile_n - 1) / tile_n);
  return {static_cast<unsigned>(tiles * p.k_splits * batch)};
}

}  // namespace blockgrad::harness
