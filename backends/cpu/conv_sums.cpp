#include "backends/cpu/conv_sums.h"

#include <algorithm>

namespace blockgrad::detail {

namespace {

// Results of a block, which is what parts are cut into, and of all that are made together.
constexpr std::int64_t block_results = 8, most_results = 64;
// Terms of a sum between two visits to memory; what they read stays in the first cache level.
constexpr std::int64_t most_places = 800;
// Sums that each line of `a` should serve while it is near.
constexpr std::int64_t least_taps = 32;

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t even_block(std::int64_t n, std::int64_t most) {
  return n > 0 ? up(n, up(n, most)) : 1;
}

std::int64_t rows_of(const ConvSumsForm& form) {
  return even_block(form.rows.result, std::max<std::int64_t>(1, most_places / form.columns.result));
}

double work_of(const ConvSumsForm& form) { return static_cast<double>(form.results) / 2; }

}  // namespace

template <class T>
ConvSums::ConvSums(const ConvSumsForm& form, const ConvKernels<T>& kernels)
    : planes_(form.rows, form.columns, rows_of(form), work_of(form), dot_lanes<T>),
      images_(form.images),
      results_(form.results),
      channels_(form.channels),
      taps_per_channel_(
          static_cast<std::int64_t>(form.rows.offsets.size() * form.columns.offsets.size())),
      rows_(form.rows.result),
      columns_(form.columns.result),
      a_image_(form.a_image),
      source_image_(form.source_image),
      source_channel_(form.rows.source * form.columns.source) {
  channels_at_a_time_ =
      even_block(channels_, std::max<std::int64_t>(1, least_taps / taps_per_channel_));
  const bool is_whole = planes_.block() == rows_ && planes_.line_count(rows_) == 1;
  images_at_a_time_ =
      is_whole ? even_block(images_, std::max<std::int64_t>(1, most_places / (rows_ * columns_)))
               : 1;
  channel_blocks_ = up(channels_, channels_at_a_time_);
  result_blocks_ = up(results_, block_results);
  const std::int64_t image = channels_at_a_time_ * planes_.channel();
  const std::int64_t line = dot_lanes<T>;
  planes_size_ =
      planes_.is_in_place() ? 0 : up(images_at_a_time_ * image + kernels.lanes, line) * line;
  sums_size_ = std::min(results_, most_results) * channels_at_a_time_ * taps_per_channel_ * line;
  for (std::int64_t k = 0; k < channels_at_a_time_; ++k) {
    for (std::size_t p = 0; p < form.rows.offsets.size(); ++p) {
      for (std::size_t q = 0; q < form.columns.offsets.size(); ++q)
        taps_.push_back({0, k * planes_.channel() + planes_.place(p, q)});
    }
  }
}

template <class T>
void ConvSums::add_block(const ConvKernels<T>& kernels, const T* a, const T* planes,
                         std::int64_t plane_image, std::int64_t images, std::int64_t rows,
                         std::int64_t results, std::int64_t channels, T* sums,
                         bool load) const noexcept {
  const std::int64_t lines = planes_.line_count(rows);
  ConvLines what{lines, planes_.line_length(rows), columns_, rows_ * columns_, planes_.line_step()};
  if (lines == 1) what = {images, what.length, a_image_, what.a_row, plane_image};
  const std::int64_t taps = channels * taps_per_channel_;
  const std::int64_t sums_row = taps * dot_lanes<T>;
  const std::int64_t down = up(results, kernels.dot_rows), across = up(taps, kernels.dot_taps);
  std::int64_t r = 0;
  for (std::int64_t i = 0; i < down; ++i) {
    const std::int64_t height = results / down + (i < results % down ? 1 : 0);
    std::int64_t t = 0;
    for (std::int64_t j = 0; j < across; ++j) {
      const std::int64_t width = taps / across + (j < taps % across ? 1 : 0);
      kernels.dots[width - 1][height - 1](what, a + r * what.a_row, planes, taps_.data() + t,
                                          sums + r * sums_row + t * dot_lanes<T>, sums_row, load);
      t += width;
    }
    r += height;
  }
}

template <class T>
void ConvSums::run(const ConvKernels<T>& kernels, const T* a, const T* source, T* to,
                   std::int64_t to_result, std::int64_t channel_block, std::int64_t first,
                   std::int64_t last, T* scratch) const noexcept {
  const std::int64_t k = channel_block * channels_at_a_time_;
  const std::int64_t channels = std::min(channels_at_a_time_, channels_ - k);
  const std::int64_t taps = channels * taps_per_channel_;
  const std::int64_t block = planes_.block();
  T* const sums = scratch + planes_size_;
  const std::int64_t end = std::min(last * block_results, results_);
  for (std::int64_t o = first * block_results; o < end; o += most_results) {
    const std::int64_t results = std::min(most_results, end - o);
    bool load = false;
    for (std::int64_t n = 0; n < images_; n += images_at_a_time_) {
      const std::int64_t images = std::min(images_at_a_time_, images_ - n);
      for (std::int64_t top = 0; top < rows_; top += block) {
        const T* planes = nullptr;
        const std::int64_t image =
            planes_.is_in_place() ? source_image_ : channels * planes_.channel();
        for (std::int64_t i = 0; i < images; ++i) {
          const T* const built =
              planes_.build(kernels, source + (n + i) * source_image_ + k * source_channel_,
                            channels, top, scratch + (planes_.is_in_place() ? 0 : i * image));
          if (i == 0) planes = built;
        }
        add_block(kernels, a + n * a_image_ + o * rows_ * columns_ + top * columns_, planes, image,
                  images, std::min(block, rows_ - top), results, channels, sums, load);
        load = true;
      }
    }
    if (!load) std::fill_n(sums, results * taps * dot_lanes<T>, T(0));
    for (std::int64_t r = 0; r < results; ++r) {
      kernels.add_lanes(to + (o + r) * to_result + k * taps_per_channel_,
                        sums + r * taps * dot_lanes<T>, taps);
    }
  }
}

template ConvSums::ConvSums(const ConvSumsForm&, const ConvKernels<float>&);
template ConvSums::ConvSums(const ConvSumsForm&, const ConvKernels<double>&);
template void ConvSums::run(const ConvKernels<float>&, const float*, const float*, float*,
                            std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                            float*) const noexcept;
template void ConvSums::run(const ConvKernels<double>&, const double*, const double*, double*,
                            std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                            double*) const noexcept;

}  // namespace blockgrad::detail
