#pragma once
// Keys sorted by networks of comparisons that depend on the number of keys alone. A key goes with
// its place, so that no two are equal and the order is the stable one. Tiles of up to `tile_slots`
// are sorted in shared memory; longer lines take passes through memory. All comparisons put the
// lesser entry in front, so what lies behind a line counts as greatest and takes no memory.
// Source: Batcher 1968, "Sorting networks and their applications" (bitonic sorter).

namespace blockgrad::index {

using u32 = unsigned int;
using u64 = unsigned long;

constexpr int tile_shift = 11;  // a tile in shared memory: 2048 entries

/// A key of 4 bytes before its place.
struct Narrow {
  u64 bits;

  static __device__ Narrow make(u32 key, long place) {
    return {static_cast<u64>(key) << 32 | static_cast<u32>(place)};
  }
  static __device__ Narrow greatest() { return {~0ul}; }
  __device__ u64 key() const { return bits >> 32; }
  __device__ long place() const { return static_cast<u32>(bits); }
  __device__ bool operator<(const Narrow& other) const { return bits < other.bits; }
};

struct Wide {
  u64 name, at;

  static __device__ Wide make(u64 key, long place) { return {key, static_cast<u64>(place)}; }
  static __device__ Wide greatest() { return {~0ul, ~0ul}; }
  __device__ u64 key() const { return name; }
  __device__ long place() const { return static_cast<long>(at); }
  __device__ bool operator<(const Wide& other) const {
    return name != other.name ? name < other.name : at < other.at;
  }
};

/// An unsigned number that sorts as the value does: -0 as 0, NaN last.
__device__ inline u32 key_of(float x) {
  if (x != x) return ~0u;
  const u32 bits = x == 0 ? 0u : math::bits(x);
  return (bits & 1u << 31) != 0 ? ~bits : bits | 1u << 31;
}
__device__ inline u64 key_of(double x) {
  if (x != x) return ~0ul;
  const u64 bits = x == 0 ? 0ul : math::bits(x);
  return (bits & 1ul << 63) != 0 ? ~bits : bits | 1ul << 63;
}
__device__ inline u32 key_of(bf16 x) { return key_of(static_cast<float>(x)); }
__device__ inline u32 key_of(f16 x) { return key_of(static_cast<float>(x)); }
__device__ inline u32 key_of(int x) { return static_cast<u32>(x) ^ 1u << 31; }
__device__ inline u64 key_of(long x) { return static_cast<u64>(x) ^ 1ul << 63; }
__device__ inline u32 key_of(unsigned char x) { return x; }

/// Lines of n elements as entries, whose places are (line << shift) + place in the line, for a sort
/// that takes all lines at once; load(i, place) is the entry of element i of all.
template <class Load, class Entry>
__device__ void make_entries(long lines, long n, long shift, Load load, Entry* to) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < lines * n; i += step)
    to[i] = load(i, (i / n << shift) + i % n);
}

/// The places in the line of the first `count` entries of each line.
template <class Entry>
__device__ void store_places(long lines, long n, long count, long bits, const Entry* entries,
                             int* to) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x, all = lines * count;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += step)
    to[i] = static_cast<int>(entries[i / count * n + i % count].place() & ((1l << bits) - 1));
}

/// The dynamic shared memory of a block.
template <class T>
__device__ T* shared() {
#ifdef __CUDACC__
  extern __shared__ __align__(16) unsigned char index_memory[];
  return reinterpret_cast<T*>(index_memory);
#else
  return static_cast<T*>(harness::shared_memory(sizeof(T)));
#endif
}

template <class Entry>
__device__ void put_in_order(Entry& lower, Entry& upper) {
  if (!(upper < lower)) return;
  const Entry kept = lower;
  lower = upper;
  upper = kept;
}

/// Pair p of those that a step compares: runs of 2 `half` entries, each entry of the lower half
/// with the one `half` further on, or, where a merge of two sorted runs begins, with its mirror.
struct Pair {
  long lower, upper;

  __device__ Pair(long p, int half_shift, bool is_mirrored) {
    const long half = 1l << half_shift, at = p & (half - 1);
    const long start = p >> half_shift << (half_shift + 1);
    lower = start + at;
    upper = is_mirrored ? start + 2 * half - 1 - at : start + half + at;
  }
};

template <class Entry>
__device__ void step_in_tile(Entry* tile, long slots, int half_shift, bool is_mirrored) {
  __syncthreads();
  for (long p = threadIdx.x; p < slots / 2; p += blockDim.x) {
    const Pair pair(p, half_shift, is_mirrored);
    put_in_order(tile[pair.lower], tile[pair.upper]);
  }
}

