#include "backends/cpu/conv_product.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "backends/cpu/conv_terms.h"

namespace blockgrad::detail {

namespace {

// Planes that many bytes large are read from the second cache level as fast as they are used.
constexpr std::int64_t most_plane_bytes = 160 * 1024;
// Those are built and read within the first one.
constexpr std::int64_t near_plane_bytes = 32 * 1024;
// Sums that are taken up from memory and put back for so many terms cost less than that saves.
constexpr std::int64_t least_near_terms = 128;
// Of a block's line: fewer are not worth a shorter block.
constexpr std::int64_t least_vectors = 16;
// Of a line: tiles of few sums wait for each of them.
constexpr double least_work = 5;
// Of a tile's sums at a time: what they read stays in the first cache level for the next tile.
constexpr std::int64_t most_terms = 256;
// Of a channel that is packed by itself for each tile.
constexpr std::int64_t least_taps = 4;

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Size of piece i of n elements cut into `pieces` nearly equal ones, the larger ones first.
struct Pieces {
  std::int64_t n, count;
  std::int64_t size(std::int64_t i) const { return n / count + (i < n % count ? 1 : 0); }
};

struct TileShape {
  Pieces rows;
  std::int64_t wide;  // vectors at most
};

// Of so many results of so many vectors the one whose tiles take least: multiply-adds, two at a
// time, and some of what they load hides behind these.
template <class T>
TileShape tile_shape(const ConvKernels<T>& kernels, std::int64_t results, std::int64_t vectors) {
  TileShape best{{results, up(results, kernels.tile_rows)}, 1};
  double least = 0;
  for (std::int64_t wide = 1; wide <= ConvKernels<T>::max_vectors; ++wide) {
    const std::int64_t high =
        std::min<std::int64_t>(kernels.accumulators / wide, kernels.tile_rows);
    if (high == 0) break;
    const TileShape shape{{results, up(results, high)}, wide};
    const std::int64_t strips = up(vectors, wide);
    const auto tiles = static_cast<double>(shape.rows.count * strips);
    const double cost = 0.5 * static_cast<double>(results * vectors) +
                        0.1 * static_cast<double>(results * strips) +
                        0.2 * static_cast<double>(vectors * shape.rows.count) + 0.4 * tiles;
    if (wide > 1 && cost >= least) continue;
    least = cost;
    best = shape;
  }
  return best;
}

std::int64_t even_block(std::int64_t n, std::int64_t most) { return up(n, up(n, most)); }

double work_of(const ConvForm& form) { return static_cast<double>(form.results) / 2; }

// Of a channel.
std::int64_t term_count(const ConvForm& form) {
  return std::count_if(form.weight_taps.begin(), form.weight_taps.end(),
                       [](std::int64_t tap) { return tap >= 0; });
}

}  // namespace

template <class T>
ConvBlock conv_block(const ConvForm& form) {
  constexpr std::int64_t most = most_plane_bytes / static_cast<std::int64_t>(sizeof(T));
  const auto channel = [&](std::int64_t rows) {
    const ConvPlanes planes(form.rows, form.columns, rows, work_of(form), least_work, dot_lanes<T>);
    return planes.is_in_place() ? std::int64_t{0} : planes.channel();
  };
  const std::int64_t height = form.rows.result;
  const std::int64_t channels = std::max<std::int64_t>(form.channels, 1);
  std::int64_t pieces = 1;
  const auto rows = [&] { return form.block > 0 ? form.block : up(height, pieces); };
  while (form.block == 0 && rows() > 1 && channel(rows()) * channels > most &&
         rows() * form.columns.result > least_vectors * dot_lanes<T>) {
    ++pieces;
  }
  const std::int64_t each = std::max<std::int64_t>(channel(rows()), 1);
  const std::int64_t near = near_plane_bytes / static_cast<std::int64_t>(sizeof(T)) / each;
  const bool are_near = !form.shares_planes && near * term_count(form) >= least_near_terms;
  return {rows(), std::clamp<std::int64_t>(are_near ? near : most / each, 1, channels)};
}

template <class T>
ConvProduct::ConvProduct(const ConvForm& form, const ConvKernels<T>&)
    : form_(form),
      meets_outside_(meets_outside(form.rows) || meets_outside(form.columns)),
      planes_(form.rows, form.columns, conv_block<T>(form).rows, work_of(form), least_work,
              dot_lanes<T>),
      channels_(form.channels),
      taps_per_channel_(term_count(form)),
      channels_at_a_time_(conv_block<T>(form).channels),
      terms_at_a_time_(
          taps_per_channel_ *
          even_block(channels_at_a_time_,
                     std::max<std::int64_t>(
                         1, most_terms / std::max<std::int64_t>(1, taps_per_channel_)))),
      rows_(form.rows.result),
      columns_(form.columns.result),
      source_channel_(form.rows.source * form.columns.source),
      weight_row_(form.weight_row),
      weight_channel_(form.weight_channel),
      blocks_(up(rows_, planes_.block())),
      scratch_(planes_.is_in_place() ? 0 : planes_.channel() * channels_at_a_time_) {
  const std::size_t across = form.columns.offsets.size();
  for (std::int64_t k = 0; k < channels_at_a_time_; ++k) {
    for (std::size_t t = 0; t < form.weight_taps.size(); ++t) {
      if (form.weight_taps[t] < 0) continue;
      sources_.push_back(k * planes_.channel() + planes_.place(t / across, t % across));
    }
  }
}

template <class T>
ConvSpans<T> ConvProduct::spans(const Place<T>& at, std::int64_t k) const {
  return planes_.spans(at.source + k * source_channel_,
                       std::min(channels_at_a_time_, channels_ - k), at.block * planes_.block());
}

// Of a line, in a block of all its rows.
template <class T>
std::int64_t ConvProduct::vectors_of_block(const ConvKernels<T>& kernels) const {
  const bool is_joined = columns_ % kernels.lanes == 0;
  return up(is_joined ? block() * columns_ : planes_.line_length(block()), kernels.lanes);
}

namespace {

// Channels of so many results: a number that is known leaves a copy for each element.
template <int rows, class T>
void pack_channels(const ConvForm& form, const T* weight, std::int64_t channels, T* packed) {
  for (std::int64_t k = 0; k < channels; ++k, weight += form.weight_channel) {
    for (const std::int64_t tap : form.weight_taps) {
      if (tap < 0) continue;
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) packed[r] = weight[r * form.weight_row + tap];
      packed += rows;
    }
  }
}

}  // namespace

