#pragma once
// The gradient of attention by the tiles of attention.cuh: scores are made again from each query's
// lse. Each result is summed up by the blocks that own its rows, so a score is made twice.

#include "backends/cuda/attention/attention.cuh"

namespace blockgrad::gpu::attention {

/// What the gradient reads beside: dy, and of each query lse and delta, dense.
template <class T, class Operand>
struct Slopes {
  Operand dy;
  const T *lse, *delta;
};

/// dq = scale ds k for a tile of queries, where ds = p (dy v^T - delta) and p = exp(s - lse).
template <class C, class P, class Of, class Result>
__device__ void gradient_of_queries(const P& p, const Of& of, const Result& dq) {
  using T = typename C::Type;
  struct Memory {
    Shared<C> shared;
    typename Shared<C>::Weights weights;
  };
  Memory& memory = shared_memory<Memory>();
  const BlockPlace<C> at(p.queries, p.parts, P::is_causal);
  const auto q = part_of(p.q, at.batch, p.queries, p.depth).from(at.row, 0);
  const auto dy = part_of(of.dy, at.batch, p.queries, p.value_depth).from(at.row, 0);
  const auto k = part_of(p.k, at.batch, p.keys, p.depth);
  const auto v = part_of(p.v, at.batch, p.keys, p.value_depth);

  T lse[C::own_rows], delta[C::own_rows];
#pragma unroll
  for (int i = 0; i < C::own_rows; ++i) {
    const long row = at.row + C::row(i), query = at.batch * p.queries + row;
    lse[i] = row < p.queries ? of.lse[query] : T(0);
    delta[i] = row < p.queries ? of.delta[query] : T(0);
  }
  Sums<C> sums = {};
  const long end = P::is_causal && at.row + C::rows < p.keys ? at.row + C::rows : p.keys;
  for (long key = 0; key < end; key += C::others) {
    Scores<C> s;
    dot<C>(s, memory.shared, q, k.from(key, 0));
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
      for (int j = 0; j < C::own_others; ++j) {
        const T score = p.score(s[i][j], at.batch, at.row + C::row(i), key + C::other(j));
        s[i][j] = power(score, lse[i]);
      }
    put<C>(memory.weights, s);  // this thread reads them again, so that it holds one tile at a time
    dot<C>(s, memory.shared, dy, v.from(key, 0));
#pragma unroll
    for (int i = 0; i < C::own_rows; ++i)
#pragma unroll
      for (int j = 0; j < C::own_others; ++j)
        s[i][j] = memory.weights[C::row(i)][C::other(j)] * (s[i][j] - delta[i]) * p.scale;
    put<C>(memory.weights, s);
    mix<C>(sums, memory.shared, memory.weights, k.from(key, at.column));
  }
  put<C>(rows_of(dq, at.batch), at.row, p.queries, at.column, p.depth, sums);
}

/// dk = scale ds^T q and dv = p^T dy for a tile of keys.
template <class C, class P, class Of, class K, class V>
__device__ void gradient_of_keys(const P& p, const Of& of, const K& dk, const V& dv) {
  using T = typename C::Type;
  struct Memory {
    Shared<C> shared;
    typename Shared<C>::Weights p, ds;
  };
  Memory& memory = shared_memory<Memory>();
  const BlockPlace<C> at(p.keys, p.parts, false);
  const auto q = part_of(p.q, at.batch, p.queries, p.depth);
  const auto dy = part_of(of.dy, at.batch, p.queries, p.value_depth);
  const auto k = part_of(p.k, at.batch, p.keys, p.depth).from(at.row, 0);
  const auto v = part_of(p.v, at.batch, p.keys, p.value_depth).from(at.row, 0);

  Sums<C> sums_k = {}, sums_v = {};
  for (long query = P::is_causal ? at.row : 0; query < p.queries; query += C::others) {
    Scores<C> s;
    dot<C>(s, memory.shared, k, q.from(query, 0));
    const auto of_query = [&](const T* x, int j) {
      const long other = query + C::other(j);
      return other < p.queries ? x[at.batch * p.queries + other] : T(0);
    };
#pragma unroll
    for (int j = 0; j < C::own_others; ++j) {
      const T lse = of_query(of.lse, j);
#pragma unroll
      for (int i = 0; i < C::own_rows; ++i) {
        const T score = p.score(s[i][j], at.batch, query + C::other(j), at.row + C::row(i));
        s[i][j] = power(score, lse);
      }
    }
    put<C>(memory.p, s);
    dot<C>(s, memory.shared, v, dy.from(query, 0));
#pragma unroll
    for (int j = 0; j < C::own_others; ++j) {
      const T delta = of_query(of.delta, j);
#pragma unroll
      for (int i = 0; i < C::own_rows; ++i)
        s[i][j] = memory.p[C::row(i)][C::other(j)] * (s[i][j] - delta) * p.scale;
    }
    put<C>(memory.ds, s);
    mix<C>(sums_v, memory.shared, memory.p, dy.from(query, at.column));
    mix<C>(sums_k, memory.shared, memory.ds, q.from(query, at.column));
  }
  put<C>(rows_of(dk, at.batch), at.row, p.keys, at.column, p.depth, sums_k);
  put<C>(rows_of(dv, at.batch), at.row, p.keys, at.column, p.value_depth, sums_v);
}

}  // namespace blockgrad::gpu::attention
