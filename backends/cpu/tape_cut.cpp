#include "backends/cpu/tape_cut.h"

#include <algorithm>
#include <numeric>

#include "backends/cpu/sweep.h"

namespace blockgrad {

namespace {

constexpr std::int64_t least_chunk = 256;         // elements
constexpr std::int64_t chunk_budget = 24 * 1024;  // bytes of slots and streams
constexpr std::int64_t part_size = 16384;         // elements at most, about
constexpr std::int64_t part_work = 65536;         // and elements times instructions

// A processor looks ahead in few streams, and within a page: if a chunk takes long, it has seen all
// of that when the next page begins.
constexpr std::size_t many_streams = 8;
constexpr std::int64_t near_bytes = 64 * 1024;  // that stay in the L1 cache

std::int64_t divided_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }
std::int64_t rounded_up(std::int64_t n, std::int64_t unit) { return divided_up(n, unit) * unit; }

/// Few parts are an even number of nearly equal ones, of nearly equal chunks: two threads have
/// equal shares. Chunks of rows stay as they are.
void even_out(TapeCut& cut, const TapeNeeds& needs, std::int64_t unit) {
  const std::int64_t parts = divided_up(needs.elements, cut.part);
  if (parts <= 1 || parts > 16) return;
  const std::int64_t even = divided_up(needs.elements, rounded_up(parts, 2));
  if (needs.row > 0) {
    cut.part = rounded_up(even, cut.chunk);
    return;
  }
  const std::int64_t part = rounded_up(even, unit);
  const std::int64_t chunks = divided_up(part, cut.chunk);
  cut.chunk = rounded_up(divided_up(part, chunks), unit);
  cut.part = chunks * cut.chunk;
}

}  // namespace

TapeCut cut_tape(const TapeNeeds& needs) {
  const std::int64_t wanted = std::clamp(chunk_budget / needs.bytes,
                                         std::max(least_chunk, needs.period), largest_tape_chunk);
  std::int64_t unit = needs.period;
  for (const std::int64_t whole : {sweep_block, std::int64_t{16}}) {
    if (unit == needs.period && std::lcm(needs.period, whole) <= wanted)
      unit = std::lcm(needs.period, whole);
  }
  TapeCut cut{};
  cut.fetches_ahead = (needs.streams >= many_streams || needs.is_unforeseen) &&
                      needs.elements * needs.bytes > near_bytes;
  if (needs.row > 0) {
    cut.chunk = wanted / least_chunk * least_chunk;
    while (needs.row % cut.chunk != 0) cut.chunk -= least_chunk;
  } else {
    cut.chunk = std::max<std::int64_t>(1, std::min(wanted / unit * unit, needs.elements));
  }
  const std::int64_t part = std::min(part_size, part_work / needs.steps);
  cut.part = std::max<std::int64_t>(1, part / cut.chunk) * cut.chunk;
  even_out(cut, needs, unit);
  return cut;
}

std::int64_t row_of(const Walk& walk) {
  const std::int64_t row = walk.rank < 2 ? 0 : walk.sizes[static_cast<std::size_t>(walk.rank - 1)];
  return walk.step() == 1 && row % least_chunk == 0 ? row : 0;
}

std::int64_t period_of(const Walk& walk) {
  std::int64_t period = 1;
  int axis = walk.rank;
  while (axis > 0 && walk.strides[static_cast<std::size_t>(axis - 1)] == period)
    period *= walk.sizes[static_cast<std::size_t>(--axis)];
  const bool repeats = axis == 1 && walk.strides[0] == 0;
  return repeats && period > 1 ? period : 0;
}

}  // namespace blockgrad
