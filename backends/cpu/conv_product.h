#pragma once
// A convolution as a product of the kernel's rows with lines of shifted planes: what the forward
// pass and the gradient to the input have in common. Immutable; any thread may run parts of it.

#include <cstddef>

#include "backends/cpu/conv_planes.h"

namespace blockgrad::detail {

/// result[r, i, j] = sum over channels k, row taps p and column taps q of
///   weight[r * weight_row + k * weight_channel + weight_taps[p][q]] * source[k, row(i, p),
///   column(j, q)],
/// with rows and columns as ConvAxis says, and 0 outside of the source.
struct ConvForm {
  std::int64_t results = 0, channels = 0;  // rows r, and terms k
  ConvAxis rows, columns;
  std::int64_t weight_row = 0, weight_channel = 0;
  std::vector<std::int64_t> weight_taps;  // row-major over the taps; negative: no term
  std::int64_t block = 0;                 // rows made at a time; 0: what fits the cache
  bool shares_planes = false;             // with products of forms that differ in weight_taps alone
};

/// What is in scratch: anything, what run() of the same product left, or what that of a product
/// left which reads the same planes, of the same place.
enum class ConvScratch { unknown, of_product, of_place };

/// Every element is one fma chain from +0 over k, p, q in this order, of the terms inside of the
/// source: an infinite weight adds nothing where it meets no element.
class ConvProduct {
 public:
  template <class T>
  ConvProduct(const ConvForm& form, const ConvKernels<T>& kernels);

  /// Rows of the result that are made at a time, and how often that is.
  std::int64_t block() const { return planes_.block(); }
  std::int64_t blocks() const { return blocks_; }
  /// Elements of scratch.
  std::int64_t scratch() const { return scratch_; }
  /// Elements of the weight that a result reads.
  std::int64_t terms() const { return channels_ * taps_per_channel_; }
  bool is_in_place() const { return planes_.is_in_place(); }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }

  /// A block of rows of an image, and where its results go.
  template <class T>
  struct Place {
    const T* source = nullptr;
    std::int64_t block = 0;
    ConvSpans<T> results = {};
  };
  /// Whether run() leaves all that it reads of the source in scratch: then a product of a form that
  /// differs in weight_taps alone need not make it again.
  bool is_made_once() const { return channels_at_a_time_ >= channels_; }

  /// The weight of the results first .. last-1 as run() reads it: terms() elements of each.
  template <class T>
  void pack(const ConvKernels<T>& kernels, const T* weight, std::int64_t first, std::int64_t last,
            T* packed) const noexcept;

  /// What run() reads of the results first .. last-1: the weight of all, and what pack() made.
  template <class T>
  struct Weight {
    const T* all;
    std::int64_t first, last;
    const T* packed;
  };
  /// These results of the rows of `at`, to `to`, which is where the first of them has row 0 of this
  /// block; results lie `to_result` apart. Fetches what `next` reads and writes meanwhile, if there
  /// is a next one.
  template <class T>
  void run(const ConvKernels<T>& kernels, const Weight<T>& weight, const Place<T>& at, T* to,
           std::int64_t to_result, T* scratch, ConvScratch left,
           const Place<T>& next = {}) const noexcept;

 private:
  template <class T>
  std::int64_t vectors_of_block(const ConvKernels<T>& kernels) const;
  template <class T>
  void mend(const T* weight, const T* source, T* to, std::int64_t top,
            std::int64_t height) const noexcept;
  template <class T>
  T element(const T* weight, const T* source, std::int64_t i, std::int64_t j) const noexcept;
  /// Of the channels from k on that are made at a time.
  template <class T>
  ConvSpans<T> spans(const Place<T>& at, std::int64_t k) const;

  ConvForm form_;
  bool meets_outside_;
  ConvPlanes planes_;
  std::vector<std::int64_t> sources_;  // of the terms of the channels made at a time
  std::int64_t channels_, taps_per_channel_, channels_at_a_time_, terms_at_a_time_;
  std::int64_t rows_, columns_, source_channel_, weight_row_, weight_channel_;
  std::int64_t blocks_, scratch_;
};

/// Rows of the result and channels whose planes fit the cache together, at the form's block if it
/// names one.
struct ConvBlock {
  std::int64_t rows, channels;
};
template <class T>
ConvBlock conv_block(const ConvForm& form);

}  // namespace blockgrad::detail
