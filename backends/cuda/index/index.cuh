#pragma once
// Elements and rows by number. Rows lie densely and have `width` elements or words; nothing adds
// with atomics, so what meets in one place follows the order of positions.

namespace blockgrad::index {

struct alignas(16) Word {
  long low, high;
};

/// Whether 16 bytes at a time can be read and written there.
__device__ inline bool are_aligned(const void* a, const void* b) {
  return ((reinterpret_cast<u64>(a) | reinterpret_cast<u64>(b)) & 15) == 0;
}

/// f(i) for i in [0, n), spread over the grid.
template <class F>
__device__ void each(long n, F f) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

/// The numbers i in [0, size) for which i * step lies in [rest - high, rest - low].
struct Steps {
  long first, last;

  __device__ Steps(long rest, long step, long low, long high, long size) {
    long least = rest - high, greatest = rest - low;
    if (step < 0) {
      const long swapped = -least;
      least = -greatest;
      greatest = swapped;
      step = -step;
    }
    if (step == 0) {
      first = 0;
      last = least <= 0 && greatest >= 0 ? size - 1 : -1;
      return;
    }
    first = least <= 0 ? 0 : (least + step - 1) / step;
    last = greatest < 0 ? -1 : greatest / step;
    if (last >= size) last = size - 1;
  }
};

/// y = x where `fits` holds, else 0, and the least position where it does not goes to the slot.
template <class T, class Fits>
__device__ void check(long n, const T* x, T* y, unsigned long long* slot, Fits fits) {
  each(n, [&](long i) {
    const T value = x[i];
    const bool is_good = fits(value);
    if (!is_good) atomicMin(slot, static_cast<unsigned long long>(i));
    y[i] = is_good ? value : T(0);
  });
}

template <long width, class T, class Index>
__device__ void gather_rows(long count, const T* __restrict__ x, const Index* __restrict__ i,
                            T* __restrict__ y) {
  constexpr int ahead = 4;  // loads on their way
  const long step = static_cast<long>(gridDim.x) * blockDim.x, n = count * width;
  for (long p = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; p < n;
       p += ahead * step) {
    T values[ahead];
    for (int a = 0; a < ahead; ++a) {
      const long at = p + a * step;
      if (at < n) values[a] = x[static_cast<long>(i[at / width]) * width + at % width];
    }
    for (int a = 0; a < ahead; ++a) {
      const long at = p + a * step;
      if (at < n) y[at] = values[a];
    }
  }
}

/// y[k] = x[i[k]].
template <long width, class T, class Index>
__device__ void gather(long count, const T* x, const Index* i, T* y) {
  if constexpr (width * sizeof(T) % sizeof(Word) == 0) {
    if (are_aligned(x, y))
      return gather_rows<width* static_cast<long>(sizeof(T)) / 16>(
          count, reinterpret_cast<const Word*>(x), i, reinterpret_cast<Word*>(y));
  }
  gather_rows<width>(count, x, i, y);
}

/// y = x, or x[0] everywhere.
template <bool is_number, class T>
__device__ void copy(long n, const T* x, T* y) {
  if constexpr (is_number) {
    const T value = *x;
    each(n, [&](long i) { y[i] = value; });
  } else {
    long first = 0;
    if (are_aligned(x, y)) {
      constexpr long of_word = 16 / static_cast<long>(sizeof(T));
      each(n / of_word,
           [&](long i) { reinterpret_cast<Word*>(y)[i] = reinterpret_cast<const Word*>(x)[i]; });
      first = n / of_word * of_word;
    }
    each(n - first, [&](long i) { y[first + i] = x[first + i]; });
  }
}

/// Adds v[k] to row i[k] for few k: the first that names a row looks for the others.
template <long width, class T, class Index>
__device__ void add_few(long count, const Index* i, const T* v, T* y) {
  each(count * width, [&](long p) {
    const long k = p / width, c = p % width;
    const Index row = i[k];
    for (long before = 0; before < k; ++before)
      if (i[before] == row) return;
    T sum = y[row * width + c];
    for (long later = k; later < count; ++later)
      if (i[later] == row) sum = math::add(sum, v[later * width + c]);
    y[row * width + c] = sum;
  });
}

/// sum + v at the entries first .. end-1, one after the other; loads run ahead of the additions.
template <long width, class T, class Entry>
__device__ T add_in_order(T sum, const T* v, const Entry* entries, long first, long end, long c) {
  constexpr int ahead = 8;
  long e = first;
  for (; e + ahead <= end; e += ahead) {
    T values[ahead];
    for (int a = 0; a < ahead; ++a) values[a] = v[entries[e + a].place() * width + c];
    for (int a = 0; a < ahead; ++a) sum = math::add(sum, values[a]);
  }
  for (; e < end; ++e) sum = math::add(sum, v[entries[e].place() * width + c]);
  return sum;
}

/// Where the entries of the key at `first` end, sorted ones.
template <class Entry>
__device__ long end_of_run(long count, const Entry* entries, long first) {
  const u64 key = entries[first].key();
  long last = first;  // has the key
  for (long reach = 1; last + reach < count && entries[last + reach].key() == key; reach *= 2)
    last += reach;
  long behind = count;
  while (behind - last > 1) {
    const long middle = last + (behind - last) / 2;
    if (entries[middle].key() == key) last = middle;
    else behind = middle;
  }
  return behind;
}

/// The same for any number, by the sorted (row, position): the first entry of a row does it.
template <long width, class T, class Entry>
__device__ void add_sorted(long count, const Entry* entries, const T* v, T* y) {
  each(count * width, [&](long p) {
    const long first = p / width, c = p % width;
    const u64 row = entries[first].key();
    if (first > 0 && entries[first - 1].key() == row) return;
    T* const to = y + static_cast<long>(row) * width + c;
    *to = add_in_order<width>(*to, v, entries, first, end_of_run(count, entries, first), c);
  });
}

/// What is written by number: v[k] to row i[k] for k below the count, rows outside [0, height) left
/// out.
template <class T, class Index>
struct Written {
  long most, height;
  const long* count;  // null: `most`
  const Index* i;
  const T* v;
  T* y;

