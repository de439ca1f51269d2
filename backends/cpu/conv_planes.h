#pragma once
// Shifted copies of an image, by which a convolution becomes a product of the kernel with lines of
// numbers that lie in memory one behind the other: no im2col matrix, which would hold every element
// once per element of the kernel.
//
// A plane is a part of one channel's rows, cut (or padded with zeros) to what the result's columns
// meet at one column of the kernel. The result's element (i, j), counted as i * columns + j, then
// meets element i * columns + j of the plane, shifted by whole rows for each row of the kernel. So
// a channel has as many planes as the kernel has columns, and the lines run on over the ends of
// rows. Where rows are long enough to fill vectors, one plane per residue of the stride suffices,
// and a line is a row, which begins at a whole vector if it is made of such; if so, a vector of
// zeros between two rows is the padding of both, and stays from image to image. Where no padding is
// met and nothing is skipped, the image itself is the plane.

#include <cstdint>
#include <vector>

#include "backends/cpu/conv_ahead.h"
#include "backends/cpu/conv_kernels.h"

namespace blockgrad::detail {

/// Element i of the result meets element i * stride + offsets[t] of the source at tap t; outside of
/// the source are zeros.
struct ConvAxis {
  std::int64_t source = 0, result = 0, stride = 1;
  std::vector<std::int64_t> offsets;
};

class ConvPlanes {
 public:
  /// Planes for `block` rows of the result at a time. `work`: how many vectors of products each
  /// vector of the source takes part in per tap; `least`: how many a line takes the time of,
  /// however short; `lanes`: elements of a vector. The image itself stands for its planes only if
  /// `may_be_in_place`.
  ConvPlanes(const ConvAxis& rows, const ConvAxis& columns, std::int64_t block, double work,
             double least, std::int64_t lanes, bool may_be_in_place = true);

  std::int64_t block() const { return block_; }
  bool is_in_place() const { return is_in_place_; }
  /// Elements of a channel's planes, and from one channel to the next.
  std::int64_t channel() const { return channel_; }
  /// Where in a channel the line of the result's first row begins for these taps.
  std::int64_t place(std::size_t row_tap, std::size_t column_tap) const;

  /// The lines of `rows` rows of the result: how many, how long, and how far apart in the planes.
  std::int64_t line_count(std::int64_t rows) const { return is_flat_ ? 1 : rows; }
  std::int64_t line_length(std::int64_t rows) const {
    return is_flat_ ? rows * columns_ : columns_;
  }
  std::int64_t line_step() const { return row_step_; }

  /// The planes of `channels` channels for the result's rows from `first` on: where their first
  /// element lies, in `to` or in the source. Behind each plane in `to` are zeros for a vector.
  /// `has_gaps`: build() made planes of as many channels there before, and what lies between rows
  /// is still zero.
  template <class T>
  const T* build(const ConvKernels<T>& kernels, const T* source, std::int64_t channels,
                 std::int64_t first, T* to, bool has_gaps) const;

  /// About what build() reads that it did not read for the rows before `first`: without the rows
  /// that only taps reach.
  template <class T>
  ConvSpans<T> spans(const T* source, std::int64_t channels, std::int64_t first) const;

 private:
  /// Rows of the source one `stride` apart, and how many more than the block's.
  struct RowClass {
    std::int64_t first, more, begin;  // begin: of its planes in a channel
  };
  struct ColumnClass {
    std::int64_t from;  // the first column inside of the source
    ConvRow row;
    std::vector<std::uint64_t> inside;  // see ConvPlane; empty where it is null
  };
  struct Tap {
    std::size_t at;      // of its class
    std::int64_t shift;  // in it
  };
  struct Classes;
  template <class T>
  void build_near(const ConvKernels<T>& kernels, const T* source, std::int64_t channels,
                  std::int64_t first, T* to, bool has_gaps) const;
  std::int64_t plane_size(std::int64_t more) const;
  std::vector<std::uint64_t> pattern(const ConvRow& row) const;

  std::int64_t block_, columns_;
  std::int64_t source_rows_, source_columns_, row_stride_;
  bool is_flat_ = false, is_in_place_ = false;
  std::int64_t row_step_ = 0, channel_ = 0;
  std::int64_t gap_ = 0;  // zeros between rows that nothing else is ever written to
  std::int64_t in_place_from_ = 0;
  std::vector<RowClass> row_classes_;
  std::vector<ColumnClass> column_classes_;
  std::vector<Tap> row_taps_, column_taps_;
};

}  // namespace blockgrad::detail