/// Where the sorted entries of a line go: those in front of each tile, `kept` of them, one tile
/// behind the other, `stride` in all; as entries, or as their places.
struct Kept {
  long kept, stride;

  template <class Entry, class To>
  __device__ void store(long line, long tile, long slot, const Entry& entry, To* to) const {
    const long at = tile * kept + slot;
    if (slot < kept && at < stride) put(entry, to + line * stride + at);
  }
  template <class Entry>
  static __device__ void put(const Entry& entry, Entry* to) {
    *to = entry;
  }
  template <class Entry>
  static __device__ void put(const Entry& entry, int* to) {
    *to = static_cast<int>(entry.place());
  }
};

/// Lines of n entries, cut into tiles of 2^shift slots, of which a block sorts `per_block`.
struct Tiles {
  long lines, of_line, n, shift, per_block;
};

/// Sorts each tile; load(i, at) is the entry of element i of all, which is element `at` of its
/// line.
template <class Entry, class Load, class To>
__device__ void sort_tiles(const Tiles& tiles, const Kept& kept, Load load, To* to) {
  Entry* const tile = shared<Entry>();
  const long first = blockIdx.x * tiles.per_block, slots = tiles.per_block << tiles.shift;
  const long mask = (1l << tiles.shift) - 1, all = tiles.lines * tiles.of_line;
  for (long i = threadIdx.x; i < slots; i += blockDim.x) {
    const long t = first + (i >> tiles.shift), line = t / tiles.of_line;
    const long at = (t % tiles.of_line << tiles.shift) + (i & mask);
    tile[i] = t < all && at < tiles.n ? load(line * tiles.n + at, at) : Entry::greatest();
  }
  for (int level = 0; level < tiles.shift; ++level) {
    step_in_tile(tile, slots, level, true);
    for (int half = level; half-- > 0;) step_in_tile(tile, slots, half, false);
  }
  __syncthreads();
  for (long i = threadIdx.x; i < slots; i += blockDim.x) {
    const long t = first + (i >> tiles.shift);
    if (t < all) kept.store(t / tiles.of_line, t % tiles.of_line, i & mask, tile[i], to);
  }
}

/// One step on lines of n entries in memory; `pairs` of a line are looked at.
template <class Entry>
__device__ void step_in_memory(long lines, long n, long pairs, long half_shift, bool is_mirrored,
                               Entry* entries) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < lines * pairs;
       i += step) {
    const Pair pair(i % pairs, static_cast<int>(half_shift), is_mirrored);
    Entry* const line = entries + i / pairs * n;
    if (pair.upper < n) put_in_order(line[pair.lower], line[pair.upper]);
  }
}

/// Two steps at once, of 2^half_shift and half of that: four entries a thread, read and written
/// once.
template <bool is_mirrored, class Entry>
__device__ void two_steps_in_memory(long lines, long n, long fours, long half_shift,
                                    Entry* entries) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x, quarter = 1l << (half_shift - 1);
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < lines * fours;
       i += step) {
    const long four = i % fours, at = four & (quarter - 1);
    const long start = four >> (half_shift - 1) << (half_shift + 1);
    const long lower = start + at;
    const long upper = start + (is_mirrored ? 3 * quarter - 1 - at : 2 * quarter + at);
    const long places[] = {lower, lower + quarter, upper, upper + quarter};
    Entry* const line = entries + i / fours * n;
    Entry e[4];
    for (int k = 0; k < 4; ++k) e[k] = places[k] < n ? line[places[k]] : Entry::greatest();
    put_in_order(e[0], e[is_mirrored ? 3 : 2]);
    put_in_order(e[1], e[is_mirrored ? 2 : 3]);
    put_in_order(e[0], e[1]);
    put_in_order(e[2], e[3]);
    for (int k = 0; k < 4; ++k)
      if (places[k] < n) line[places[k]] = e[k];
  }
}

/// The steps of a merge that stay within a tile; a block a tile.
template <class Entry, class To>
__device__ void merge_in_tiles(long of_line, long n, const Kept& kept, const Entry* entries,
                               To* to) {
  Entry* const tile = shared<Entry>();
  const long line = blockIdx.x / of_line, t = blockIdx.x % of_line;
  const long start = t << tile_shift, slots = 1l << tile_shift;
  for (long i = threadIdx.x; i < slots; i += blockDim.x)
    tile[i] = start + i < n ? entries[line * n + start + i] : Entry::greatest();
  for (int half = tile_shift; half-- > 0;) step_in_tile(tile, slots, half, false);
  __syncthreads();
  for (long i = threadIdx.x; i < slots; i += blockDim.x) kept.store(line, t, i, tile[i], to);
}

}  // namespace blockgrad::index
