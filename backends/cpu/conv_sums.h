#pragma once
// The gradient of a convolution to its weight: for each element of the kernel a sum over all images
// and places. Immutable; any thread may run parts of it.

#include <cstddef>

#include "backends/cpu/conv_ahead.h"
#include "backends/cpu/conv_planes.h"

namespace blockgrad::detail {

/// result[o, k, p, q] = sum over images n and places (i, j) of
///   a[n, o, i, j] * source[n, k, row(i, p), column(j, q)], 0 outside of the source.
struct ConvSumsForm {
  std::int64_t images = 0, results = 0, channels = 0;  // n, o, k
  ConvAxis rows, columns;
  std::int64_t a_image = 0, source_image = 0;  // elements from one image to the next
};

/// An element is kept in lanes, see dot_lanes. Each line, which is a block of rows or a row as
/// ConvPlanes and row_block() say, begins at lane 0; a lane is one fma chain from +0 over blocks of
/// rows in blocks of images, in each over images, lines and places; where a line ends before its
/// last lanes, these add 0 times what is read behind it: elements of the same channel, or 0. The
/// lanes are added in the end, see ConvKernels::add_lanes. Those zeros and the ones around the
/// source are no terms: lanes of a NaN element that are NaN are made again without them.
class ConvSums {
 public:
  template <class T>
  ConvSums(const ConvSumsForm& form, const ConvKernels<T>& kernels);

  /// Channels k that are made at a time, and how often that is; the same for results o.
  std::int64_t channel_blocks() const { return channel_blocks_; }
  std::int64_t result_blocks() const { return result_blocks_; }
  std::int64_t scratch() const { return planes_size_ + panel_size_ + sums_size_; }
  std::int64_t image_block() const { return images_at_a_time_; }
  std::int64_t row_block() const { return planes_.block(); }

  /// Blocks first .. last-1 of the results, for channels of one block. `a` and `source` begin at
  /// the first result and channel of all, `to` likewise; results lie `to_result` apart.
  template <class T>
  void run(const ConvKernels<T>& kernels, const T* a, const T* source, T* to,
           std::int64_t to_result, std::int64_t channel_block, std::int64_t first,
           std::int64_t last, T* scratch) const noexcept;

 private:
  /// Images n .. n+images-1 and the rows of a block.
  struct Unit {
    std::int64_t image = 0, images = 0, top = 0, rows = 0;
  };
  template <class T>
  struct Operands {
    const T* a;
    const T* source;
    std::int64_t results, channels;
  };

  template <class T>
  bool has_slides(const ConvKernels<T>& kernels) const;
  Unit unit_at(std::int64_t image, std::int64_t top) const;
  Unit next(const Unit& unit) const;
  /// What a unit reads of the operands.
  template <class T>
  ConvSpans<T> spans_of_a(const Unit& unit, const Operands<T>& from) const;
  template <class T>
  ConvSpans<T> spans_of_source(const Unit& unit, const Operands<T>& from) const;
  template <class T>
  void build(const ConvKernels<T>& kernels, const Unit& unit, const Operands<T>& from, T* planes,
             bool has_gaps) const noexcept;
  template <class T>
  void copy_to_panel(const ConvKernels<T>& kernels, const Unit& unit, const T* a,
                     std::int64_t results, T* panel) const noexcept;
  template <class T>
  void add_unit(const ConvKernels<T>& kernels, const Unit& unit, const Operands<T>& from,
                T* scratch, bool load) const noexcept;
  template <class T>
  void end_sums(const ConvKernels<T>& kernels, const Operands<T>& from, T* to,
                std::int64_t to_result, T* scratch) const noexcept;
  template <class T>
  T mended(const ConvKernels<T>& kernels, const T* lanes, const T* a, const T* source,
           std::int64_t tap) const noexcept;
  template <class T>
  T lane(const T* a, const T* source, std::int64_t tap, std::int64_t e) const noexcept;
  template <class T>
  bool add_line(const T* a, const T* source, std::int64_t first, std::int64_t height,
                std::int64_t tap, std::int64_t e, T& sum) const noexcept;

  ConvAxis row_axis_, column_axis_;
  ConvPlanes planes_;
  std::vector<ConvTap> taps_;         // those that read one plane are neighbours
  std::vector<std::int64_t> places_;  // of each tap in a result
  std::vector<ConvTap> steps_;  // where the vectors of a unit's lines begin in `a` and the planes
  std::vector<std::int64_t> sources_;  // in the planes alone
  std::int64_t images_, results_, channels_, taps_per_channel_;
  std::int64_t rows_, columns_, a_image_, source_image_, source_channel_;
  std::int64_t channels_at_a_time_, images_at_a_time_, channel_blocks_, result_blocks_;
  std::int64_t image_planes_, planes_size_, panel_size_, sums_size_;
  bool is_a_in_place_;  // read where it lies, not from a panel
  bool slides_;         // taps of a column are made by slides
};

}  // namespace blockgrad::detail
