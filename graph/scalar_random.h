#pragma once
// Uniform numbers from Philox blocks, the same on every device: a pure function of the element's
// number, a counter and a key.

#include "blockgrad/graph/philox.h"
#include "graph/scalar_pow.h"

namespace blockgrad::math {

/// In [0, 1), all multiples of 2^-24 or 2^-53, from one or two words.
template <class T>
BG_SCALAR T unit_interval(u32 first, u32 second) {
  if constexpr (Same<T, float>::value) {
    return static_cast<T>(static_cast<int>(first >> 8)) * 0x1p-24f;
  } else {
    return static_cast<T>(static_cast<long>(((static_cast<u64>(second) << 32) | first) >> 11)) *
           0x1p-53;
  }
}

/// The block of element `index`: words 0 and 1 of the Philox counter; word 2 the low half of
/// `counter` (the step), word 3 its high half (the stream).
BG_SCALAR PhiloxBlock random_block(long index, long counter, long key) {
  const u64 i = static_cast<u64>(index), c = static_cast<u64>(counter), k = static_cast<u64>(key);
  return philox({{static_cast<u32>(i), static_cast<u32>(i >> 32), static_cast<u32>(c),
                  static_cast<u32>(c >> 32)}},
                static_cast<u32>(k), static_cast<u32>(k >> 32));
}

/// Two independent numbers per element.
template <class T>
BG_SCALAR T uniform_low(long index, long counter, long key) {
  const PhiloxBlock block = random_block(index, counter, key);
  return unit_interval<T>(block.word[0], block.word[1]);
}
template <class T>
BG_SCALAR T uniform_high(long index, long counter, long key) {
  const PhiloxBlock block = random_block(index, counter, key);
  return unit_interval<T>(block.word[2], block.word[3]);
}

}  // namespace blockgrad::math
