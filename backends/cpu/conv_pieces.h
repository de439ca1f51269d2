#pragma once
// How the results of a convolution are cut into the parts of a kernel, in an order in which a run
// of parts packs the kernel's rows seldom: parts of the same rows follow each other, but where the
// rows of all groups are small, and images are taken one by one.

#include <algorithm>
#include <cstdint>

namespace blockgrad::detail {

/// The results first .. last-1 of a group, in a block of rows of an image.
struct ConvPiece {
  std::int64_t image = 0, group = 0, block = 0, first = 0, last = 0;
};

class ConvPieces {
 public:
  ConvPieces() = default;
  /// `results` of a group; `weight`: bytes that one of them reads; `least_cuts`: of a group's
  /// results, if there are enough.
  ConvPieces(std::int64_t images, std::int64_t groups, std::int64_t results, std::int64_t blocks,
             std::int64_t weight, std::int64_t least_cuts = 1)
      : images_(images), groups_(groups), results_(results), blocks_(blocks) {
    const std::int64_t most = std::max<std::int64_t>(1, results / least_results);
    const std::int64_t bytes = results * weight;
    cuts_ = std::clamp((bytes + most_bytes - 1) / most_bytes, std::min(least_cuts, most), most);
    are_together_ = groups > 1 && groups * bytes <= most_bytes;
  }

  std::int64_t parts() const { return results_ > 0 ? images_ * groups_ * blocks_ * cuts_ : 0; }
  ConvPiece piece(std::int64_t part) const {
    ConvPiece piece;
    std::int64_t cut = 0;
    if (are_together_) {
      cut = part % cuts_;
      piece.block = part / cuts_ % blocks_;
      piece.group = part / cuts_ / blocks_ % groups_;
      piece.image = part / cuts_ / blocks_ / groups_;
    } else {
      piece.block = part % blocks_;
      piece.image = part / blocks_ % images_;
      cut = part / blocks_ / images_ % cuts_;
      piece.group = part / blocks_ / images_ / cuts_;
    }
    piece.first = results_ * cut / cuts_;
    piece.last = results_ * (cut + 1) / cuts_;
    return piece;
  }

  /// How many rows of the kernel are packed at a time, and which of them is a piece's first one.
  std::int64_t rows() const {
    return are_together_ ? groups_ * results_ : (results_ + cuts_ - 1) / cuts_;
  }
  std::int64_t row(const ConvPiece& piece) const {
    return are_together_ ? piece.group * results_ + piece.first : 0;
  }
  /// Calls pack(piece) for all whose rows are to be packed before `part`, the first one of a run of
  /// parts or not.
  template <class F>
  void each_to_pack(std::int64_t part, bool is_first, const F& pack) const {
    if (!are_together_) {
      if (is_first || part % (blocks_ * images_) == 0) pack(piece(part));
      return;
    }
    if (!is_first) return;
    for (std::int64_t group = 0; group < groups_; ++group) {
      for (std::int64_t cut = 0; cut < cuts_; ++cut) pack(piece(group * blocks_ * cuts_ + cut));
    }
  }

 private:
  // Rows that many bytes large are read from the second cache level again for each image; each
  // image is copied to its planes again for the next ones.
  static constexpr std::int64_t most_bytes = 1024 * 1024;
  // Enough for the copies of an image that are made for them.
  static constexpr std::int64_t least_results = 16;

  std::int64_t images_ = 0, groups_ = 0, results_ = 0, blocks_ = 0, cuts_ = 1;
  bool are_together_ = false;
};

}  // namespace blockgrad::detail
