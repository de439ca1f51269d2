#pragma once
// What the blocks of a row program copy: operands in any layout to a slot.

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

}  // namespace blockgrad
