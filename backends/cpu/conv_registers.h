#pragma once
// What keeps compilers from other plans for the registers of convolution kernels. Included only by
// the units conv_*.cpp; internal linkage throughout (see simd.h).

#include <cstdint>

namespace blockgrad::detail {
namespace {

/// Compilers would rather add up each address from its parts, or keep each multiple of a distance,
/// than let an access add and multiply.
template <class T>
void hide(T& x) {
  asm("" : "+r"(x));
}

template <class T>
const T* at_byte(const T* p, std::int64_t bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(p) + bytes);
}

/// Up to eight rows of a matrix by two pointers, the second one at row 3, and two distances, which
/// accesses multiply by 1, 2 or 4.
template <class T>
struct RowPointers {
  const T* first;
  std::int64_t row, three_rows;  // in bytes

  const T* operator[](int r) const {
    const T* const begin = r < 5 ? first : at_byte(first, three_rows);
    const int rows = r < 5 ? r : r - 3;
    return at_byte(begin, rows == 3 ? three_rows : rows * row);
  }
};

/// Compilers would rather read a vector again for each use than keep it, and loads are scarce.
template <class Reg>
void keep_in_register(Reg& x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
}

/// Compilers would rather put a sum where this was than leave it in its register.
template <class Reg>
void keep_until_here(const Reg& x) {
#if defined(__x86_64__)
  asm("" : : "v"(x));
#elif defined(__aarch64__)
  asm("" : : "w"(x));
#endif
}

}  // namespace
}  // namespace blockgrad::detail
