#pragma once
// What attention does with blocks of scores between its products, for one instruction set. Equal
// bits on every instruction set.

#include <cstdint>

#include "backends/cpu/isa.h"

namespace blockgrad {

/// A block of scores: products of `rows` queries and `width` keys, rows `ld` apart, a multiple of
/// 16, and aligned to 64 bytes. Row r sees the keys below seen + r; what it does not see may be
/// anything.
template <class T>
struct ScoreBlock {
  T* s = nullptr;
  std::int64_t rows = 0, width = 0, ld = 0, seen = 0;
  T scale = 1;
  // Of the mask, if there is one, at the block's first element; one of the two.
  const T* added = nullptr;
  const unsigned char* allowed = nullptr;
  std::int64_t mask_row = 0, mask_column = 0;  // strides; that of columns is 0 or 1
};

template <class T>
struct AttentionRows {
  /// s = s * scale + mask, -inf where the mask hides a key; afterwards the scale is 1.
  void (*add_mask)(ScoreBlock<T>& block);
  /// maxima[r] grows to the greatest s * scale of its row. NaN may be left out: it shows in the
  /// powers.
  void (*maxima)(const ScoreBlock<T>& block, T* maxima);
  /// s = exp(s * scale - x[r]), exp(s * scale) where x[r] is -inf, and 0 for keys not seen and
  /// behind the width. If asked, sums[r] is their sum: 16 lanes, then a tree.
  void (*powers)(const ScoreBlock<T>& block, const T* x, T* sums);
  /// ds = p * (dp - delta[r]) * scale, in place of dp, and 0 for keys not seen; p is the block's s.
  void (*slopes)(const ScoreBlock<T>& block, T* dp, const T* delta, T scale);
  /// y[r, c] = y[r, c] * factor[r].
  void (*rescale)(T* y, std::int64_t rows, std::int64_t columns, std::int64_t ld, const T* factor);
};

struct AttentionTable {
  AttentionRows<float> f32;
  AttentionRows<double> f64;
};

/// The functions for a supported instruction set.
const AttentionTable& attention_table(Isa isa);

}  // namespace blockgrad
