#pragma once
// How the elements of a tape are cut: chunks of all values stay in the L1 cache, parts are what one
// thread takes at a time. By shape alone, so threads do not change a part.

#include <cstdint>

#include "backends/cpu/walk.h"

namespace blockgrad {

inline constexpr std::int64_t largest_tape_chunk = 1024;

struct TapeNeeds {
  std::int64_t elements = 0;
  std::int64_t bytes = 1;      // of all slots and streams, for an element
  std::int64_t steps = 1;      // instructions, loads and stores
  std::int64_t period = 1;     // of all repeated operands together; 1 for none
  std::int64_t row = 0;        // the length of rows that lie apart and are used there; 0 for none
  std::size_t streams = 0;     // through memory
  bool is_unforeseen = false;  // operands are strided, or a chunk takes long
};

struct TapeCut {
  std::int64_t chunk, part;  // a part is whole chunks
  bool fetches_ahead;        // what a chunk moves, while the one before is worked on
};

/// With a period, chunks are multiples of it, of whole vectors if that can be; with rows, they
/// divide a row.
TapeCut cut_tape(const TapeNeeds& needs);

/// The length of a layout's rows if they lie apart, each without gaps, and can be cut in chunks;
/// else 0.
std::int64_t row_of(const Walk& walk);

/// After how many elements a layout starts again, having stepped through memory without gaps; 0 if
/// it does not.
std::int64_t period_of(const Walk& walk);

}  // namespace blockgrad
