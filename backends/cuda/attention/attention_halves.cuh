#pragma once
// Attention of bf16 and f16 on tensor cores: the tiles of attention.cuh, where each of four warps
// owns 16 rows and keeps its scores in registers, from which the second product reads them as its
// left operand. Weights and slopes of scores are rounded to the halves' type for that, all sums are
// f32 (Dao 2023). The others' tiles are on their way to shared memory while tensor cores work.

#include "backends/cuda/attention/attention_gradient.cuh"
#include "backends/cuda/products/tensor_cores.cuh"

namespace blockgrad::gpu::attention {

/// How a block works; depths are padded to multiples of 16 with zeros.
template <class T, int depth_, int value_depth_, int others_, bool in_packs_>
struct HalfCut {
  using Type = T;
  static constexpr bool in_packs = in_packs_;
  static constexpr int rows = 64, others = others_, threads = 128;
  static constexpr int depth = depth_, value_depth = value_depth_, columns = 0;
  static constexpr int pack = Pack<T>::size;

  /// The row of a lane's values 2 h and 2 h + 1 of an instruction's result, and the first column.
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % 32; }
  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 32 * 16; }
  __device__ static int row(int h) { return first_row() + lane() / 4 + 8 * h; }
  __device__ static int column(int tile) { return 8 * tile + lane() % 4 * 2; }
};

/// A tile in shared memory; a pack between rows keeps ldmatrix off bank conflicts.
template <class T, int height, int width>
struct alignas(16) HalfTile {
  T value[height][width + Pack<T>::size];
};

/// Begins to fill the tile, 0 where there is nothing.
template <class C, class T, int height, int width>
__device__ __forceinline__ void begin_fetch(HalfTile<T, height, width>& to, const Part<T>& from) {
  if constexpr (!C::in_packs) {
    fetch<C, height, width>(to.value, from);
  } else {
    constexpr int chunks = width / C::pack, count = (height * chunks + C::threads - 1) / C::threads;
#pragma unroll 1  // registers are for sums
    for (int i = 0; i < count; ++i) {
      const int at = static_cast<int>(threadIdx.x) + i * C::threads;
      const int row = at / chunks, column = at % chunks * C::pack;
      if (row >= height) break;
      const bool is_there = row < from.rows && column < from.columns;
      copy_async(&to.value[row][column],
                 is_there ? from.data + row * from.stride + column : from.data, is_there ? 16 : 0);
    }
  }
}

/// A warp's part of a tile of scores, or of a result of `width` columns.
template <int width>
using Fragments = float[width / 8][4];

