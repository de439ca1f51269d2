// Steps that read whole lines of elements: reductions, softmax and its relatives, products.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/ops/neural.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/random_forms.h"

namespace random_graph {

using namespace blockgrad;
using op_check::along;
using op_check::make_array;
using op_check::pointwise;

namespace {

using Line = std::vector<double>;

constexpr double gap = 2e-3;

double total(const Line& line) { return std::accumulate(line.begin(), line.end(), 0.0); }
double powers(const Line& line) {
  double s = 0;
  for (const double v : line) s += std::exp(v);
  return s;
}

struct Fold {
  Expr (*op)(Arg, const Axes&, bool);
  double (*value)(const Line&);
  bool is_picked;
  const char* name;
};

const Fold folds[] = {
    {sum, total, false, "sum"},
    {mean, [](const Line& line) { return total(line) / double(line.size()); }, false, "mean"},
    {max, [](const Line& line) { return *std::max_element(line.begin(), line.end()); }, true,
     "max"},
    {min, [](const Line& line) { return *std::min_element(line.begin(), line.end()); }, true,
     "min"}};

const Fold& fold_of(const Step& step) { return folds[static_cast<std::size_t>(step.numbers[0])]; }

std::vector<int> axes_of(const Step& step) {
  return {step.numbers.begin() + 2, step.numbers.end()};
}

bool has_ties(const Array& x) {
  Line sorted = x.values;
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (sorted[i] - sorted[i - 1] < gap) return true;
  }
  return false;
}

// numbers: which fold, whether axes are kept, the axes.
bool propose_fold(Maker& m, Step& step) {
  const int x = m.pick([&](int i) { return m.shape(i).rank() >= 1; });
  if (x < 0) return false;
  const Shape& shape = m.shape(x);
  const std::int64_t which = m.below(std::size(folds)), keeps = m.below(2);
  if (folds[which].is_picked && has_ties(m.value(x))) return false;
  step.inputs = {x};
  step.numbers = {which, keeps};
  std::vector<std::int64_t> sizes;
  for (int a = 0; a < shape.rank(); ++a) {
    if (m.chance(50)) step.numbers.push_back(a);
  }
  if (step.numbers.size() == 2) step.numbers.push_back(m.below(shape.rank()));
  for (int a = 0; a < shape.rank(); ++a) {
    const bool drops = std::count(step.numbers.begin() + 2, step.numbers.end(), a) > 0;
    if (!drops) sizes.push_back(shape[a]);
    else if (keeps) sizes.push_back(1);
  }
  step.shape = Shape(sizes);
  return true;
}

// numbers: which of softmax, log_softmax, logsumexp; the axis.
bool propose_softmax(Maker& m, Step& step) {
  const int x = m.pick([&](int i) { return m.shape(i).rank() >= 1; });
  if (x < 0) return false;
  step.inputs = {x};
  step.numbers = {m.below(3), m.below(m.shape(x).rank())};
  std::vector<std::int64_t> sizes(m.shape(x).sizes().begin(), m.shape(x).sizes().end());
  if (step.numbers[0] == 2) sizes.erase(sizes.begin() + step.numbers[1]);
  step.shape = Shape(sizes);
  return true;
}

Array softmax_value(const Step& s, std::span<const Array> x) {
  const int axis = static_cast<int>(s.numbers[1]);
  if (s.numbers[0] == 2)
    return along(x[0], {axis}, false, [](const Line& line) { return std::log(powers(line)); });
  const Array sums = along(x[0], {axis}, true, powers);
  return pointwise(std::vector<Array>{x[0], sums}, [&](auto v) {
    return s.numbers[0] == 0 ? std::exp(v[0]) / v[1] : v[0] - std::log(v[1]);
  });
}

// The size of an axis from the back, of a matrix as it stands after transposing.
std::int64_t size_from_back(const Shape& shape, int i, bool transposed) {
  return shape[shape.rank() - (transposed ? 3 - i : i)];
}

// numbers: transpose_a, transpose_b.
bool propose_matmul(Maker& m, Step& step) {
  const int a = m.pick([&](int i) { return m.shape(i).rank() == 2 || m.shape(i).rank() == 3; });
  if (a < 0) return false;
  const bool ta = m.chance(30), tb = m.chance(30);
  const std::int64_t k = size_from_back(m.shape(a), 1, ta);
  int b = m.chance(50) ? m.pick([&](int i) {
    const Shape& s = m.shape(i);
    if (s.rank() != 2 && s.rank() != 3) return false;
    const bool fits = s.rank() == 2 || m.shape(a).rank() == 2 || s[0] == 1 || m.shape(a)[0] == 1 ||
                      s[0] == m.shape(a)[0];
    return fits && size_from_back(s, 2, tb) == k;
  })
                       : -1;
  if (b < 0) {
    const std::int64_t n = 1 + m.below(3);
    b = m.leaf(tb ? Shape{n, k} : Shape{k, n});
  }
  step.inputs = {a, b};
  step.numbers = {ta, tb};
  std::vector<std::int64_t> sizes;
  const bool batched = m.shape(a).rank() == 3 || m.shape(b).rank() == 3;
  if (batched) {
    sizes.push_back(std::max(m.shape(a).rank() == 3 ? m.shape(a)[0] : 1,
                             m.shape(b).rank() == 3 ? m.shape(b)[0] : 1));
  }
  sizes.push_back(size_from_back(m.shape(a), 2, ta));
  sizes.push_back(size_from_back(m.shape(b), 1, tb));
  step.shape = Shape(sizes);
  return true;
}

double element(const Array& x, const Index& i, std::int64_t row, std::int64_t column, bool turned) {
  Index own;
  if (x.shape.rank() == 3) own.push_back(x.shape[0] == 1 ? 0 : i[0]);
  own.push_back(turned ? column : row);
  own.push_back(turned ? row : column);
  return x.at(own);
}

Array matmul_value(const Step& s, std::span<const Array> x) {
  const bool ta = s.numbers[0] != 0, tb = s.numbers[1] != 0;
  const std::int64_t inner = size_from_back(x[0].shape, 1, ta);
  return make_array(s.shape, [&](const Index& i) {
    double result = 0;
    for (std::int64_t p = 0; p < inner; ++p) {
      result += element(x[0], i, i[i.size() - 2], p, ta) * element(x[1], i, p, i[i.size() - 1], tb);
    }
    return result;
  });
}

// numbers: a label per line of the last axis.
bool propose_cross_entropy(Maker& m, Step& step) {
  const int x = m.pick([&](int i) { return m.shape(i).rank() >= 1 && m.shape(i).rank() <= 3; });
  if (x < 0) return false;
  const std::int64_t classes = m.shape(x)[m.shape(x).rank() - 1];
  step.inputs = {x};
  for (std::int64_t i = 0; i < m.shape(x).size() / classes; ++i)
    step.numbers.push_back(m.below(classes));
  return true;
}

Array cross_entropy_value(const Step& s, std::span<const Array> x) {
  const std::size_t classes = x[0].values.size() / s.numbers.size();
  double result = 0;
  for (std::size_t i = 0; i < s.numbers.size(); ++i) {
    const Line line(x[0].values.begin() + static_cast<std::ptrdiff_t>(i * classes),
                    x[0].values.begin() + static_cast<std::ptrdiff_t>((i + 1) * classes));
    result += std::log(powers(line)) - line[static_cast<std::size_t>(s.numbers[i])];
  }
  return {{}, {result / double(s.numbers.size())}};
}

Expr cross_entropy_of(const Step& s, std::span<const Expr> x) {
  const Shape labels(x[0].shape().sizes().first(static_cast<std::size_t>(x[0].rank() - 1)));
  return mean(
      cross_entropy(x[0], constant(tensor(std::span<const std::int64_t>(s.numbers), labels))));
}

bool propose_mse(Maker& m, Step& step) {
  const int x = m.any();
  step.inputs = {x, m.of_shape(m.shape(x))};
  return true;
}

const Form forms[] = {
    {"fold", 14, propose_fold,
     [](const Step& s, std::span<const Array> x) {
       return along(x[0], axes_of(s), s.numbers[1] != 0, fold_of(s).value);
     },
     [](const Step& s, std::span<const Expr> x) {
       Axes axes;
       axes.list = axes_of(s);
       return fold_of(s).op(x[0], axes, s.numbers[1] != 0);
     },
     [](const Step& s) { return fold_of(s).name; }},
    {"softmax", 6, propose_softmax, softmax_value,
     [](const Step& s, std::span<const Expr> x) {
       const int axis = static_cast<int>(s.numbers[1]);
       if (s.numbers[0] == 2) return logsumexp(x[0], axis);
       return s.numbers[0] == 0 ? softmax(x[0], axis) : log_softmax(x[0], axis);
     },
     [](const Step& s) {
       return s.numbers[0] == 0 ? "softmax" : s.numbers[0] == 1 ? "log_softmax" : "logsumexp";
     }},
    {"matmul", 14, propose_matmul, matmul_value,
     [](const Step& s, std::span<const Expr> x) {
       return matmul(x[0], x[1],
                     {.transpose_a = s.numbers[0] != 0, .transpose_b = s.numbers[1] != 0});
     }},
    {"mean(cross_entropy)", 2, propose_cross_entropy, cross_entropy_value, cross_entropy_of},
    {"mean(mse_loss)", 2, propose_mse,
     [](const Step&, std::span<const Array> x) {
       double result = 0;
       for (std::size_t i = 0; i < x[0].values.size(); ++i) {
         const double d = x[0].values[i] - x[1].values[i];
         result += d * d;
       }
       return Array{{}, {result / double(x[0].values.size())}};
     },
     [](const Step&, std::span<const Expr> x) { return mean(mse_loss(x[0], x[1])); }},
};

}  // namespace

std::span<const Form> line_forms() { return forms; }

}  // namespace random_graph
