#pragma once
// Attention, and its gradient in attention_gradient.cuh, by tiles, without a matrix of scores. A
// block owns a tile of rows (queries, or keys in the gradients of keys and values) and passes over
// tiles of the others; what it sums up stays in registers, and scores live in shared memory for as
// long as a product reads them. Sums have an order of their own: no atomics. Sources: Milakov and
// Gimelshein 2018 (running maximum and sum), Dao et al. 2022 and Dao 2023 (tiles, gradients).
//
//   grid -> rows x columns of the result -> others, tile by tile -> depth, step by step -> thread

#include "backends/cuda/products/matmul_product.cuh"
#include "backends/cuda/products/shared_memory.cuh"

namespace blockgrad::gpu::attention {

/// How a block works. `columns` are those of a result that it makes, a multiple of 16; packs are
/// read where every row of every operand begins at a multiple of 16 bytes and has whole packs.
template <class T, int columns_, int threads_, bool in_packs_>
struct Cut {
  using Type = T;
  static constexpr bool in_packs = in_packs_;
  static constexpr int rows = 64, others = 64, columns = columns_, threads = threads_;
  static constexpr int pack = Pack<T>::size;
  static constexpr int depth = 8 * pack;  // of the panels of a step
  // Of the tile of others that a step of the second product reads.
  static constexpr int steps = columns * static_cast<int>(sizeof(T)) <= 256 ? 64 : 32;
  // 16 threads lie along a row; a thread has every groups-th row and every 16th of the others.
  static constexpr int groups = threads / 16;
  static constexpr int own_rows = rows / groups, own_others = others / 16;
  static constexpr int own_columns = columns / 16;
  static constexpr int run = own_columns % 4 == 0 && pack == 4 ? 4 : own_columns % 2 == 0 ? 2 : 1;

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 16; }
  __device__ static int row(int i) { return static_cast<int>(threadIdx.x) / 16 + i * groups; }
  __device__ static int other(int j) { return lane() + 16 * j; }
  __device__ static int column(int c) { return (c / run * 16 + lane()) * run + c % run; }
};

/// Values that a thread reads or writes at once.
template <class T, int n>
struct alignas(sizeof(T) * n) Run {
  T value[n];
};

/// What both operands of scores go through, or the others' rows of the second product. A pack
/// between rows keeps reads along the depth off each other's banks.
template <class C>
struct Shared {
  using T = typename C::Type;
  struct Panels {
    T rows[C::rows][C::depth + C::pack];
    T others[C::others][C::depth + C::pack];
  };
  union alignas(16) {
    Panels panels;
    T values[C::steps][C::columns];
  };
  using Weights = T[C::rows][C::others + C::pack];
};

/// Rows of one matrix from some place on, and how many rows and columns are left there.
template <class T>
struct Part {
  const T* data;
  long stride, rows, columns;

  __device__ __forceinline__ Part from(long row, long column) const {
    return {data + row * stride + column, stride, rows - row, columns - column};
  }
};

template <template <class> class Operand, class T>
__device__ __forceinline__ Part<T> part_of(const Operand<const T>& x, long batch, long rows,
                                           long columns) {
  return {&x.at(batch, 0, 0), x.row_stride, rows, columns};
}

/// Where the rows of a matrix of a result go.
template <class T>
struct ResultRows {
  T* data;
  long stride;
};

template <template <class> class Operand, class T>
__device__ __forceinline__ ResultRows<T> rows_of(const Operand<T>& x, long batch) {
  return {&x.at(batch, 0, 0), x.row_stride};
}

/// The first rows and columns of a part, 0 where there are none. All threads of the block.
template <class C, int height, int width, int pitch, class T, class From>
__device__ __forceinline__ void fetch(T (&to)[height][pitch], const Part<From>& from) {
  constexpr int size = C::in_packs ? C::pack : 1;
  constexpr int all = height * width / size, count = (all + C::threads - 1) / C::threads;
  constexpr int ahead = count < 8 ? count : 8;  // loads on their way
#pragma unroll 1
  for (int first = 0; first < count; first += ahead) {
    Run<T, size> values[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int at = static_cast<int>(threadIdx.x) + (first + i) * C::threads;
      const int row = at / (width / size), column = at % (width / size) * size;
      values[i] = {};
      if (row < height && row < from.rows && column < from.columns) {
        const auto read =
            *reinterpret_cast<const Run<From, size>*>(from.data + row * from.stride + column);
#pragma unroll
        for (int v = 0; v < size; ++v) values[i].value[v] = static_cast<T>(read.value[v]);
      }
    }
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      const int at = static_cast<int>(threadIdx.x) + (first + i) * C::threads;
      const int row = at / (width / size), column = at % (width / size) * size;
      if (row < height) *reinterpret_cast<Run<T, size>*>(&to[row][column]) = values[i];
    }
  }
}