  __device__ long rows() const { return count == nullptr || *count > most ? most : *count; }
  __device__ bool is_inside(long k) const { return i[k] >= 0 && i[k] < height; }

  template <long width, bool is_number>
  __device__ void write(long k, long c) const {
    y[static_cast<long>(i[k]) * width + c] = is_number ? *v : v[k * width + c];
  }
};

/// For few k: each looks for a later one that names its row.
template <long width, bool is_number, class T, class Index>
__device__ void put_few(const Written<T, Index>& to) {
  const long rows = to.rows();
  each(rows * width, [&](long p) {
    const long k = p / width;
    if (!to.is_inside(k)) return;
    for (long later = k + 1; later < rows; ++later)
      if (to.i[later] == to.i[k]) return;
    to.template write<width, is_number>(k, p % width);
  });
}

/// last[row]: the last k that names the row, of the rows that are named. First all are set to -1.
template <class T, class Index>
__device__ void forget(const Written<T, Index>& to, long long* last) {
  each(to.rows(), [&](long k) {
    if (to.is_inside(k)) last[to.i[k]] = -1;
  });
}
template <class T, class Index>
__device__ void claim(const Written<T, Index>& to, long long* last) {
  each(to.rows(), [&](long k) {
    if (to.is_inside(k)) atomicMax(last + to.i[k], static_cast<long long>(k));
  });
}
template <long width, bool is_number, class T, class Index>
__device__ void put_last(const Written<T, Index>& to, const long long* last) {
  each(to.rows() * width, [&](long p) {
    const long k = p / width;
    if (to.is_inside(k) && last[to.i[k]] == k) to.template write<width, is_number>(k, p % width);
  });
}

constexpr long heads_of_thread = 8;  // entries in a row that a thread looks at

template <class Entry>
__device__ bool is_head(const Entry* entries, long e) {
  return e == 0 || entries[e - 1].key() != entries[e].key();
}

/// heads[b]: how many keys begin in the entries of block b.
template <class Entry>
__device__ void count_heads(long n, const Entry* entries, unsigned* heads) {
  unsigned* const all = shared<unsigned>();
  if (threadIdx.x == 0) *all = 0;
  __syncthreads();
  const long first = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) * heads_of_thread;
  unsigned own = 0;
  for (long e = first; e < n && e < first + heads_of_thread; ++e)
    if (is_head(entries, e)) ++own;
  atomicAdd(all, own);
  __syncthreads();
  if (threadIdx.x == 0) heads[blockIdx.x] = *all;
}

/// starts[k]: the first entry of the k-th key; behind the last one, n. count: of keys, or `most` if
/// that is less. The grid is that of count_heads.
template <class Entry>
__device__ void mark_starts(long n, long most, const Entry* entries, const unsigned* heads,
                            long* starts, long* count) {
  unsigned long long* const sums = shared<unsigned long long>();  // of threads, up to each
  unsigned long long before = 0;
  for (long b = threadIdx.x; b < blockIdx.x; b += blockDim.x) before += heads[b];
  if (threadIdx.x == 0) sums[blockDim.x] = 0;
  __syncthreads();
  atomicAdd(sums + blockDim.x, before);
  const long first = (static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x) * heads_of_thread;
  unsigned own = 0;
  for (long e = first; e < n && e < first + heads_of_thread; ++e)
    if (is_head(entries, e)) ++own;
  sums[threadIdx.x] = own;
  for (unsigned reach = 1; reach < blockDim.x; reach *= 2) {
    __syncthreads();
    const unsigned long long other = threadIdx.x >= reach ? sums[threadIdx.x - reach] : 0;
    __syncthreads();
    sums[threadIdx.x] += other;
  }
  __syncthreads();
  long key = static_cast<long>(sums[blockDim.x] + sums[threadIdx.x]) - own;
  for (long e = first; e < n && e < first + heads_of_thread; ++e)
    if (is_head(entries, e)) starts[key++] = e;
  if (blockIdx.x + 1 < gridDim.x || threadIdx.x + 1 < blockDim.x) return;
  starts[key] = n;
  *count = key < most ? key : most;
}

/// What mark_starts leaves behind the starts of *count keys; one thread.
__device__ inline void end_starts(long n, long most, long* starts, long* count) {
  starts[*count] = n;
  if (*count > most) *count = most;
}

/// rows[k] and sums[k] = 0 + v.. of the entries of the k-th key, in their order; 0 behind the
/// count. `sign` is what the keys of the indices were changed by.
template <long width, class T, class Index, class Entry>
__device__ void merge_sorted(long most, u64 sign, const Entry* entries, const long* starts,
                             const long* count, const T* v, Index* rows, T* sums) {
  const long merged = *count;
  each(most, [&](long k) {
    rows[k] = k < merged ? static_cast<Index>(entries[starts[k]].key() ^ sign) : Index(0);
  });
  if constexpr (width > 0) {
    each(most * width, [&](long p) {
      const long k = p / width;
      sums[p] = k < merged
                    ? add_in_order<width>(T(0), v, entries, starts[k], starts[k + 1], p % width)
                    : T(0);
    });
  }
}

}  // namespace blockgrad::index
