#pragma once
// Memory that a convolution reads next, handed out piece by piece to the tiles it works on
// meanwhile, which bring it near: the source of planes is read once, and would be waited for.

#include <cstdint>

namespace blockgrad::detail {

/// Neighbours in memory: `count` times `length` elements, `step` apart.
template <class T>
struct ConvSpans {
  const T* from = nullptr;
  std::int64_t count = 0, step = 0, length = 0;
};

template <class T>
class ConvAhead {
 public:
  explicit ConvAhead(const ConvSpans<T>& first, const ConvSpans<T>& second = {})
      : spans_{first, second} {}

  /// Where the next `elements` are; `otherwise` if there are none.
  const T* take(std::int64_t elements, const T* otherwise) {
    for (; at_ < 2; ++at_, span_ = 0) {
      const ConvSpans<T>& spans = spans_[at_];
      for (; span_ < spans.count; ++span_, done_ = 0) {
        if (done_ >= spans.length) continue;
        const T* const here = spans.from + span_ * spans.step + done_;
        done_ += elements;
        return here;
      }
    }
    return otherwise;
  }

 private:
  ConvSpans<T> spans_[2];
  int at_ = 0;
  std::int64_t span_ = 0, done_ = 0;
};

}  // namespace blockgrad::detail