/// A thread's part of a tile of scores.
template <class C>
using Scores = typename C::Type[C::own_rows][C::own_others];

/// And of a result.
template <class C>
using Sums = typename C::Type[C::own_rows][C::own_columns];

/// s = a b^T of a tile of rows and one of others, each element one chain in ascending depth.
template <class C, class From>
__device__ __forceinline__ void dot(Scores<C>& s, Shared<C>& shared, const Part<From>& a,
                                    const Part<From>& b) {
  using T = typename C::Type;
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
    for (int j = 0; j < C::own_others; ++j) s[i][j] = T(0);
  long at = 0;
  do {  // once at least: what stood in shared memory before is read by all
    __syncthreads();
    fetch<C, C::rows, C::depth>(shared.panels.rows, a.from(0, at));
    fetch<C, C::others, C::depth>(shared.panels.others, b.from(0, at));
    __syncthreads();
#pragma unroll 2
    for (int k = 0; k < C::depth; k += C::pack) {
      Pack<T> of_others[C::own_others];
#pragma unroll
      for (int j = 0; j < C::own_others; ++j)
        of_others[j] = *reinterpret_cast<const Pack<T>*>(&shared.panels.others[C::other(j)][k]);
#pragma unroll
      for (int i = 0; i < C::own_rows; ++i) {
        const auto of_row = *reinterpret_cast<const Pack<T>*>(&shared.panels.rows[C::row(i)][k]);
#pragma unroll
        for (int e = 0; e < C::pack; ++e)
#pragma unroll
          for (int j = 0; j < C::own_others; ++j)
            s[i][j] = math::fma(of_row.value[e], of_others[j].value[e], s[i][j]);
      }
    }
    at += C::depth;
  } while (at < a.columns);
}

/// sums += w x for a tile of weights and the rows of x that it weighs, in ascending order of these.
template <class C, class From>
__device__ __forceinline__ void mix(Sums<C>& sums, Shared<C>& shared,
                                    const typename Shared<C>::Weights& w, const Part<From>& x) {
  using T = typename C::Type;
#pragma unroll 1
  for (int at = 0; at < C::others && at < x.rows; at += C::steps) {
    __syncthreads();  // all weights are there, and what stood here before is read
    fetch<C, C::steps, C::columns>(shared.values, x.from(at, 0));
    __syncthreads();
#pragma unroll 2
    for (int k = 0; k < C::steps; k += C::pack) {
      Pack<T> weights[C::own_rows];
#pragma unroll
      for (int i = 0; i < C::own_rows; ++i)
        weights[i] = *reinterpret_cast<const Pack<T>*>(&w[C::row(i)][at + k]);
#pragma unroll
      for (int e = 0; e < C::pack; ++e)
#pragma unroll
        for (int c = 0; c < C::own_columns; c += C::run) {
          const auto values =
              *reinterpret_cast<const Run<T, C::run>*>(&shared.values[k + e][C::column(c)]);
#pragma unroll
          for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
            for (int v = 0; v < C::run; ++v)
              sums[i][c + v] = math::fma(weights[i].value[e], values.value[v], sums[i][c + v]);
        }
    }
  }
}

/// The weights of a tile where the second product reads them.
template <class C>
__device__ __forceinline__ void put(typename Shared<C>::Weights& to, const Scores<C>& s) {
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
    for (int j = 0; j < C::own_others; ++j) to[C::row(i)][C::other(j)] = s[i][j];
}

/// Puts the sums at a matrix [height, width], from (row, column) on.
template <class C, class T>
__device__ __forceinline__ void put(const ResultRows<T>& to, long row, long height, long column,
                                    long width, const Sums<C>& sums) {
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
    for (int c = 0; c < C::own_columns; ++c) {
      const long y = row + C::row(i), x = column + C::column(c);
      if (y < height && x < width) to.data[y * to.stride + x] = static_cast<T>(sums[i][c]);
    }
}

/// Masks: the score of a query and a key that may be seen, scaled already.
struct NoMask {
  template <class T>
  __device__ __forceinline__ T operator()(T score, long /*batch*/, long /*query*/,
                                          long /*key*/) const {
    return score;
  }
};
template <class Operand>
struct Added {
  Operand mask;
  template <class T>
  __device__ __forceinline__ T operator()(T score, long batch, long query, long key) const {
    return score + mask.at(batch, query, key);
  }
};
template <class Operand>
struct Allowed {
  Operand mask;
  template <class T>
  __device__ __forceinline__ T operator()(T score, long batch, long query, long key) const {
    return mask.at(batch, query, key) ? score : -math::infinity<T>();
  }
};