template <class T>
void ConvProduct::pack(const ConvKernels<T>& kernels, const T* weight, std::int64_t first,
                       std::int64_t last, T* packed) const noexcept {
  using Pack = void (*)(const ConvForm&, const T*, std::int64_t, T*);
  constexpr Pack of_height[] = {pack_channels<1, T>, pack_channels<2, T>, pack_channels<3, T>,
                                pack_channels<4, T>, pack_channels<5, T>, pack_channels<6, T>,
                                pack_channels<7, T>, pack_channels<8, T>};
  static_assert(std::size(of_height) == ConvKernels<T>::max_rows);
  const std::int64_t results = last - first;
  const Pieces tiles =
      results == 1 ? Pieces{1, 1} : tile_shape(kernels, results, vectors_of_block(kernels)).rows;
  // As the weight lies, unless a call for each channel of a tile has too little to do.
  const bool by_channel = weight_channel_ > weight_row_ && taps_per_channel_ >= least_taps;
  const std::int64_t step = by_channel ? 1 : channels_;
  for (std::int64_t k = 0; k < channels_; k += step) {
    for (std::int64_t i = 0, r = 0; i < tiles.count; r += tiles.size(i++)) {
      of_height[tiles.size(i) - 1](form_, weight + (first + r) * weight_row_ + k * weight_channel_,
                                   step,
                                   packed + r * terms() + k * taps_per_channel_ * tiles.size(i));
    }
  }
}

