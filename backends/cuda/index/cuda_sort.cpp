#include "backends/cuda/index/cuda_sort.h"

#include <bit>
#include <optional>

#include "backends/cuda/index/cuda_radix_sort.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/ops/order.h"

namespace blockgrad {

namespace {

constexpr int tile_shift = 11;  // as in sort.cuh
constexpr std::int64_t tile_slots = std::int64_t{1} << tile_shift;
constexpr std::int64_t least_slots = 512;  // that a block sorts, of several lines if they are short

struct Sorting {
  CudaWork& kernel;
  ScratchBytes& scratch;
  const CudaKeys& keys;
  std::int64_t count;
  const CudaLimits& limits;

  std::string entry() const { return std::string(entry_type(keys)); }
  std::int64_t entry_bytes() const { return keys.is_wide ? 16 : 8; }

  // Sorts tiles of lines of n, `kept` of each, into lines of `stride`.
  void sort_tiles(const CudaParameter& from, const std::string& loaded, std::int64_t n,
                  std::int64_t kept, std::int64_t stride, const CudaParameter& to) {
    const std::int64_t tiles = (n + tile_slots - 1) / tile_slots;
    const int shift =
        tiles > 1 ? tile_shift : std::countr_zero(std::bit_ceil(static_cast<std::uint64_t>(n)));
    const std::int64_t per_block = std::max<std::int64_t>(1, least_slots >> shift);
    CudaLaunch launch = index_launch(
        "sort_tiles",
        {number_parameter("lines", keys.lines), number_parameter("tiles", tiles),
         number_parameter("n", n), number_parameter("shift", shift),
         number_parameter("per_block", per_block), number_parameter("kept", kept),
         number_parameter("stride", stride), from, to},
        "index::sort_tiles<" + entry() + ">({lines, tiles, n, shift, per_block}, {kept, stride}, " +
            "[&](long i, long at) { return " + loaded + "; }, y);",
        (checked_multiply(keys.lines, tiles) + per_block - 1) / per_block);
    launch.shared_bytes = static_cast<int>((per_block << shift) * entry_bytes());
    kernel.launches.push_back(std::move(launch));
  }

  // Merges sorted runs of a tile and longer ones in place, the last time into `to`.
  void merge(std::int64_t entries, const CudaParameter& to) {
    const std::int64_t n = keys.n, tiles = (n + tile_slots - 1) / tile_slots;
    for (int level = tile_shift; std::int64_t{1} << level < n; ++level) {
      const bool is_last = std::int64_t{1} << (level + 1) >= n;
      int half = level;
      for (; half > tile_shift; half -= 2) two_steps(entries, half, half == level);
      if (half == tile_shift) step(entries, half, half == level);
      CudaLaunch launch = index_launch(
          "merge_tiles",
          {number_parameter("tiles", tiles), number_parameter("n", n),
           number_parameter("kept", tile_slots), number_parameter("stride", is_last ? count : n),
           scratch_parameter("const " + entry(), "entries", entries),
           is_last ? to : scratch_parameter(entry(), "y", entries)},
          "index::merge_in_tiles(tiles, n, {kept, stride}, entries, y);",
          checked_multiply(keys.lines, tiles));
      launch.shared_bytes = static_cast<int>(tile_slots * entry_bytes());
      kernel.launches.push_back(std::move(launch));
    }
  }

  // The steps of this half and the next one.
  void two_steps(std::int64_t entries, int half, bool is_mirrored) {
    const std::int64_t run = std::int64_t{2} << half;
    const std::int64_t fours = (keys.n + run - 1) / run * (run / 4);
    kernel.launches.push_back(
        index_launch("sort_two_steps",
                     {number_parameter("lines", keys.lines), number_parameter("n", keys.n),
                      number_parameter("fours", fours), number_parameter("half", half),
                      scratch_parameter(entry(), "entries", entries)},
                     std::string("index::two_steps_in_memory<") + (is_mirrored ? "true" : "false") +
                         ">(lines, n, fours, half, entries);",
                     blocks_for(checked_multiply(keys.lines, fours), limits)));
  }

  void step(std::int64_t entries, int half, bool is_mirrored) {
    // Pairs whose lower entry lies in the line: their runs begin there.
    const std::int64_t run = std::int64_t{2} << half;
    const std::int64_t pairs = (keys.n + run - 1) / run * (run / 2);
    kernel.launches.push_back(index_launch(
        "sort_step",
        {number_parameter("lines", keys.lines), number_parameter("n", keys.n),
         number_parameter("pairs", pairs), number_parameter("half", half),
         number_parameter("mirrored", is_mirrored), scratch_parameter(entry(), "entries", entries)},
        "index::step_in_memory(lines, n, pairs, half, mirrored != 0, entries);",
        blocks_for(checked_multiply(keys.lines, pairs), limits)));
  }