/// What both directions are told. Q, K and V are Matrix or Matrices; T is f32 where they are
/// halves.
template <class T, bool is_causal_, class Q, class K, class V, class Mask>
struct Problem {
  static constexpr bool is_causal = is_causal_;
  Q q;
  K k;
  V v;
  Mask mask;
  long queries, keys;
  long depth, value_depth;  // columns of q and k, and of v
  long parts;               // blocks that share the columns of a tile's results
  T scale;

  /// The score made of a product q k; -inf where a key is not seen, or is none.
  __device__ __forceinline__ T score(T product, long batch, long query, long key) const {
    if (query >= queries || key >= keys || (is_causal && key > query)) return -math::infinity<T>();
    return mask(product * scale, batch, query, key);
  }
};

/// The work of a block: some columns of a tile of `count` rows. Tiles of one matrix follow each
/// other, those that see most first.
template <class C>
struct BlockPlace {
  long batch, row, column, part;

  __device__ __forceinline__ BlockPlace(long count, long parts, bool is_last_first) {
    const long tiles = (count + C::rows - 1) / C::rows, block = static_cast<long>(blockIdx.x);
    const long tile = block / parts % tiles;
    part = block % parts;
    batch = block / parts / tiles;
    row = (is_last_first ? tiles - 1 - tile : tile) * C::rows;
    column = part * C::columns;
  }
};

/// Over the 16 threads of a row, each value by the same order of pairs.
template <class T, class Join>
__device__ __forceinline__ T over_row(T x, Join join) {
#pragma unroll
  for (int bits = 8; bits > 0; bits /= 2) x = join(x, __shfl_xor_sync(~0u, x, bits));
  return x;
}

/// exp(x - highest), where that of -inf is 0 beside any maximum.
template <class T>
__device__ __forceinline__ T power(T x, T highest) {
  return math::exp(highest == -math::infinity<T>() ? x : x - highest);
}

/// y = softmax(scores) v and lse = log of the sum of exp(scores), 0 where a query sees nothing.
template <class C, class P, class Y, class T>
__device__ void forward(const P& p, const Y& y, T* lse) {
  struct Memory {
    Shared<C> shared;
    typename Shared<C>::Weights weights;
  };
  Memory& memory = shared_memory<Memory>();
  const BlockPlace<C> at(p.queries, p.parts, P::is_causal);
  const auto q = part_of(p.q, at.batch, p.queries, p.depth).from(at.row, 0);
  const auto k = part_of(p.k, at.batch, p.keys, p.depth);
  const auto v = part_of(p.v, at.batch, p.keys, p.value_depth);

  T highest[C::own_rows], total[C::own_rows];
  Sums<C> sums = {};
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i) {
    highest[i] = -math::infinity<T>();
    total[i] = T(0);
  }
  const long end = P::is_causal && at.row + C::rows < p.keys ? at.row + C::rows : p.keys;
  for (long key = 0; key < end; key += C::others) {
    Scores<C> s;
    dot<C>(s, memory.shared, q, k.from(key, 0));
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i) {
      T now = highest[i];
#pragma unroll
      for (int j = 0; j < C::own_others; ++j) {
        s[i][j] = p.score(s[i][j], at.batch, at.row + C::row(i), key + C::other(j));
        now = math::maximum(now, s[i][j]);
      }
      now = over_row(now, [](T a, T b) { return math::maximum(a, b); });
      const T factor = power(highest[i], now);
      highest[i] = now;
      T sum = T(0);
#pragma unroll
      for (int j = 0; j < C::own_others; ++j) {
        s[i][j] = power(s[i][j], now);
        sum = sum + s[i][j];
      }
      total[i] = total[i] * factor + sum;  // of this thread's share of the row
#pragma unroll
      for (int c = 0; c < C::own_columns; ++c) sums[i][c] = sums[i][c] * factor;
    }
    put<C>(memory.weights, s);
    mix<C>(sums, memory.shared, memory.weights, v.from(key, at.column));
  }

#pragma unroll
  for (int i = 0; i < C::own_rows; ++i) {
    total[i] = over_row(total[i], [](T a, T b) { return a + b; });
    const T factor = total[i] == T(0) ? T(0) : T(1) / total[i];
#pragma unroll
    for (int c = 0; c < C::own_columns; ++c) sums[i][c] = sums[i][c] * factor;
    const long row = at.row + C::row(i);
    if (at.part == 0 && C::lane() == 0 && row < p.queries)
      lse[at.batch * p.queries + row] = total[i] == T(0) ? T(0) : highest[i] + math::log(total[i]);
  }
  put<C>(rows_of(y, at.batch), at.row, p.queries, at.column, p.value_depth, sums);
}

}  // namespace blockgrad::gpu::attention