/// s = a b^T of the warp's 16 rows of a and all rows of b.
template <class C, class T, int rows, int others, int depth>
__device__ __forceinline__ void dot(Fragments<others>& s, const HalfTile<T, rows, depth>& a,
                                    const HalfTile<T, others, depth>& b) {
  const int lane = C::lane();
#pragma unroll
  for (int t = 0; t < others / 8; ++t)
#pragma unroll
    for (int i = 0; i < 4; ++i) s[t][i] = 0.0f;
#pragma unroll
  for (int k = 0; k < depth; k += 16) {
    unsigned of_rows[4];
    load_matrices(of_rows, &a.value[C::first_row() + lane % 16][k + lane / 16 * 8]);
#pragma unroll
    for (int n = 0; n < others; n += 16) {
      unsigned of_others[4];
      load_matrices(of_others, &b.value[n + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
      multiply_add(T(0.0f), s[n / 8], of_rows, of_others[0], of_others[1]);
      multiply_add(T(0.0f), s[n / 8 + 1], of_rows, of_others[2], of_others[3]);
    }
  }
}

/// Two numbers rounded to halves, the first one in the low bits.
template <class T>
__device__ __forceinline__ unsigned pair_of(float x, float y) {
#ifdef __CUDACC__
  unsigned pair;
  if constexpr (math::Same<T, bf16>::value)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  return pair;
#else
  return T(x).bits | static_cast<unsigned>(T(y).bits) << 16;
#endif
}

/// sums += w x, where the weights w are rounded to halves.
template <class C, class T, int others, int width>
__device__ __forceinline__ void mix(Fragments<width>& sums, const Fragments<others>& w,
                                    const HalfTile<T, others, width>& x) {
  const int lane = C::lane();
#pragma unroll
  for (int k = 0; k < others; k += 16) {
    // What a lane holds of two results side by side is what it holds of a left operand.
    const auto& low = w[k / 8];
    const auto& high = w[k / 8 + 1];
    const unsigned weights[4] = {pair_of<T>(low[0], low[1]), pair_of<T>(low[2], low[3]),
                                 pair_of<T>(high[0], high[1]), pair_of<T>(high[2], high[3])};
#pragma unroll
    for (int n = 0; n < width; n += 16) {
      unsigned values[4];
      load_transposed(values, &x.value[k + lane / 8 % 2 * 8 + lane % 8][n + lane / 16 * 8]);
      multiply_add(T(0.0f), sums[n / 8], weights, values[0], values[1]);
      multiply_add(T(0.0f), sums[n / 8 + 1], weights, values[2], values[3]);
    }
  }
}

/// exp(d) for d = x - highest, where that is a normal number: 2^(d / ln 2) with a relative error of
/// at most |d| 2^-23.7 by rounding the exponent, found in a sweep of d, and 2^-22 by the
/// instruction.
__device__ __forceinline__ float quick_power(float x, float highest) {
  const float d = highest == -math::infinity<float>() ? x : x - highest;
  return power_of_two(d * 0x1.715476p+0f);  // 1 / ln 2
}

/// Puts factor * sums at a matrix [height, width], from a row on; a lane's two neighbours at once
/// where that is aligned.
template <class C, int padded, class T>
__device__ __forceinline__ void put(const ResultRows<T>& to, long row, long height, long width,
                                    const Fragments<padded>& sums, float factor) {
  using Two = Run<T, 2>;
  const bool in_twos =
      (width | to.stride) % 2 == 0 && reinterpret_cast<unsigned long>(to.data) % sizeof(Two) == 0;
#pragma unroll
  for (int t = 0; t < padded / 8; ++t)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const long y = row + C::row(h), x = C::column(t);
      if (y >= height || x >= width) continue;
      T* const at = to.data + y * to.stride + x;
      const Two two{static_cast<T>(sums[t][2 * h] * factor),
                    static_cast<T>(sums[t][2 * h + 1] * factor)};
      if (in_twos) {
        *reinterpret_cast<Two*>(at) = two;
      } else {
        at[0] = two.value[0];
        if (x + 1 < width) at[1] = two.value[1];
      }
    }
}

/// As forward().
template <class C, class P, class Y>
__device__ void forward_of_halves(const P& p, const Y& y, float* lse) {
  using T = typename C::Type;
  struct Memory {
    HalfTile<T, C::rows, C::depth> q;
    HalfTile<T, C::others, C::depth> k;
    HalfTile<T, C::others, C::value_depth> v;
  };
  Memory& memory = shared_memory<Memory>();
  const BlockPlace<C> at(p.queries, p.parts, P::is_causal);
  const Part<T> q = part_of(p.q, at.batch, p.queries, p.depth).from(at.row, 0);
  const Part<T> k = part_of(p.k, at.batch, p.keys, p.depth);
  const Part<T> v = part_of(p.v, at.batch, p.keys, p.value_depth);

  float highest[2] = {-math::infinity<float>(), -math::infinity<float>()}, total[2] = {};
  Fragments<C::value_depth> sums = {};
  const long end = P::is_causal && at.row + C::rows < p.keys ? at.row + C::rows : p.keys;
  begin_fetch<C>(memory.q, q);
  begin_fetch<C>(memory.k, k);
  commit_copies();
  for (long key = 0; key < end; key += C::others) {
    wait_copies<0>();
    __syncthreads();  // the keys are there, and the values before are read by all
    begin_fetch<C>(memory.v, v.from(key, 0));
    commit_copies();
    Fragments<C::others> s;
    dot<C>(s, memory.q, memory.k);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float now = highest[h];
#pragma unroll
      for (int t = 0; t < C::others / 8; ++t)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) {
          s[t][i] = p.score(s[t][i], at.batch, at.row + C::row(h), key + C::column(t) + i % 2);
          now = math::maximum(now, s[t][i]);
        }
      now = math::maximum(now, __shfl_xor_sync(~0u, now, 1));
      now = math::maximum(now, __shfl_xor_sync(~0u, now, 2));
      const float factor = quick_power(highest[h], now);
      highest[h] = now;
      float sum = 0.0f;
#pragma unroll
      for (int t = 0; t < C::others / 8; ++t)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) {
          s[t][i] = quick_power(s[t][i], now);
          sum = sum + s[t][i];
        }
      total[h] = total[h] * factor + sum;  // of this lane's share of the row
#pragma unroll
      for (int t = 0; t < C::value_depth / 8; ++t)
#pragma unroll
        for (int i = 2 * h; i < 2 * h + 2; ++i) sums[t][i] = sums[t][i] * factor;
    }
    wait_copies<0>();
    __syncthreads();  // the values are there, and the keys are read by all
    if (key + C::others < end) begin_fetch<C>(memory.k, k.from(key + C::others, 0));
    commit_copies();
    mix<C>(sums, s, memory.v);
  }
  wait_copies<0>();

#pragma unroll
  for (int h = 0; h < 2; ++h) {
    total[h] = total[h] + __shfl_xor_sync(~0u, total[h], 1);
    total[h] = total[h] + __shfl_xor_sync(~0u, total[h], 2);
    const float factor = total[h] == 0.0f ? 0.0f : 1.0f / total[h];
#pragma unroll
    for (int t = 0; t < C::value_depth / 8; ++t)
#pragma unroll
      for (int i = 2 * h; i < 2 * h + 2; ++i) sums[t][i] = sums[t][i] * factor;
    const long row = at.row + C::row(h);
    if (C::lane() % 4 == 0 && row < p.queries)
      lse[at.batch * p.queries + row] = total[h] == 0.0f ? 0.0f : highest[h] + math::log(total[h]);
  }
  put<C, C::value_depth>(rows_of(y, at.batch), at.row, p.queries, p.value_depth, sums, 1.0f);
}

