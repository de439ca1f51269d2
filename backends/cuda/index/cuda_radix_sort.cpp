#include "backends/cuda/index/cuda_radix_sort.h"

#include <bit>
#include <utility>

#include "backends/cuda/index/cuda_sorts.h"

namespace blockgrad {

namespace {

constexpr int tile_shift = 11;  // as in sort.cuh

int bits_for(std::int64_t n) {  // to tell n things apart
  return n <= 1 ? 0 : static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1)));
}

int key_bits(const CudaKeys& keys) { return keys.is_wide ? 64 : 32; }

/// Tiles once, then for each doubling two steps a pass down to a tile, and the tiles.
std::int64_t network_passes(std::int64_t n) {
  std::int64_t passes = 1;
  for (int level = tile_shift; std::int64_t{1} << level < n; ++level)
    passes += (level - tile_shift + 2) / 2 + 1;
  return passes;
}

/// Of one sort: its histogram, and each digit.
std::int64_t digit_passes(int bits) { return 1 + (bits + 7) / 8; }

/// Entries made, sorted by key and by line, and their places stored.
std::int64_t radix_passes(const CudaKeys& keys) {
  const int lines = bits_for(keys.lines);
  return 2 + digit_passes(keys.last_bit() - keys.first_bit) +
         (lines == 0 ? 0 : digit_passes(lines));
}

CudaArg in_scratch(std::int64_t at) { return {CudaArg::Kind::scratch, 0, at}; }

}  // namespace

SortChoice choose_sort(const CudaKeys& keys, std::int64_t count, const CudaTarget& target) {
  constexpr std::int64_t tile = std::int64_t{1} << tile_shift;
  if (keys.n <= tile || keys.lines == 0 || count == 0)
    return {false, "networks in shared memory, as a line fits there"};
  if (count <= tile / 2) return {false, "networks in shared memory, as few of each tile are kept"};
  const std::int64_t networks = network_passes(keys.n), radix = radix_passes(keys);
  const CudaSorts* sorts = target.libraries.sorts;
  if (sorts == nullptr)
    return {false, join({"networks, ", networks, " passes over memory; there is no CUB here"})};
  if (checked_multiply(keys.lines, keys.n) > CudaSorts::most ||
      bits_for(keys.lines) + bits_for(keys.n) > key_bits(keys))
    return {false, join({"networks, as there are too many keys for ", sorts->name()})};
  if (networks <= radix)
    return {false, join({"networks, ", networks, " passes over memory where ", sorts->name(),
                         "'s radix sort takes ", radix})};
  return {true, join({sorts->name(), "'s radix sort, ", radix,
                      " passes over memory where networks take ", networks})};
}

RadixSorted add_radix_sort(CudaWork& kernel, ScratchBytes& scratch, const CudaKeys& keys,
                           const CudaTarget& target) {
  const CudaSorts& sorts = *target.libraries.sorts;
  const std::string entry(entry_type(keys));
  const std::int64_t all = checked_multiply(keys.lines, keys.n);
  const CudaSorts::Entries entries{all, keys.is_wide};
  const int width = key_bits(keys), place_bits = bits_for(keys.n), lines = bits_for(keys.lines);
  std::int64_t from = scratch.take(entries.bytes()), to = scratch.take(entries.bytes());
  const std::int64_t workspace = scratch.take(CudaSorts::sort_bytes(entries));
  kernel.launches.push_back(index_launch(
      "make_entries",
      {number_parameter("lines", keys.lines), number_parameter("n", keys.n),
       number_parameter("shift", place_bits), keys.values, scratch_parameter(entry, "y", from)},
      "index::make_entries(lines, n, shift, [&](long i, long at) { return " + entry + "::make(" +
          keys.key + ", at); }, y);",
      blocks_for(all, target.limits)));
  const auto sort = [&](int first, int last) {
    kernel.launches.push_back(sorts.sort(entries, {first, last}, in_scratch(from), in_scratch(to),
                                         in_scratch(workspace)));
    std::swap(from, to);
  };
  sort(width + keys.first_bit, width + keys.last_bit());
  if (lines > 0) sort(place_bits, place_bits + lines);
  return {from, place_bits};
}

}  // namespace blockgrad
