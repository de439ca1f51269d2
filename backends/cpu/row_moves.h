#pragma once
// What the blocks of a row program copy: operands in any layout to a slot, and values per line to
// all elements of their lines.

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backends/cpu/walk.h"

namespace blockgrad {

template <class T>
void load_as(const Walk& walk, std::byte* out, const std::byte* in, std::int64_t first,
             std::int64_t n) {
  walk.load(reinterpret_cast<T*>(out), reinterpret_cast<const T*>(in), first, n);
}

inline void load_run(const Walk& walk, std::int32_t size, std::byte* out, const std::byte* in,
                     std::int64_t first, std::int64_t n) {
  switch (size) {
    case 1: return load_as<std::uint8_t>(walk, out, in, first, n);
    case 2: return load_as<std::uint16_t>(walk, out, in, first, n);
    case 4: return load_as<std::uint32_t>(walk, out, in, first, n);
    default: return load_as<std::uint64_t>(walk, out, in, first, n);
  }
}

// out[o, k, i] = in[o, i].
template <class T>
void spread_as(std::byte* to, const std::byte* from, std::int64_t outers, std::int64_t n,
               std::int64_t columns) {
  T* out = reinterpret_cast<T*>(to);
  const T* in = reinterpret_cast<const T*>(from);
  for (std::int64_t o = 0; o < outers; ++o, in += columns) {
    if (columns == 1) {
      out = std::fill_n(out, n, *in);
      continue;
    }
    for (std::int64_t k = 0; k < n; ++k) out = std::copy_n(in, columns, out);
  }
}

inline void spread(std::int32_t size, std::byte* out, const std::byte* in, std::int64_t outers,
                   std::int64_t n, std::int64_t columns) {
  switch (size) {
    case 1: return spread_as<std::uint8_t>(out, in, outers, n, columns);
    case 2: return spread_as<std::uint16_t>(out, in, outers, n, columns);
    case 4: return spread_as<std::uint32_t>(out, in, outers, n, columns);
    default: return spread_as<std::uint64_t>(out, in, outers, n, columns);
  }
}

}  // namespace blockgrad