/// dq for a tile of queries, or dk and dv for one of keys: the same two products of rows and others
/// give p and ds, then ds meets the others' k or q, and p their dy.
template <class C, bool is_of_keys, class P, class Of, class X, class V>
__device__ void gradient_of_halves(const P& p, const Of& of, const X& dx, const V& dv) {
  using T = typename C::Type;
  struct Stage {
    HalfTile<T, C::others, C::depth> x;         // q or k
    HalfTile<T, C::others, C::value_depth> dp;  // dy or v
    float lse[C::others], delta[C::others];     // where the others are queries
  };
  struct Memory {
    HalfTile<T, C::rows, C::depth> x;
    HalfTile<T, C::rows, C::value_depth> dp;
    Stage stages[2];
  };
  Memory& memory = shared_memory<Memory>();
  const long count = is_of_keys ? p.keys : p.queries;
  const BlockPlace<C> at(count, p.parts, P::is_causal && !is_of_keys);
  const Part<T> q = part_of(p.q, at.batch, p.queries, p.depth);
  const Part<T> k = part_of(p.k, at.batch, p.keys, p.depth);
  const Part<T> v = part_of(p.v, at.batch, p.keys, p.value_depth);
  const Part<T> dy = part_of(of.dy, at.batch, p.queries, p.value_depth);
  const Part<T> x = is_of_keys ? q : k, dp = is_of_keys ? dy : v;

  const long begin = is_of_keys && P::is_causal ? at.row : 0;
  const long end = is_of_keys                                  ? p.queries
                   : P::is_causal && at.row + C::rows < p.keys ? at.row + C::rows
                                                               : p.keys;
  const auto fetch_others = [&](Stage& stage, long other) {
    begin_fetch<C>(stage.x, x.from(other, 0));
    begin_fetch<C>(stage.dp, dp.from(other, 0));
  };
  const auto of_query = [&](const float* from, long query) {
    return query < p.queries ? from[at.batch * p.queries + query] : 0.0f;
  };
  float lse[2], delta[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    lse[h] = is_of_keys ? 0.0f : of_query(of.lse, at.row + C::row(h));
    delta[h] = is_of_keys ? 0.0f : of_query(of.delta, at.row + C::row(h));
  }
  Fragments<C::depth> sums = {};
  Fragments<C::value_depth> sums_v = {};
  begin_fetch<C>(memory.x, (is_of_keys ? k : q).from(at.row, 0));
  begin_fetch<C>(memory.dp, (is_of_keys ? v : dy).from(at.row, 0));
  if (begin < end) fetch_others(memory.stages[0], begin);
  commit_copies();
  const int thread = static_cast<int>(threadIdx.x);
  const bool reads_queries = is_of_keys && thread < C::others;
  if (reads_queries) {
    memory.stages[0].lse[thread] = of_query(of.lse, begin + thread);
    memory.stages[0].delta[thread] = of_query(of.delta, begin + thread);
  }
  int stage = 0;
  for (long other = begin; other < end; other += C::others) {
    wait_copies<0>();
    __syncthreads();  // this stage is there for all, and the other one is read by all
    Stage &here = memory.stages[stage], &next = memory.stages[1 - stage];
    if (other + C::others < end) fetch_others(next, other + C::others);
    commit_copies();
    float next_lse = 0.0f, next_delta = 0.0f;
    if (reads_queries) {
      next_lse = of_query(of.lse, other + C::others + thread);
      next_delta = of_query(of.delta, other + C::others + thread);
    }
    Fragments<C::others> s, ds;
    dot<C>(s, memory.x, here.x);
    dot<C>(ds, memory.dp, here.dp);
#pragma unroll
    for (int t = 0; t < C::others / 8; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int column = C::column(t) + i % 2;
        const long row = at.row + C::row(i / 2), at_column = other + column;
        const float score =
            p.score(s[t][i], at.batch, is_of_keys ? at_column : row, is_of_keys ? row : at_column);
        s[t][i] = quick_power(score, is_of_keys ? here.lse[column] : lse[i / 2]);
        ds[t][i] = s[t][i] * (ds[t][i] - (is_of_keys ? here.delta[column] : delta[i / 2]));
      }
    if constexpr (is_of_keys) mix<C>(sums_v, s, here.dp);
    mix<C>(sums, ds, here.x);
    if (reads_queries) {
      next.lse[thread] = next_lse;
      next.delta[thread] = next_delta;
    }
    stage = 1 - stage;
  }
  wait_copies<0>();
  put<C, C::depth>(rows_of(dx, at.batch), at.row, count, p.depth, sums, p.scale);
  if constexpr (is_of_keys)
    put<C, C::value_depth>(rows_of(dv, at.batch), at.row, count, p.value_depth, sums_v, 1.0f);
}

}  // namespace blockgrad::gpu::attention
