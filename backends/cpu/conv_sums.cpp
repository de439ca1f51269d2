#include "backends/cpu/conv_sums.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/cache_size.h"
#include "backends/cpu/conv_terms.h"

namespace blockgrad::detail {

namespace {

// Results that are made together.
constexpr std::int64_t most_results = 64;
// Of a line of a panel, between two visits of a sum to memory: with a plane in the first cache
// level.
constexpr std::int64_t most_line_bytes = 4096;
// Bytes after which addresses meet in one set of the first cache level: of smaller pieces that lie
// evenly apart it keeps few.
constexpr std::int64_t cache_way = 4096;
// Sums that each vector of a panel should serve, to be worth its copy: many where the cache keeps
// them and enough parts remain, of several blocks of channels if these are even: results alike need
// the same planes.
constexpr std::int64_t many_taps = 192, wanted_taps = 96, least_parts = 4;

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

std::int64_t even_block(std::int64_t n, std::int64_t most) {
  return n > 0 ? up(n, up(n, most)) : 1;
}

template <class T>
std::int64_t lines_of(std::int64_t length) {
  constexpr std::int64_t most = most_line_bytes / static_cast<std::int64_t>(sizeof(T));
  return std::max<std::int64_t>(1, most / std::max<std::int64_t>(1, length));
}

template <class T>
std::int64_t rows_of(const ConvSumsForm& form) {
  return even_block(form.rows.result, lines_of<T>(form.columns.result));
}

// How the sums of some results and taps lie: in tiles as ConvDots makes them, those of the same
// rows side by side.
struct Tiles {
  std::int64_t results, taps, across, most_rows;

  template <class T>
  Tiles(const ConvKernels<T>& kernels, std::int64_t all_results, std::int64_t all_taps)
      : results(all_results),
        taps(all_taps),
        across(up(all_taps, kernels.dot_taps)),
        most_rows(kernels.dot_rows) {}

  std::int64_t width(std::int64_t j) const { return taps / across + (j < taps % across ? 1 : 0); }
  /// Of the tile whose first row is r.
  std::int64_t height(std::int64_t r) const {
    return std::min({most_rows, dot_panel - r % dot_panel, results - r});
  }
  std::int64_t count() const {
    return across *
           (results / dot_panel * up(dot_panel, most_rows) + up(results % dot_panel, most_rows));
  }
};

double work_of(const ConvSumsForm& form) { return static_cast<double>(form.results) / 2; }

}  // namespace

template <class T>
ConvSums::ConvSums(const ConvSumsForm& form, const ConvKernels<T>& kernels)
    : row_axis_(form.rows),
      column_axis_(form.columns),
      planes_(form.rows, form.columns, rows_of<T>(form), work_of(form), 0, dot_lanes<T>, false),
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
  const bool is_whole = planes_.block() == rows_;
  images_at_a_time_ = is_whole ? even_block(images_, lines_of<T>(rows_ * columns_)) : 1;
  result_blocks_ = up(results_, dot_panel);
  const auto channels_for = [&](std::int64_t taps) {
    const std::int64_t most = (taps + taps_per_channel_ / 2) / taps_per_channel_;
    return even_block(channels_, std::max<std::int64_t>(1, most));
  };
  const std::int64_t many = channels_for(many_taps), wanted = channels_for(wanted_taps);
  const std::int64_t elements =
      many * (images_at_a_time_ * planes_.channel() +
              std::min(results_, most_results) * taps_per_channel_ * lanes);
  const bool has_even_blocks = many == channels_ && 2 * wanted <= channels_;
  const bool is_worth_many =
      elements * static_cast<std::int64_t>(sizeof(T)) <= second_cache_bytes() / 4 * 3 &&
      !has_even_blocks && up(channels_, many) * result_blocks_ >= least_parts;
  channels_at_a_time_ = is_worth_many ? many : wanted;
  channel_blocks_ = up(channels_, channels_at_a_time_);
  image_planes_ = channels_at_a_time_ * planes_.channel();
  planes_size_ = images_at_a_time_ * image_planes_;
  const std::int64_t taps = channels_at_a_time_ * taps_per_channel_;
  sums_size_ = std::min(results_, most_results) * taps * lanes;
  const std::int64_t length = planes_.line_length(planes_.block());
  const std::int64_t last = planes_.line_length(rows_ % planes_.block());
  const std::int64_t of_image = dot_panel * rows_ * columns_ * static_cast<std::int64_t>(sizeof(T));
  is_a_in_place_ =
      length % lanes == 0 && last % lanes == 0 && (images_at_a_time_ == 1 || of_image >= cache_way);
  for (std::int64_t n = 0; n < images_at_a_time_; ++n) {
    for (std::int64_t l = 0; l < planes_.line_count(planes_.block()); ++l) {
      for (std::int64_t j = 0; j < length; j += lanes) {
        sources_.push_back(n * image_planes_ + l * planes_.line_step() + j);
        steps_.push_back({n * a_image_ + l * columns_ + j, sources_.back()});
      }
    }
  }
  panel_size_ =
      std::max(dot_panel * taps,
               is_a_in_place_ ? 0 : static_cast<std::int64_t>(steps_.size()) * dot_panel * lanes);
  slides_ = has_slides(kernels);
  const std::size_t across = form.columns.offsets.size();
  for (std::int64_t k = 0; k < channels_at_a_time_; ++k) {
    for (std::size_t q = 0; q < across; ++q) {
      for (std::size_t p = 0; p < form.rows.offsets.size(); ++p) {
        taps_.push_back({0, k * planes_.channel() + planes_.place(p, q)});
        places_.push_back(k * taps_per_channel_ + static_cast<std::int64_t>(p * across + q));
      }
    }
  }
}