  std::int64_t entries_of(std::int64_t line) {
    return scratch.take(checked_multiply(checked_multiply(keys.lines, line), entry_bytes()));
  }

  // Each tile gives its first `count`, until one tile holds a line; then `to`.
  void select(const std::string& loaded, const CudaParameter& to) {
    CudaParameter from = keys.values;
    std::string entry_at = loaded;
    std::int64_t n = keys.n;
    std::int64_t buffers[] = {-1, -1};
    for (int turn = 0; n > tile_slots; turn = 1 - turn) {
      const std::int64_t next = (n + tile_slots - 1) / tile_slots * count;
      if (buffers[turn] < 0) buffers[turn] = entries_of(next);
      sort_tiles(from, entry_at, n, count, next, scratch_parameter(entry(), "y", buffers[turn]));
      from = scratch_parameter("const " + entry(), "x", buffers[turn]);
      entry_at = "x[i]";
      n = next;
    }
    sort_tiles(from, entry_at, n, count, count, to);
  }

  void run(const CudaParameter& to) {
    if (keys.lines == 0 || count == 0) return;
    const std::string loaded = entry() + "::make(" + keys.key + ", at)";
    if (count <= tile_slots / 2 || keys.n <= tile_slots) return select(loaded, to);
    const std::int64_t entries = entries_of(keys.n);
    sort_tiles(keys.values, loaded, keys.n, tile_slots, keys.n,
               scratch_parameter(entry(), "y", entries));
    merge(entries, to);
  }
};

}  // namespace

std::string_view entry_type(const CudaKeys& keys) {
  return keys.is_wide ? "index::Wide" : "index::Narrow";
}

SortedKeys add_sort(CudaWork& kernel, ScratchBytes& scratch, const CudaKeys& keys,
                    const CudaTarget& target) {
  check_internal(keys.lines == 1, "one line is sorted, not ", keys.lines);
  const SortChoice choice = choose_sort(keys, keys.n, target);
  kernel.why += "; by " + choice.why;
  if (choice.by_library) return {add_radix_sort(kernel, scratch, keys, target).at, true};
  Sorting sorting{kernel, scratch, keys, keys.n, target.limits};
  const std::int64_t sorted = sorting.entries_of(keys.n);
  sorting.run(scratch_parameter(sorting.entry(), "y", sorted));
  return {sorted, false};
}

namespace {

// The low bits of keys that are the same, or follow from the others: halves are compared as f32.
int first_bit_of(DType dtype) {
  if (dtype == DType::bf16) return 16;
  return dtype == DType::f16 ? 13 : 0;
}

}  // namespace

CudaWork sort_kernel(const CudaRequest& request) {
  const Operand& x = request.inputs[0];
  const Shape& shape = x.layout.shape;
  const Sort& op = *request.node.op.as<Sort>();
  CudaKeys keys;
  keys.values = input_parameter(cuda_type(x.dtype), "x", 0);
  keys.key = op.descending ? "~index::key_of(x[i])" : "index::key_of(x[i])";
  keys.is_wide = size_of(x.dtype) == 8;
  keys.n = shape[shape.rank() - 1];
  keys.lines = op.count == 0 ? 0 : request.outputs[0].layout.shape.size() / op.count;
  keys.first_bit = first_bit_of(x.dtype);
  keys.end_bit = x.dtype == DType::u8 ? 8 : 0;
  const SortChoice choice = choose_sort(keys, op.count, request.target);
  CudaWork kernel;
  ScratchBytes scratch;
  if (choice.by_library) {
    const RadixSorted sorted = add_radix_sort(kernel, scratch, keys, request.target);
    kernel.launches.push_back(index_launch(
        "store_places",
        {number_parameter("lines", keys.lines), number_parameter("n", keys.n),
         number_parameter("count", op.count), number_parameter("bits", sorted.place_bits),
         scratch_parameter("const " + std::string(entry_type(keys)), "entries", sorted.at),
         output_parameter("int", "y")},
        "index::store_places(lines, n, count, bits, entries, y);",
        blocks_for(checked_multiply(keys.lines, op.count), request.target.limits)));
  } else {
    Sorting{kernel, scratch, keys, op.count, request.target.limits}.run(
        output_parameter("int", "y"));
  }
  kernel.scratch = scratch.size();
  kernel.why = join({keys.lines, " lines of ", keys.n, "; by ", choice.why});
  return kernel;
}

}  // namespace blockgrad