template <class T>
void ConvProduct::run(const ConvKernels<T>& kernels, const Weight<T>& weight, const Place<T>& at,
                      T* to, std::int64_t to_result, T* scratch, ConvScratch left,
                      const Place<T>& next) const noexcept {
  const std::int64_t top = at.block * planes_.block();
  const std::int64_t height = std::min(planes_.block(), rows_ - top);
  // Lines of whole vectors are one line, but for where its vectors come from.
  const bool is_joined = columns_ % kernels.lanes == 0;
  const std::int64_t lines = is_joined ? 1 : planes_.line_count(height);
  const std::int64_t length = is_joined ? height * columns_ : planes_.line_length(height);
  const std::int64_t per_line =
      std::max<std::int64_t>(1, up(planes_.line_length(height), kernels.lanes));
  const std::int64_t results = weight.last - weight.first;
  const TileShape shape = tile_shape(kernels, results, vectors_of_block(kernels));
  const std::int64_t vectors = up(length, kernels.lanes);
  const Pieces tiles = shape.rows, strips = {vectors, up(vectors, shape.wide)};
  std::int64_t k = 0;
  do {
    const std::int64_t channels = std::min(channels_at_a_time_, channels_ - k);
    const T* const planes =
        left == ConvScratch::of_place && !planes_.is_in_place()
            ? scratch
            : planes_.build(kernels, at.source + k * source_channel_, channels, top, scratch,
                            k > 0 || left == ConvScratch::of_product);
    const std::int64_t then = k + channels_at_a_time_;
    const std::int64_t count_of_terms = channels * taps_per_channel_;
    ConvAhead<T> ahead(lines * strips.count * tiles.count * count_of_terms, planes,
                       then < channels_ ? spans(at, then)
                       : next.source    ? spans(next, 0)
                                        : ConvSpans<T>{},
                       then < channels_ ? ConvSpans<T>{} : next.results);
    std::int64_t t = 0;
    do {
      const std::int64_t count = std::min(terms_at_a_time_, count_of_terms - t);
      for (std::int64_t l = 0; l < lines; ++l) {
        std::int64_t j = 0, vector = 0;
        for (std::int64_t s = 0; s < strips.count; ++s) {
          const std::int64_t width = strips.size(s) * kernels.lanes;
          const int lanes = static_cast<int>(std::min(width, length - j) - (width - kernels.lanes));
          const auto& of_width = kernels.tiles[lanes != kernels.lanes][strips.size(s) - 1];
          std::int64_t places[ConvKernels<T>::max_vectors];
          for (std::int64_t v = 0; v < strips.size(s); ++v, ++vector) {
            places[v] =
                (l + vector / per_line) * planes_.line_step() + vector % per_line * kernels.lanes;
          }
          T* row = to + l * columns_ + j;
          const T* own = weight.packed;
          for (std::int64_t i = 0; i < tiles.count; ++i) {
            const std::int64_t high = tiles.size(i);
            of_width[high - 1](count, sources_.data() + t, own + (k * taps_per_channel_ + t) * high,
                               planes, places, row, to_result, lanes, k + t > 0, ahead.take(count));
            own += high * terms();
            row += high * to_result;
          }
          j += width;
        }
      }
      t += count;
    } while (t < count_of_terms);
    k = then;
  } while (k < channels_);
  if (!meets_outside_ || height <= 0 || columns_ == 0) return;
  // A tap that lies outside of the source anywhere in these rows does so in a corner of them. So
  // corners show whether 0 times an infinite weight was added.
  const std::int64_t bottom = (height - 1) * columns_;
  T corners = 0;
  for (std::int64_t r = 0; r < results; ++r) {
    const T *const above = to + r * to_result, *const below = above + bottom;
    corners += (above[0] + above[columns_ - 1]) + (below[0] + below[columns_ - 1]);
  }
  if (std::isfinite(corners)) return;
  for (std::int64_t r = 0; r < results; ++r)
    mend(weight.all + (weight.first + r) * weight_row_, at.source, to + r * to_result, top, height);
}

// Makes those of a result's elements again that are NaN and have terms outside of the source.
template <class T>
void ConvProduct::mend(const T* weight, const T* source, T* to, std::int64_t top,
                       std::int64_t height) const noexcept {
  bool is_finite = true;
  for (std::int64_t k = 0; k < channels_; ++k) {
    for (const std::int64_t tap : form_.weight_taps)
      is_finite = is_finite && (tap < 0 || std::isfinite(weight[k * weight_channel_ + tap]));
  }
  if (is_finite) return;
  for (std::int64_t i = 0; i < height; ++i) {
    const bool is_border = taps_outside(form_.rows, top + i) > 0;
    for (std::int64_t j = 0; j < columns_; ++j) {
      T& value = to[i * columns_ + j];
      if (std::isnan(value) && (is_border || taps_outside(form_.columns, j) > 0))
        value = element(weight, source, top + i, j);
    }
  }
}

template <class T>
T ConvProduct::element(const T* weight, const T* source, std::int64_t i,
                       std::int64_t j) const noexcept {
  const std::size_t across = form_.columns.offsets.size();
  T sum = 0;
  bool goes_on = true;
  for (std::int64_t k = 0; k < channels_ && goes_on; ++k) {
    const T* const own = weight + k * weight_channel_;
    const T* const image = source + k * source_channel_;
    goes_on = each_inside(form_.rows, i, [&](std::size_t p, std::int64_t row) {
      return each_inside(form_.columns, j, [&](std::size_t q, std::int64_t column) {
        const std::int64_t tap = form_.weight_taps[p * across + q];
        return tap < 0 || add_term(sum, own[tap], image[row * form_.columns.source + column]);
      });
    });
  }
  return sum;
}

template ConvBlock conv_block<float>(const ConvForm&);
template ConvBlock conv_block<double>(const ConvForm&);
template ConvProduct::ConvProduct(const ConvForm&, const ConvKernels<float>&);
template ConvProduct::ConvProduct(const ConvForm&, const ConvKernels<double>&);
template void ConvProduct::pack(const ConvKernels<float>&, const float*, std::int64_t, std::int64_t,
                                float*) const noexcept;
template void ConvProduct::pack(const ConvKernels<double>&, const double*, std::int64_t,
                                std::int64_t, double*) const noexcept;
template void ConvProduct::run(const ConvKernels<float>&, const Weight<float>&, const Place<float>&,
                               float*, std::int64_t, float*, ConvScratch,
                               const Place<float>&) const noexcept;
template void ConvProduct::run(const ConvKernels<double>&, const Weight<double>&,
                               const Place<double>&, double*, std::int64_t, double*, ConvScratch,
                               const Place<double>&) const noexcept;

}  // namespace blockgrad::detail
