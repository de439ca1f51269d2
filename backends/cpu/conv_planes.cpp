#include "backends/cpu/conv_planes.h"

#include <algorithm>
#include <numeric>

namespace blockgrad::detail {

namespace {

std::int64_t up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// Zeros behind a plane, so that lines may be read over its end; a multiple of every vector.
constexpr std::int64_t plane_end = 16;
// Of a row whose places in vectors are known beforehand.
constexpr std::int64_t most_pattern = 256;
// What a line costs beside its vectors, in vectors: short ones make narrow tiles. Lines of whole
// vectors are multiplied as one, but these vectors mostly cross the lines of the cache.
constexpr double line_start = 0.3, unaligned = 0.05;
// Of sources that are copied to all their planes before the next ones.
constexpr std::int64_t near_bytes = 16 * 1024;
// What a copied vector costs, in vectors of products.
constexpr double copy_cost = 6;

std::int64_t residue(std::int64_t a, std::int64_t b) { return (a % b + b) % b; }

}  // namespace

/// Taps that meet the same elements of the source, shifted: of one residue of the stride, or, kept
/// apart, of one offset.
struct ConvPlanes::Classes {
  std::vector<std::int64_t> first, more;
  std::vector<Tap> taps;

  Classes(const ConvAxis& axis, bool apart) {
    std::vector<std::int64_t> keys;
    for (const std::int64_t offset : axis.offsets) {
      const std::int64_t key = apart ? offset : residue(offset, axis.stride);
      const auto at =
          static_cast<std::size_t>(std::find(keys.begin(), keys.end(), key) - keys.begin());
      if (at == keys.size()) {
        keys.push_back(key);
        first.push_back(offset);
      }
      first[at] = std::min(first[at], offset);
      taps.push_back({at, offset});
    }
    more.assign(keys.size(), 0);
    for (Tap& tap : taps) {
      tap.shift = (tap.shift - first[tap.at]) / axis.stride;
      more[tap.at] = std::max(more[tap.at], tap.shift);
    }
  }
  /// Puts the source behind `zeros` elements of which the next row's are the padding behind this
  /// one. What it is behind then: 0 if it has other neighbours.
  std::int64_t move_behind(std::int64_t zeros, const ConvAxis& axis) {
    if (first.size() != 1 || axis.stride != 1 || first[0] >= 0 || axis.source > axis.result)
      return 0;
    const std::int64_t moved = zeros + first[0];
    if (moved < 0 || moved + more[0] > 2 * zeros) return 0;
    first[0] = -zeros;
    for (Tap& tap : taps) tap.shift += moved;
    return zeros;
  }
  std::int64_t most() const {
    return more.empty() ? 0 : *std::max_element(more.begin(), more.end());
  }
};

ConvPlanes::ConvPlanes(const ConvAxis& rows, const ConvAxis& columns, std::int64_t block,
                       double work, double least, std::int64_t lanes, bool may_be_in_place)
    : block_(block),
      columns_(columns.result),
      source_rows_(rows.source),
      source_columns_(columns.source),
      row_stride_(rows.stride) {
  const Classes row_classes(rows, false), apart(columns, true), joint(columns, false);
  row_taps_ = row_classes.taps;
  const std::int64_t width = columns_ + joint.most();
  const bool fits =
      may_be_in_place && row_classes.first.size() == 1 && joint.first.size() == 1 &&
      columns.stride == 1 && joint.first[0] >= 0 && joint.first[0] + width <= columns.source &&
      row_classes.first[0] >= 0 &&
      row_classes.first[0] + (rows.result - 1 + row_classes.more[0]) * rows.stride < rows.source;
  // In vectors: what products and copies take by lines over all rows, and by a line per row.
  std::int64_t height = 0;
  for (const std::int64_t more : row_classes.more) height += block_ + more;
  const double taps = static_cast<double>(rows.offsets.size() * columns.offsets.size());
  const bool are_whole = columns_ % lanes == 0;
  const auto cost = [&](std::int64_t lines, std::int64_t line, std::size_t planes,
                        std::int64_t width_of_plane) {
    const auto vectors = static_cast<double>(up(line, lanes));
    const double start = lines == 1 ? 0 : are_whole ? unaligned * vectors : line_start;
    const double each = work * (vectors + start);
    return taps * static_cast<double>(lines) * (are_whole ? each : std::max(each, least)) +
           copy_cost * static_cast<double>(planes) *
               static_cast<double>(height * up(width_of_plane, lanes));
  };
  const bool is_flat_in_place = fits && columns_ == source_columns_ * row_stride_;
  is_flat_ = is_flat_in_place || cost(1, block_ * columns_, apart.first.size(), columns_) <
                                     cost(block_, columns_, fits ? 0 : joint.first.size(), width);
  is_in_place_ = fits && (is_flat_in_place || !is_flat_);
  Classes classes = is_flat_ && !is_in_place_ ? apart : joint;
  row_step_ = is_in_place_ ? source_columns_ * row_stride_ : columns_ + classes.most();
  if (are_whole && !is_in_place_) {
    gap_ = is_flat_ ? 0 : classes.move_behind(lanes, columns);
    row_step_ = gap_ > 0 ? columns_ + gap_ : up(row_step_, lanes) * lanes;
  }
  column_taps_ = classes.taps;
  if (is_in_place_) {
    channel_ = source_rows_ * source_columns_;
    in_place_from_ = row_classes.first[0] * source_columns_ + joint.first[0];
  }
  for (std::size_t r = 0; r < row_classes.first.size(); ++r) {
    row_classes_.push_back(
        {row_classes.first[r], row_classes.more[r], is_in_place_ ? 0 : channel_});
    if (!is_in_place_)
      channel_ += static_cast<std::int64_t>(classes.first.size()) * plane_size(row_classes.more[r]);
  }
  for (const std::int64_t first : classes.first) {
    // Elements j with 0 <= first + j * stride < source.
    const std::int64_t stride = columns.stride;
    const std::int64_t before = std::min(row_step_, first < 0 ? up(-first, stride) : 0);
    const std::int64_t from = first + before * stride;
    const std::int64_t inside = from < source_columns_ ? up(source_columns_ - from, stride) : 0;
    const std::int64_t count = std::min(inside, row_step_ - before);
    const ConvRow row{before, count, row_step_, stride};
    column_classes_.push_back({count > 0 ? from : 0, row, pattern(row)});
  }
}

std::vector<std::uint64_t> ConvPlanes::pattern(const ConvRow& row) const {
  const bool is_in_order = gap_ == 0 && row.length == row_stride_ * source_columns_;
  if (row.step != 1 || !is_in_order || row.length > most_pattern) return {};
  std::vector<std::uint64_t> words(static_cast<std::size_t>(row.length / std::gcd(row.length, 64)));
  for (std::size_t e = 0; e < 64 * words.size(); ++e) {
    const std::int64_t column = static_cast<std::int64_t>(e) % row.length - row.before;
    if (column >= 0 && column < row.count) words[e / 64] |= std::uint64_t{1} << e % 64;
  }
  return words;
}

std::int64_t ConvPlanes::plane_size(std::int64_t more) const {
  return up((block_ + more) * row_step_ + plane_end, plane_end) * plane_end;
}

std::int64_t ConvPlanes::place(std::size_t row_tap, std::size_t column_tap) const {
  const Tap& row = row_taps_[row_tap];
  const Tap& column = column_taps_[column_tap];
  const RowClass& rows = row_classes_[row.at];
  const std::int64_t plane = static_cast<std::int64_t>(column.at) * plane_size(rows.more);
  return rows.begin + plane + row.shift * row_step_ + column.shift;
}

template <class T>
void ConvPlanes::build_near(const ConvKernels<T>& kernels, const T* source, std::int64_t channels,
                            std::int64_t first, T* to, bool has_gaps) const {
  const std::int64_t gap = has_gaps ? gap_ : 0;
  for (const RowClass& rows : row_classes_) {
    // Rows h with 0 <= top + h * stride < source_rows.
    const std::int64_t height = block_ + rows.more;
    const std::int64_t top = rows.first + first * row_stride_;
    const std::int64_t above = std::min(height, top < 0 ? up(-top, row_stride_) : 0);
    const std::int64_t from = top + above * row_stride_;
    const std::int64_t inside = from < source_rows_ ? up(source_rows_ - from, row_stride_) : 0;
    ConvPlane plane;
    plane.above = above;
    plane.rows = std::min(inside, height - above);
    plane.from_row = row_stride_ * source_columns_;
    plane.to_row = row_step_;
    plane.size = plane_size(rows.more) - gap;
    plane.count = channels;
    plane.from_plane = source_rows_ * source_columns_;
    plane.to_plane = channel_;
    const T* const image = source + (plane.rows > 0 ? from * source_columns_ : 0);
    T* of_class = to + rows.begin + gap;
    for (const ColumnClass& columns : column_classes_) {
      plane.row = columns.row;
      plane.row.before -= gap;
      plane.row.length -= gap;
      plane.inside = columns.inside.empty() ? nullptr : columns.inside.data();
      plane.words = static_cast<std::int64_t>(columns.inside.size());
      kernels.copy_planes(plane, of_class, image + columns.from);
      of_class += plane_size(rows.more);
    }
  }
}

template <class T>
const T* ConvPlanes::build(const ConvKernels<T>& kernels, const T* source, std::int64_t channels,
                           std::int64_t first, T* to, bool has_gaps) const {
  if (is_in_place_) return source + in_place_from_ + first * row_step_;
  // Few enough that the rows read of them stay in the first cache level for all classes.
  std::int64_t rows = block_;
  for (const RowClass& of_class : row_classes_) rows = std::max(rows, block_ + of_class.more);
  const std::int64_t channel = source_rows_ * source_columns_;
  const std::int64_t reads = std::min(channel, rows * row_stride_ * source_columns_);
  constexpr std::int64_t most = near_bytes / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t few = std::max<std::int64_t>(1, most / std::max<std::int64_t>(1, reads));
  const std::int64_t each = row_classes_.size() * column_classes_.size() == 1 ? channels : few;
  for (std::int64_t k = 0; k < channels; k += each) {
    build_near(kernels, source + k * channel, std::min(each, channels - k), first,
               to + k * channel_, has_gaps);
  }
  return to;
}

template <class T>
ConvSpans<T> ConvPlanes::spans(const T* source, std::int64_t channels, std::int64_t first) const {
  const std::int64_t channel = source_rows_ * source_columns_;
  const std::int64_t begin = std::min(channel, first * row_stride_ * source_columns_);
  const std::int64_t end = std::min(channel, begin + block_ * row_stride_ * source_columns_);
  if (end - begin == channel) return {source, 1, 0, channels * channel};
  return {source + begin, channels, channel, end - begin};
}

template const float* ConvPlanes::build(const ConvKernels<float>&, const float*, std::int64_t,
                                        std::int64_t, float*, bool) const;
template const double* ConvPlanes::build(const ConvKernels<double>&, const double*, std::int64_t,
                                         std::int64_t, double*, bool) const;
template ConvSpans<float> ConvPlanes::spans(const float*, std::int64_t, std::int64_t) const;
template ConvSpans<double> ConvPlanes::spans(const double*, std::int64_t, std::int64_t) const;

}  // namespace blockgrad::detail
