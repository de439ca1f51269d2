// Steps that move elements: shapes, parts of axes, rows by number.
#include <numeric>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "tests/support/random_forms.h"

namespace random_graph {

using namespace blockgrad;
using op_check::make_array;

namespace {

using Sizes = std::vector<std::int64_t>;

Sizes sizes_of(const Shape& shape) { return {shape.sizes().begin(), shape.sizes().end()}; }

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

int with_axes(Maker& m, int least, int most = 4) {
  return m.pick([=, &m](int i) { return m.shape(i).rank() >= least && m.shape(i).rank() <= most; });
}

bool propose_reshape(Maker& m, Step& step) {
  const int x = m.any();
  step.inputs = {x};
  // Sizes that divide what is left, in any order.
  Sizes sizes;
  std::int64_t left = m.shape(x).size();
  for (int a = 0; a < 2 && left > 1; ++a) {
    std::int64_t size = 1 + m.below(left);
    while (left % size != 0) --size;
    sizes.push_back(size);
    left /= size;
  }
  if (left > 1 || m.chance(20)) sizes.insert(sizes.begin() + m.below(std::ssize(sizes) + 1), left);
  step.shape = Shape(sizes);
  return true;
}

bool propose_permutation(Maker& m, Step& step) {
  const int x = with_axes(m, 2);
  if (x < 0) return false;
  step.inputs = {x};
  step.numbers.resize(at(m.shape(x).rank()));
  std::iota(step.numbers.begin(), step.numbers.end(), 0);
  for (std::size_t i = step.numbers.size(); i-- > 1;)
    std::swap(step.numbers[i], step.numbers[at(m.below(std::ssize(step.numbers)))]);
  Sizes sizes;
  for (const std::int64_t axis : step.numbers) sizes.push_back(m.shape(x)[static_cast<int>(axis)]);
  step.shape = Shape(sizes);
  return true;
}

bool propose_broadcast(Maker& m, Step& step) {
  const int x = with_axes(m, 0, 2);
  if (x < 0 || m.shape(x).size() > 6) return false;
  step.inputs = {x};
  Sizes sizes = sizes_of(m.shape(x));
  for (std::int64_t& size : sizes) size = size == 1 ? 1 + m.below(3) : size;
  if (m.chance(50)) sizes.insert(sizes.begin(), 1 + m.below(3));
  step.shape = Shape(sizes);
  return true;
}

// numbers: axis, first, step.
bool propose_slice(Maker& m, Step& step) {
  const int x = with_axes(m, 1);
  if (x < 0) return false;
  const std::int64_t axis = m.below(m.shape(x).rank());
  const std::int64_t n = m.shape(x)[static_cast<int>(axis)];
  if (n < 2) return false;
  const std::int64_t first = m.below(n), stride = 1 + m.below(2);
  const std::int64_t stop = first + 1 + m.below(n - first);
  step.inputs = {x};
  step.numbers = {axis, first, stride, stop};
  Sizes sizes = sizes_of(m.shape(x));
  sizes[at(axis)] = (stop - first + stride - 1) / stride;
  step.shape = Shape(sizes);
  return true;
}

Array sliced(const Step& s, std::span<const Array> x) {
  return make_array(s.shape, [&](Index i) {
    std::int64_t& place = i[at(s.numbers[0])];
    place = s.numbers[1] + place * s.numbers[2];
    return x[0].at(i);
  });
}

bool propose_concat(Maker& m, Step& step) {
  const int x = with_axes(m, 1, 3);
  if (x < 0) return false;
  const std::int64_t axis = m.below(m.shape(x).rank());
  const auto fits = [&](int i) {
    Sizes a = sizes_of(m.shape(i)), b = sizes_of(m.shape(x));
    if (a.size() != b.size()) return false;
    a[at(axis)] = b[at(axis)] = 0;
    return a == b;
  };
  step.inputs = {x};
  for (std::int64_t parts = 1 + m.below(2); parts-- > 0;) {
    Sizes sizes = sizes_of(m.shape(x));
    sizes[at(axis)] = 1 + m.below(2);
    const int old = m.chance(60) ? m.pick(fits) : -1;
    step.inputs.push_back(old >= 0 ? old : m.leaf(Shape(sizes)));
  }
  step.numbers = {axis};
  Sizes sizes = sizes_of(m.shape(x));
  sizes[at(axis)] = 0;
  for (const int part : step.inputs) sizes[at(axis)] += m.shape(part)[static_cast<int>(axis)];
  step.shape = Shape(sizes);
  return true;
}

Array joined(const Step& s, std::span<const Array> parts) {
  return make_array(s.shape, [&](Index i) {
    std::int64_t& place = i[at(s.numbers[0])];
    std::size_t part = 0;
    while (place >= parts[part].shape[static_cast<int>(s.numbers[0])])
      place -= parts[part++].shape[static_cast<int>(s.numbers[0])];
    return parts[part].at(i);
  });
}

Tensor rows_of(const Step& s) {
  return tensor(std::span<const std::int64_t>(s.numbers),
                Shape{static_cast<std::int64_t>(s.numbers.size())});
}

bool propose_take(Maker& m, Step& step) {
  const int x = with_axes(m, 1, 3);
  if (x < 0) return false;
  step.inputs = {x};
  for (std::int64_t count = 1 + m.below(4); count-- > 0;)
    step.numbers.push_back(m.below(m.shape(x)[0]));
  Sizes sizes = sizes_of(m.shape(x));
  sizes[0] = std::ssize(step.numbers);
  step.shape = Shape(sizes);
  return true;
}

bool propose_scatter(Maker& m, Step& step) {
  if (!propose_take(m, step)) return false;
  const int x = step.inputs[0];
  step.inputs.push_back(m.of_shape(step.shape));
  step.shape = m.shape(x);
  return true;
}

Array scattered(const Step& s, std::span<const Array> x) {
  Array y = x[0];
  const std::size_t row = y.values.size() / at(y.shape[0]);
  for (std::size_t k = 0; k < s.numbers.size(); ++k) {
    for (std::size_t e = 0; e < row; ++e)
      y.values[at(s.numbers[k]) * row + e] += x[1].values[k * row + e];
  }
  return y;
}

const Form forms[] = {
    {"reshape", 5, propose_reshape,
     [](const Step& s, std::span<const Array> x) { return Array{s.shape, x[0].values}; },
     [](const Step& s, std::span<const Expr> x) { return reshape(x[0], s.shape); }},
    {"permute_dims", 5, propose_permutation,
     [](const Step& s, std::span<const Array> x) {
       return make_array(s.shape, [&](const Index& i) {
         Index from(i.size());
         for (std::size_t a = 0; a < i.size(); ++a) from[at(s.numbers[a])] = i[a];
         return x[0].at(from);
       });
     },
     [](const Step& s, std::span<const Expr> x) {
       return permute_dims(x[0], std::vector<int>(s.numbers.begin(), s.numbers.end()));
     }},
    {"broadcast_to", 3, propose_broadcast,
     [](const Step& s, std::span<const Array> x) {
       return make_array(s.shape, [&](const Index& i) {
         Index from(i.end() - x[0].shape.rank(), i.end());
         for (int a = 0; a < x[0].shape.rank(); ++a) {
           if (x[0].shape[a] == 1) from[at(a)] = 0;
         }
         return x[0].at(from);
       });
     },
     [](const Step& s, std::span<const Expr> x) { return broadcast_to(x[0], s.shape); }},
    {"slice", 6, propose_slice, sliced,
     [](const Step& s, std::span<const Expr> x) {
       return slice(x[0], static_cast<int>(s.numbers[0]), s.numbers[1], s.numbers[3], s.numbers[2]);
     }},
    {"concat", 4, propose_concat, joined,
     [](const Step& s, std::span<const Expr> x) {
       return concat(x, static_cast<int>(s.numbers[0]));
     }},
    {"take", 3, propose_take,
     [](const Step& s, std::span<const Array> x) {
       return make_array(s.shape, [&](Index i) {
         i[0] = s.numbers[at(i[0])];
         return x[0].at(i);
       });
     },
     [](const Step& s, std::span<const Expr> x) { return take(x[0], constant(rows_of(s))); }},
    {"scatter_add", 2, propose_scatter, scattered,
     [](const Step& s, std::span<const Expr> x) {
       return scatter_add(x[0], constant(rows_of(s)), x[1]);
     }},
};

}  // namespace

std::span<const Form> view_forms() { return forms; }

}  // namespace random_graph
