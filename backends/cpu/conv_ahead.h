#pragma once
// Memory that a convolution reads next, handed out piece by piece to the tiles it works on
// meanwhile, which bring it near: the source of planes is read once, and would be waited for.

#include <algorithm>
#include <cstdint>

namespace blockgrad::detail {

/// Neighbours in memory: `count` times `length` elements, `step` apart.
template <class T>
struct ConvSpans {
  const T* from = nullptr;
  std::int64_t count = 0, step = 0, length = 0;
};

/// One place per term of a tile: at, at + step, ..
template <class T>
struct ConvFetch {
  const T* at = nullptr;
  std::int64_t step = 0;
};

/// Spread over all terms: more reads at once than a core keeps under way make everything wait.
template <class T>
class ConvAhead {
 public:
  /// `terms` of all tiles together; `otherwise`: fetched when nothing is left.
  ConvAhead(std::int64_t terms, const T* otherwise, const ConvSpans<T>& first,
            const ConvSpans<T>& second = {})
      : spans_{first, second}, otherwise_(otherwise) {
    constexpr std::int64_t line = 64 / static_cast<std::int64_t>(sizeof(T));
    const std::int64_t elements = first.count * first.length + second.count * second.length;
    // A little more, as spans end within a tile.
    const std::int64_t wanted = elements + elements / 8;
    step_ =
        std::clamp<std::int64_t>((wanted + terms - 1) / std::max<std::int64_t>(1, terms), 1, line);
  }

  /// For the next `terms`.
  ConvFetch<T> take(std::int64_t terms) {
    for (; at_ < 2; ++at_, span_ = 0) {
      const ConvSpans<T>& spans = spans_[at_];
      for (; span_ < spans.count; ++span_, done_ = 0) {
        if (done_ >= spans.length) continue;
        const T* const here = spans.from + span_ * spans.step + done_;
        done_ += terms * step_;
        return {here, step_};
      }
    }
    return {otherwise_, 0};
  }

 private:
  ConvSpans<T> spans_[2];
  const T* otherwise_;
  std::int64_t step_;
  int at_ = 0;
  std::int64_t span_ = 0, done_ = 0;
};

}  // namespace blockgrad::detail
