#include "backends/cuda/rows/cuda_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace blockgrad {

namespace {

/// An axis as its elements are numbered: neighbours are `step` numbers apart.
struct Axis {
  std::int64_t size = 1, step = 1, stride = 0;
  std::string name;
  bool is_along = false;
};

/// coordinate / divisor % modulus * stride; modulus 0: none is needed.
struct Term {
  std::size_t axis = 0;
  std::int64_t divisor = 1, size = 1, stride = 0;
  bool is_top = false;
};

/// Outermost first, neighbours joined where they step evenly.
std::vector<Axis> axes_of(const Layout& layout) {
  std::vector<Axis> axes;
  std::int64_t step = 1;
  for (int a = layout.shape.rank(); a-- > 0;) {
    const std::int64_t size = layout.shape[a], stride = layout.strides[static_cast<std::size_t>(a)];
    if (size == 1) continue;
    if (!axes.empty() && stride == axes.back().stride * axes.back().size) axes.back().size *= size;
    else axes.push_back({size, step, stride, {}});
    step *= size;
  }
  std::reverse(axes.begin(), axes.end());
  return axes;
}

const Axis& axis_with(const std::vector<Axis>& axes, std::int64_t step) {
  return *std::find_if(axes.begin(), axes.end(), [&](const Axis& axis) {
    return axis.step <= step && step < axis.step * axis.size;
  });
}

/// The layout in terms of other axes over the same elements, innermost first; nothing if an element
/// of one axis is not a whole number of elements of the other.
std::optional<std::vector<Term>> terms_of(const std::vector<Axis>& space, const Layout& layout) {
  const std::vector<Axis> seen = axes_of(layout);
  std::vector<std::int64_t> steps;
  for (const auto* axes : {&space, &seen}) {
    for (const Axis& axis : *axes) {
      if (axis.size == 1) continue;
      steps.push_back(axis.step);
      steps.push_back(axis.step * axis.size);
    }
  }
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  std::vector<Term> terms;
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    if (steps[i + 1] % steps[i] != 0) return std::nullopt;
    const Axis &own = axis_with(space, steps[i]), &other = axis_with(seen, steps[i]);
    Term term{static_cast<std::size_t>(&own - space.data()), steps[i] / own.step,
              steps[i + 1] / steps[i], other.stride * (steps[i] / other.step), false};
    const bool joins = !terms.empty() && terms.back().axis == term.axis &&
                       term.stride == terms.back().stride * terms.back().size;
    if (joins) terms.back().size *= term.size;
    else terms.push_back(term);
    terms.back().is_top = terms.back().divisor * terms.back().size == own.size;
  }
  return terms;
}

std::string text_of(const Term& term, const std::string& name) {
  std::string text = name;
  if (term.divisor > 1) text = fmt::format("{} / {}", text, term.divisor);
  if (!term.is_top) text = fmt::format("{} % {}", text, term.size);
  return term.stride == 1 ? text : fmt::format("({}) * {}", text, term.stride);
}

void add(std::string& sum, const std::string& term) {
  if (sum == "0") sum = term;
  else sum += " + " + term;
}

}  // namespace

CudaLines::CudaLines(const RowSpace& space)
    : stretches{{space.outer, false}, {space.n, true}, {space.inner, false}, {space.tail, true}} {
  while (stretches.size() > 2 && stretches.back().size == 1) stretches.pop_back();
}

CudaLines::CudaLines(const Reduce& reduce, const Shape& shape) {
  for (int a = 0; a < shape.rank(); ++a) {
    if (shape[a] == 1) continue;
    const bool is_along = (reduce.axes >> a & 1u) != 0;
    if (stretches.empty() || stretches.back().is_along != is_along)
      stretches.push_back({1, is_along});
    stretches.back().size *= shape[a];
  }
  if (stretches.empty()) stretches.push_back({1, false});
}

std::int64_t CudaLines::size(bool is_along) const {
  std::int64_t size = 1;
  for (const Stretch& stretch : stretches) size *= stretch.is_along == is_along ? stretch.size : 1;
  return size;
}

std::string CudaLines::coordinates(bool is_along, std::string_view number,
                                   std::string_view indent) const {
  std::string text, rest(number);
  std::size_t left = 0;
  for (const Stretch& stretch : stretches) left += stretch.is_along == is_along ? 1 : 0;
  std::int64_t divisor = 1;
  for (std::size_t s = stretches.size(); s-- > 0;) {
    if (stretches[s].is_along != is_along) continue;
    const std::int64_t size = std::max<std::int64_t>(1, stretches[s].size);
    std::string value = divisor == 1 ? rest : fmt::format("{} / {}", rest, divisor);
    if (--left > 0) value += fmt::format(" % {}", size);
    text += fmt::format("{}const long c{} = {};\n", indent, s, value);
    divisor *= size;
  }
  return text;
}

CudaPlace place_of_elements(const CudaLines& lines, const Layout& layout) {
  CudaPlace place;
  if (layout.shape.size() == 0) return place;
  std::vector<Axis> space;
  std::int64_t step = 1;
  for (std::size_t s = lines.stretches.size(); s-- > 0;) {
    const CudaLines::Stretch& stretch = lines.stretches[s];
    space.push_back({stretch.size, step, 0, fmt::format("c{}", s), stretch.is_along});
    step *= stretch.size;
  }
  std::optional<std::vector<Term>> terms = terms_of(space, layout);
  if (!terms) {
    place.needs_number = true;
    place.is_same_along = false;
    space = {{layout.shape.size(), 1, 0, "e", true}};
    terms = terms_of(space, layout);
  }
  place.run = 16;
  for (const Term& term : *terms) {
    const bool is_run = &term == terms->data() && space[term.axis].is_along && term.divisor == 1 &&
                        term.stride == 1 && space[term.axis].step == 1;
    while (place.run > 1 && (is_run ? term.size : term.stride) % place.run != 0) place.run /= 2;
    if (&term == terms->data() && !is_run) place.run = 1;
    if (term.stride == 0) continue;
    const Axis& axis = space[term.axis];
    add(axis.is_along ? place.along : place.line, text_of(term, axis.name));
    if (axis.is_along) place.is_same_along = false;
  }
  if (place.needs_number) place.run = 1;
  return place;
}

CudaPlace place_of_lines(const Layout& layout) {
  CudaPlace place;
  if (layout.shape.size() == 0) return place;
  const std::vector<Axis> space = {{layout.shape.size(), 1, 0, "line", false}};
  const std::optional<std::vector<Term>> terms = terms_of(space, layout);
  for (const Term& term : *terms) {
    if (term.stride != 0) add(place.line, text_of(term, "line"));
  }
  return place;
}

}  // namespace blockgrad
