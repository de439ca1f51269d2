#pragma once
// What a Reduce makes of the chunks of a long line, joined as a binary counter carries: in one
// order however many chunks are made at a time.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backends/cpu/row_tape.h"

namespace blockgrad {

/// Level l holds what 2^l' chunks made: those of the bits l' of their number, the highest first.
struct RowLevels {
  std::byte* memory;  // RowTape::most_levels of them
  RowJoin join;

  std::byte* level(int l) const { return memory + l * static_cast<std::ptrdiff_t>(sizeof(double)); }

  void add(std::int64_t chunk, const std::byte* made, int size) const {
    int top = std::popcount(static_cast<std::uint64_t>(chunk));
    std::memcpy(level(top), made, static_cast<std::size_t>(size));
    for (std::int64_t carry = chunk; carry & 1; carry >>= 1, --top)
      join(level(top - 1), level(top));
  }

  /// What all chunks made.
  void finish(std::int64_t chunks, std::byte* out, int size) const {
    int top = std::popcount(static_cast<std::uint64_t>(chunks)) - 1;
    for (; top > 0; --top) join(level(top - 1), level(top));
    std::memcpy(out, level(0), static_cast<std::size_t>(size));
  }
};

}  // namespace blockgrad
