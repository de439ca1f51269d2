#include "backends/cpu/conv_sums.h"

#include <algorithm>

namespace blockgrad::detail {

namespace {

// Results that are made together.
constexpr std::int64_t most_results = 64;
// Places between two visits of a sum to memory: a panel of them fills half the first cache level.
constexpr std::int64_t most_places = 832;
// Sums that each vector of a panel should serve, to be worth its copy.
constexpr std::int64_t wanted_taps = 96;

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
ConvSums::ConvSums(const ConvSumsForm& form, const ConvKernels<T>&)
    : planes_(form.rows, form.columns, rows_of(form), work_of(form), dot_lanes<T>, false),
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
  constexpr std::int64_t lanes = dot_lanes<T>;
  channels_at_a_time_ = even_block(
      channels_,
      std::max<std::int64_t>(1, (wanted_taps + taps_per_channel_ / 2) / taps_per_channel_));
  const bool is_whole = planes_.block() == rows_;
  images_at_a_time_ =
      is_whole ? even_block(images_, std::max<std::int64_t>(1, most_places / (rows_ * columns_)))
               : 1;
  channel_blocks_ = up(channels_, channels_at_a_time_);
  result_blocks_ = up(results_, dot_panel);
  image_planes_ = channels_at_a_time_ * planes_.channel();
  planes_size_ = images_at_a_time_ * image_planes_;
  sums_size_ = std::min(results_, most_results) * channels_at_a_time_ * taps_per_channel_ * lanes;
  const std::int64_t length = planes_.line_length(planes_.block());
  for (std::int64_t n = 0; n < images_at_a_time_; ++n) {
    for (std::int64_t l = 0; l < planes_.line_count(planes_.block()); ++l) {
      for (std::int64_t j = 0; j < length; j += lanes)
        steps_.push_back(n * image_planes_ + l * planes_.line_step() + j);
    }
  }
  panel_size_ = static_cast<std::int64_t>(steps_.size()) * dot_panel * lanes;
  for (std::int64_t k = 0; k < channels_at_a_time_; ++k) {
    for (std::size_t p = 0; p < form.rows.offsets.size(); ++p) {
      for (std::size_t q = 0; q < form.columns.offsets.size(); ++q)
        taps_.push_back({0, k * planes_.channel() + planes_.place(p, q)});
    }
  }
}

template <class T>
void ConvSums::build(const ConvKernels<T>& kernels, const Unit& unit, const T* source,
                     std::int64_t channels, T* planes) const noexcept {
  for (std::int64_t i = 0; i < unit.images; ++i) {
    planes_.build(kernels, source + (unit.image + i) * source_image_, channels, unit.top,
                  planes + i * image_planes_);
  }
}

// Gives the number of steps.
template <class T>
std::int64_t ConvSums::copy_to_panel(const ConvKernels<T>& kernels, const Unit& unit, const T* a,
                                     std::int64_t results, T* panel) const noexcept {
  const std::int64_t lines = planes_.line_count(unit.rows), length = planes_.line_length(unit.rows);
  const std::int64_t steps = up(length, dot_lanes<T>);
  const T* const from = a + unit.image * a_image_ + unit.top * columns_;
  for (std::int64_t i = 0; i < unit.images; ++i) {
    for (std::int64_t l = 0; l < lines; ++l) {
      for (std::int64_t r = 0; r < results; ++r) {
        kernels.copy_to_panel(panel + r * dot_lanes<T>,
                              from + i * a_image_ + r * rows_ * columns_ + l * columns_, length);
      }
      panel += steps * dot_panel * dot_lanes<T>;
    }
  }
  return unit.images * lines * steps;
}

template <class T>
void ConvSums::add_unit(const ConvKernels<T>& kernels, const Unit& unit, const T* a,
                        std::int64_t results, std::int64_t taps, T* scratch,
                        bool load) const noexcept {
  T* const panel = scratch + planes_size_;
  T* const sums = panel + panel_size_;
  const std::int64_t sums_row = taps * dot_lanes<T>;
  const std::int64_t across = up(taps, kernels.dot_taps);
  for (std::int64_t o = 0; o < results; o += dot_panel) {
    const std::int64_t count = std::min(dot_panel, results - o);
    const std::int64_t steps = copy_to_panel(kernels, unit, a + o * rows_ * columns_, count, panel);
    std::int64_t t = 0;
    for (std::int64_t j = 0; j < across; ++j) {
      const std::int64_t width = taps / across + (j < taps % across ? 1 : 0);
      for (std::int64_t r = 0; r < count; r += kernels.dot_rows) {
        const std::int64_t height = std::min<std::int64_t>(kernels.dot_rows, count - r);
        kernels.dots[width - 1][height - 1](
            steps, steps_.data(), panel + r * dot_lanes<T>, scratch, taps_.data() + t,
            sums + (o + r) * sums_row + t * dot_lanes<T>, sums_row, load);
      }
      t += width;
    }
  }
}

template <class T>
void ConvSums::run(const ConvKernels<T>& kernels, const T* a, const T* source, T* to,
                   std::int64_t to_result, std::int64_t channel_block, std::int64_t first,
                   std::int64_t last, T* scratch) const noexcept {
  const std::int64_t k = channel_block * channels_at_a_time_;
  const std::int64_t channels = std::min(channels_at_a_time_, channels_ - k);
  const std::int64_t taps = channels * taps_per_channel_;
  T* const sums = scratch + planes_size_ + panel_size_;
  const std::int64_t end = std::min(last * dot_panel, results_);
  for (std::int64_t o = first * dot_panel; o < end; o += most_results) {
    const std::int64_t results = std::min(most_results, end - o);
    Unit unit{};
    for (; unit.image < images_; unit.image += images_at_a_time_) {
      unit.images = std::min(images_at_a_time_, images_ - unit.image);
      for (unit.top = 0; unit.top < rows_; unit.top += planes_.block()) {
        unit.rows = std::min(planes_.block(), rows_ - unit.top);
        build(kernels, unit, source + k * source_channel_, channels, scratch);
        add_unit(kernels, unit, a + o * rows_ * columns_, results, taps, scratch,
                 unit.image + unit.top > 0);
      }
    }
    if (images_ == 0) std::fill_n(sums, results * taps * dot_lanes<T>, T(0));
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
