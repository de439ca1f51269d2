#pragma once
// How the rows of an epoch fall into batches, and a batch into the pieces that one step of a
// program takes. Without micro_batch a batch is one piece.

#include <cstdint>
#include <vector>

namespace blockgrad::train {

/// Rows [first, last) in the order of the epoch.
struct Piece {
  std::int64_t first = 0, last = 0;
  std::int64_t batch = 0;  // of the epoch, from 0
  bool ends_batch = true;

  std::int64_t rows() const { return last - first; }
};

/// Batches of `batch` rows, cut into pieces of `piece` rows; the last batch and the last piece of a
/// batch have the rows that are left. All numbers at least 1.
std::vector<Piece> pieces_of(std::int64_t rows, std::int64_t batch, std::int64_t piece);

}  // namespace blockgrad::train