// Whether three taps of a column lie a line behind each other, and lines are few vectors.
template <class T>
bool ConvSums::has_slides(const ConvKernels<T>& kernels) const {
  const std::int64_t vectors = columns_ / dot_lanes<T>;
  if (columns_ % dot_lanes<T> != 0 || vectors < 1 || vectors > ConvKernels<T>::max_vectors ||
      row_axis_.offsets.size() != slide_taps || column_axis_.offsets.empty() ||
      kernels.dot_taps != slide_taps || !kernels.slides[vectors - 1][kernels.dot_rows - 1])
    return false;
  const std::int64_t first = planes_.place(0, 0), step = planes_.line_step();
  return planes_.place(1, 0) == first + step && planes_.place(2, 0) == first + 2 * step;
}

ConvSums::Unit ConvSums::unit_at(std::int64_t image, std::int64_t top) const {
  return {image, std::min(images_at_a_time_, images_ - image), top,
          std::min(planes_.block(), rows_ - top)};
}

ConvSums::Unit ConvSums::next(const Unit& unit) const {
  const std::int64_t top = unit.top + unit.rows;
  return top < rows_ ? unit_at(unit.image, top) : unit_at(unit.image + unit.images, 0);
}

template <class T>
ConvSpans<T> ConvSums::spans_of_a(const Unit& unit, const Operands<T>& from) const {
  const T* const first = from.a + unit.image * a_image_ + unit.top * columns_;
  if (unit.rows < rows_) return {first, from.results, rows_ * columns_, unit.rows * columns_};
  return {first, unit.images, a_image_, from.results * rows_ * columns_};
}

template <class T>
ConvSpans<T> ConvSums::spans_of_source(const Unit& unit, const Operands<T>& from) const {
  const T* const first = from.source + unit.image * source_image_;
  if (unit.rows == rows_)
    return {first, unit.images, source_image_, from.channels * source_channel_};
  return planes_.spans(first, from.channels, unit.top);
}

template <class T>
void ConvSums::build(const ConvKernels<T>& kernels, const Unit& unit, const Operands<T>& from,
                     T* planes, bool has_gaps) const noexcept {
  for (std::int64_t i = 0; i < unit.images; ++i) {
    planes_.build(kernels, from.source + (unit.image + i) * source_image_, from.channels, unit.top,
                  planes + i * image_planes_, has_gaps);
  }
}

