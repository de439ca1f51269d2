#pragma once
// What the blocks of a row program copy to slots: operands in any layout, and rows of tables by
// their numbers.

#include <cstddef>
#include <cstdint>
#include <cstring>

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

/// Lines that are rows of a table.
struct RowTake {
  const std::byte *table, *numbers;
  bool is_narrow;      // the numbers are i32
  std::int64_t bytes;  // of a row

  const std::byte* row(std::int64_t line) const {
    const std::int64_t number = is_narrow ? reinterpret_cast<const std::int32_t*>(numbers)[line]
                                          : reinterpret_cast<const std::int64_t*>(numbers)[line];
    return table + number * bytes;
  }
  void copy(std::byte* out, std::int64_t first, std::int64_t lines) const {
    for (std::int64_t l = 0; l < lines; ++l)
      std::memcpy(out + l * bytes, row(first + l), static_cast<std::size_t>(bytes));
  }
};

}  // namespace blockgrad
