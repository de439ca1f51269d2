#include "train/pieces.h"

#include <algorithm>

namespace blockgrad::train {

std::vector<Piece> pieces_of(std::int64_t rows, std::int64_t batch, std::int64_t piece) {
  std::vector<Piece> pieces;
  for (std::int64_t first = 0, b = 0; first < rows; first += batch, ++b) {
    const std::int64_t last = std::min(first + batch, rows);
    for (std::int64_t from = first; from < last; from += piece) {
      const std::int64_t to = std::min(from + piece, last);
      pieces.push_back({from, to, b, to == last});
    }
  }
  return pieces;
}

}  // namespace blockgrad::train