// `a` begins at the unit's first element of the first of these results.
template <class T>
void ConvSums::copy_to_panel(const ConvKernels<T>& kernels, const Unit& unit, const T* a,
                             std::int64_t results, T* panel) const noexcept {
  const std::int64_t lines = planes_.line_count(unit.rows), length = planes_.line_length(unit.rows);
  const std::int64_t steps = up(length, dot_lanes<T>);
  for (std::int64_t i = 0; i < unit.images; ++i) {
    for (std::int64_t l = 0; l < lines; ++l) {
      for (std::int64_t r = 0; r < results; ++r) {
        kernels.copy_to_panel(panel + r * dot_lanes<T>,
                              a + i * a_image_ + r * rows_ * columns_ + l * columns_, length);
      }
      panel += steps * dot_panel * dot_lanes<T>;
    }
  }
}

// Meanwhile fetches what the next unit reads.
template <class T>
void ConvSums::add_unit(const ConvKernels<T>& kernels, const Unit& unit, const Operands<T>& from,
                        T* scratch, bool load) const noexcept {
  T* const panel = scratch + planes_size_;
  T* const sums = panel + panel_size_;
  const Tiles tiles(kernels, from.results, from.channels * taps_per_channel_);
  const std::int64_t steps = unit.images * planes_.line_count(unit.rows) *
                             up(planes_.line_length(unit.rows), dot_lanes<T>);
  const T* const a = from.a + unit.image * a_image_ + unit.top * columns_;
  const ConvTap* const tap = taps_.data();
  const std::int64_t a_row = is_a_in_place_ ? rows_ * columns_ : dot_lanes<T>;
  const std::int64_t vectors = columns_ / dot_lanes<T>;
  const std::int64_t a_step = is_a_in_place_ ? dot_lanes<T> : dot_panel * dot_lanes<T>;
  const ConvLines lines{unit.images,
                        unit.rows,
                        is_a_in_place_ ? a_image_ : unit.rows * vectors * a_step,
                        a_step,
                        a_row,
                        image_planes_,
                        planes_.line_step()};
  const Unit then = next(unit);
  ConvAhead<T> ahead(steps * tiles.count(), scratch,
                     then.images > 0 ? spans_of_source(then, from) : ConvSpans<T>{},
                     then.images > 0 ? spans_of_a(then, from) : ConvSpans<T>{});
  for (std::int64_t o = 0; o < from.results; o += dot_panel) {
    const std::int64_t end = std::min(o + dot_panel, from.results);
    const T* left = a + o * rows_ * columns_;
    if (!is_a_in_place_) {
      copy_to_panel(kernels, unit, left, end - o, panel);
      left = panel;
    }
    std::int64_t t = 0;
    for (std::int64_t j = 0; j < tiles.across; ++j) {
      const std::int64_t width = tiles.width(j);
      for (std::int64_t r = o; r < end; r += tiles.most_rows) {
        const std::int64_t height = tiles.height(r);
        const T* const own = left + (r - o) * a_row;
        T* const made = sums + (r * tiles.taps + t * height) * dot_lanes<T>;
        if (slides_) {
          kernels.slides[vectors - 1][height - 1](lines, own, scratch + tap[t].source, made, load,
                                                  ahead.take(steps));
        } else if (!is_a_in_place_) {
          kernels.panel_dots[width - 1][height - 1](steps, sources_.data(), own, scratch, tap + t,
                                                    made, load, ahead.take(steps));
        } else {
          kernels.dots[width - 1][height - 1](steps, steps_.data(), own, a_row, scratch, tap + t,
                                              made, load, ahead.take(steps));
        }
      }
      t += width;
    }
  }
}

