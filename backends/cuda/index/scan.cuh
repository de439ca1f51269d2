#pragma once
// Running sums. Element j of a line is carry + local: `local` adds up its block of 256 from the
// block's start, `carry` the blocks before it, one after the other.

namespace blockgrad::index {

constexpr long scan_block = 256;

/// x is seen as [outer, n, inner], and walked along n, from its end if `reverse`.
struct ScanShape {
  long outer, n, inner;
  bool reverse;

  __device__ long blocks() const { return (n + scan_block - 1) / scan_block; }
  __device__ long place(long line, long j, long column) const {
    return (line * n + (reverse ? n - 1 - j : j)) * inner + column;
  }
};

template <class Sum>
__device__ Sum nothing() {
  if constexpr (math::Kind<Sum>::is_floating) return static_cast<Sum>(-0.0);
  else return Sum(0);
}

/// Sums are signed; they wrap.
template <class Sum, class T>
__device__ Sum as_sum(T x) {
  return static_cast<Sum>(x);
}

/// f(line, block, column) for every one of them, columns next to each other.
template <class F>
__device__ void each_scan_block(const ScanShape& shape, F f) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x, blocks = shape.blocks();
  const long all = shape.outer * blocks * shape.inner;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += step) {
    const long row = i / shape.inner;
    f(row / blocks, row % blocks, i % shape.inner);
  }
}

/// totals [outer, blocks, inner]: the sum of each block.
template <class Sum, class T>
__device__ void scan_totals(const ScanShape& shape, const T* x, Sum* totals) {
  each_scan_block(shape, [&](long line, long block, long column) {
    const long first = block * scan_block;
    const long end = first + scan_block < shape.n ? first + scan_block : shape.n;
    Sum local = nothing<Sum>();
    for (long j = first; j < end; ++j)
      local = math::add(local, as_sum<Sum>(x[shape.place(line, j, column)]));
    totals[(line * shape.blocks() + block) * shape.inner + column] = local;
  });
}

/// Each total is replaced by the sum of those before it.
template <class Sum>
__device__ void scan_carries(long outer, long blocks, long inner, Sum* totals) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  constexpr int ahead = 8;  // totals on their way
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < outer * inner;
       i += step) {
    Sum* const line = totals + i / inner * blocks * inner + i % inner;
    Sum carry = nothing<Sum>();
    long b = 0;
    for (; b + ahead <= blocks; b += ahead) {
      Sum next[ahead];
      for (int a = 0; a < ahead; ++a) next[a] = line[(b + a) * inner];
      for (int a = 0; a < ahead; ++a) {
        line[(b + a) * inner] = carry;
        carry = math::add(carry, next[a]);
      }
    }
    for (; b < blocks; ++b) {
      const Sum total = line[b * inner];
      line[b * inner] = carry;
      carry = math::add(carry, total);
    }
  }
}

/// Without totals there is one block a line.
template <class Sum, class T>
__device__ void scan_sums(const ScanShape& shape, const T* x, const Sum* carries, Sum* y) {
  each_scan_block(shape, [&](long line, long block, long column) {
    const long first = block * scan_block;
    const long end = first + scan_block < shape.n ? first + scan_block : shape.n;
    const Sum carry = carries == nullptr
                          ? nothing<Sum>()
                          : carries[(line * shape.blocks() + block) * shape.inner + column];
    Sum local = nothing<Sum>();
    for (long j = first; j < end; ++j) {
      const long at = shape.place(line, j, column);
      local = math::add(local, as_sum<Sum>(x[at]));
      y[at] = math::add(carry, local);
    }
  });
}

constexpr long scan_chunk = 32;  // elements of a block that are in shared memory at a time

/// The same sums of lines whose elements are neighbours: a thread adds up a block, and all threads
/// together move chunks of their blocks, so that memory is read and written in whole lines. With y,
/// what scan_sums does; without, scan_totals.
template <class Sum, class T>
__device__ void scan_dense(const ScanShape& shape, const T* x, Sum* totals, const Sum* carries,
                           Sum* y) {
  const long threads = blockDim.x, own = threadIdx.x, row = scan_chunk + 1;
  Sum* const tile = shared<Sum>();
  long* const starts = reinterpret_cast<long*>(tile + threads * row);  // of each thread's block
  long* const counts = starts + threads;
  const long blocks = shape.blocks(), all = shape.outer * blocks;
  const long one = shape.reverse ? -1 : 1;
  for (long first = blockIdx.x * threads; first < all; first += gridDim.x * threads) {
    const long at = first + own, line = at / blocks, j = at % blocks * scan_block;
    const long left = shape.n - j < scan_block ? shape.n - j : scan_block;
    const long count = at < all ? left : 0;
    Sum carry = nothing<Sum>(), local = nothing<Sum>();
    if (at < all && carries != nullptr) carry = carries[at];
    __syncthreads();  // the last stores of the round before are done
    starts[own] = shape.place(line, j, 0);
    counts[own] = count;
    for (long c = 0; c < scan_block; c += scan_chunk) {
      __syncthreads();
      for (long i = own; i < threads * scan_chunk; i += threads) {
        const long of = i / scan_chunk, k = i % scan_chunk;
        if (c + k < counts[of]) tile[of * row + k] = as_sum<Sum>(x[starts[of] + one * (c + k)]);
      }
      __syncthreads();
      for (long k = 0; k < scan_chunk && c + k < count; ++k) {
        local = math::add(local, tile[own * row + k]);
        tile[own * row + k] = math::add(carry, local);
      }
      if (y == nullptr) continue;
      __syncthreads();
      for (long i = own; i < threads * scan_chunk; i += threads) {
        const long of = i / scan_chunk, k = i % scan_chunk;
        if (c + k < counts[of]) y[starts[of] + one * (c + k)] = tile[of * row + k];
      }
    }
    if (y == nullptr && at < all) totals[at] = local;
  }
}

}  // namespace blockgrad::index