template <class T>
void ConvSums::end_sums(const ConvKernels<T>& kernels, const Operands<T>& from, T* to,
                        std::int64_t to_result, T* scratch) const noexcept {
  T* const made = scratch + planes_size_;
  const T* const sums = made + panel_size_;
  const Tiles tiles(kernels, from.results, from.channels * taps_per_channel_);
  for (std::int64_t top = 0, height = 0; top < from.results;
       top += height, to += height * to_result) {
    height = tiles.height(top);
    const T* lanes = sums + top * tiles.taps * dot_lanes<T>;
    kernels.add_lanes(made, lanes, height * tiles.taps);
    const T* sum = made;
    for (std::int64_t j = 0, t = 0; j < tiles.across; t += tiles.width(j++)) {
      for (std::int64_t r = 0; r < height; ++r) {
        for (std::int64_t i = t; i < t + tiles.width(j); ++i, ++sum, lanes += dot_lanes<T>) {
          const std::int64_t place = places_[static_cast<std::size_t>(i)];
          to[r * to_result + place] =
              !std::isnan(*sum) ? *sum
                                : mended(kernels, lanes, from.a + (top + r) * rows_ * columns_,
                                         from.source + place / taps_per_channel_ * source_channel_,
                                         place % taps_per_channel_);
        }
      }
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
  const std::int64_t end = std::min(last * dot_panel, results_);
  for (std::int64_t o = first * dot_panel; o < end; o += most_results) {
    const Operands<T> from{a + o * rows_ * columns_, source + k * source_channel_,
                           std::min(most_results, end - o), channels};
    bool is_first = true;
    for (Unit unit = unit_at(0, 0); unit.images > 0 && unit.rows > 0; unit = next(unit)) {
      build(kernels, unit, from, scratch, !is_first);
      add_unit(kernels, unit, from, scratch, !is_first);
      is_first = false;
    }
    if (is_first) {
      std::fill_n(scratch + planes_size_ + panel_size_, from.results * taps * dot_lanes<T>, T(0));
    }
    end_sums(kernels, from, to + o * to_result + k * taps_per_channel_, to_result, scratch);
  }
}

// An element from its lanes, of which those that are NaN are made again.
template <class T>
T ConvSums::mended(const ConvKernels<T>& kernels, const T* lanes, const T* a, const T* source,
                   std::int64_t tap) const noexcept {
  T own[dot_lanes<T>], sum = 0;
  for (std::int64_t e = 0; e < dot_lanes<T>; ++e) {
    own[e] = std::isnan(lanes[e]) ? lane(a, source, tap, e) : lanes[e];
    if (std::isnan(own[e])) return std::numeric_limits<T>::quiet_NaN();
  }
  kernels.add_lanes(&sum, own, 1);
  return sum;
}

// In the order of run().
template <class T>
T ConvSums::lane(const T* a, const T* source, std::int64_t tap, std::int64_t e) const noexcept {
  T sum = 0;
  for (std::int64_t first = 0; first < images_; first += images_at_a_time_) {
    const std::int64_t last = std::min(first + images_at_a_time_, images_);
    for (std::int64_t top = 0; top < rows_; top += planes_.block()) {
      const std::int64_t rows = std::min(planes_.block(), rows_ - top);
      const std::int64_t lines = planes_.line_count(rows), height = rows / lines;
      for (std::int64_t n = first; n < last; ++n) {
        for (std::int64_t l = 0; l < lines; ++l) {
          if (!add_line(a + n * a_image_, source + n * source_image_, top + l, height, tap, e, sum))
            return sum;
        }
      }
    }
  }
  return sum;
}

// Of a line of `height` rows of the result from `first` on; false once the lane is NaN.
template <class T>
bool ConvSums::add_line(const T* a, const T* source, std::int64_t first, std::int64_t height,
                        std::int64_t tap, std::int64_t e, T& sum) const noexcept {
  const auto across = static_cast<std::int64_t>(column_axis_.offsets.size());
  const std::int64_t down = row_axis_.offsets[static_cast<std::size_t>(tap / across)];
  const std::int64_t right = column_axis_.offsets[static_cast<std::size_t>(tap % across)];
  for (std::int64_t at = e; at < height * columns_; at += dot_lanes<T>) {
    const std::int64_t i = first + at / columns_, j = at % columns_;
    const std::int64_t row = i * row_axis_.stride + down;
    const std::int64_t column = j * column_axis_.stride + right;
    if (row < 0 || row >= row_axis_.source || column < 0 || column >= column_axis_.source) continue;
    if (!add_term(sum, a[i * columns_ + j], source[row * column_axis_.source + column]))
      return false;
  }
  return true;
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
