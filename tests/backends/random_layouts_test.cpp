// Random graphs of values that are large enough to be made where copies and joins put them: Maps,
// products and attention between joins, splits and exchanged axes. Equal bits whether memory is
// used again or not, in one run and in the next, whose parameters the first one has changed.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <numeric>
#include <random>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr std::int64_t most_elements = 16384;

struct Model {
  std::vector<Output> outputs;
  Updates updates;
};

class Drawing {
 public:
  explicit Drawing(std::uint64_t seed)
      : random_(seed), dtype_(chance(70) ? DType::f32 : DType::f64) {}

  Model model() {
    values_.push_back(parameter_of({2, 16, chance(50) ? 128 : 192}));
    values_.push_back(parameter_of({2, 4, 16, chance(50) ? 32 : 64}));
    for (std::int64_t steps = 6 + below(20); steps > 0; --steps) {
      const Expr made = step(any());
      if (made.shape().size() <= 4 * most_elements) values_.push_back(made);
    }
    Model model;
    for (int i = 0; i < 3; ++i) model.outputs.emplace_back(any());
    model.outputs.emplace_back(values_.back());
    const std::vector<Expr> known = parameters_;
    for (const Expr& p : known) {
      if (!chance(50)) continue;
      model.updates.set(p, tanh(of(p.shape())) * 0.75);
      model.outputs.emplace_back(p);
    }
    return model;
  }

 private:
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(n));
  }
  bool chance(int percent) { return below(100) < percent; }

  Expr parameter_of(const Shape& shape) {
    std::vector<double> values;
    for (std::int64_t i = 0; i < shape.size(); ++i)
      values.push_back(static_cast<double>(random_() >> 11) * 0x1p-52 - 1);
    const Tensor initial = tensor(std::span<const double>(values), shape).astype(dtype_);
    parameters_.push_back(parameter(initial, "p" + std::to_string(parameters_.size())));
    return parameters_.back();
  }
  // Late ones more often.
  Expr any() {
    const std::int64_t n = std::ssize(values_);
    return values_[static_cast<std::size_t>(std::max(below(n), below(n)))];
  }
  Expr of(const Shape& shape) {
    std::vector<Expr> fitting;
    for (const Expr& e : values_) {
      if (e.shape() == shape) fitting.push_back(e);
    }
    if (fitting.empty() || chance(20)) return tanh(parameter_of(shape));
    return fitting[static_cast<std::size_t>(below(std::ssize(fitting)))];
  }

  Expr step(const Expr& x) {
    const bool is_small = x.shape().size() <= most_elements;
    switch (below(8)) {
      case 0: return permuted(x);
      case 1: return cut(x);
      case 2: return is_small ? joined(x) : map(x);
      case 3: return is_small ? padded(x) : map(x);
      case 4: return split_and_joined(x);
      case 5:
      case 6: return heads(x);
      default: return map(x);
    }
  }

  static Expr same(const Expr& x) {
    return elementwise([](auto v) { return v; })(x);
  }

  Expr map(const Expr& x) {
    switch (below(4)) {
      case 0: return tanh(x);
      case 1: return x * 0.5 + 0.25;
      case 2: return same(x);
      default: return tanh(x + of(x.shape()));
    }
  }

  Expr permuted(const Expr& x) {
    std::vector<int> axes(static_cast<std::size_t>(x.shape().rank()));
    std::iota(axes.begin(), axes.end(), 0);
    if (axes.size() == 4 && chance(60)) std::swap(axes[1], axes[2]);
    else std::shuffle(axes.begin(), axes.end(), random_);
    return permute_dims(x, axes);
  }

  int axis_of(const Expr& x) {
    const int rank = x.shape().rank();
    return chance(50) ? rank - 1 : static_cast<int>(below(rank));
  }

  Expr cut(const Expr& x) {
    const int axis = axis_of(x);
    const std::int64_t size = x.shape()[axis];
    if (size < 2) return map(x);
    return chance(50) ? slice(x, axis, size / 2, size) : slice(x, axis, 0, size, 2);
  }

  Expr joined(const Expr& x) {
    const int axis = axis_of(x);
    std::vector<Expr> parts{map(x)};
    for (std::int64_t more = 1 + below(3); more > 0; --more) {
      const Expr part = chance(20) ? parts[0] : of(x.shape());
      parts.push_back(chance(50) ? map(part) : part);
    }
    if (chance(20)) values_.push_back(parts[0]);
    return concat(parts, axis);
  }

  Expr padded(const Expr& x) {
    std::vector<std::int64_t> low(static_cast<std::size_t>(x.shape().rank()), 0), high = low;
    const auto axis = static_cast<std::size_t>(axis_of(x));
    low[axis] = 16 * below(2);
    high[axis] = below(3);
    return pad(map(x), low, high, 0.0);
  }

  Expr split_and_joined(const Expr& x) {
    const int axis = axis_of(x);
    const std::int64_t parts = chance(50) ? 2 : 3;
    if (x.shape()[axis] % parts != 0) return map(x);
    std::vector<Expr> pieces = split(x, parts, axis);
    std::shuffle(pieces.begin(), pieces.end(), random_);
    for (Expr& piece : pieces) piece = chance(70) ? map(piece) : piece;
    return concat(pieces, axis);
  }

  // Attention of heads side by side, joined again.
  Expr heads(const Expr& x) {
    const Shape& s = x.shape();
    Expr q = x;
    if (s.rank() == 3 && s[2] % 32 == 0)
      q = permute_dims(reshape(x, {s[0], s[1], s[2] / 32, 32}), {{0, 2, 1, 3}});
    if (q.shape().rank() != 4 || q.shape()[2] > 64) return map(x);
    const Expr made =
        attention(q, of(q.shape()), chance(50) ? q : of(q.shape()), {.causal = chance(50)});
    if (chance(30)) values_.push_back(made);
    const Shape& h = made.shape();
    const Expr y = permute_dims(made, {{0, 2, 1, 3}});
    if (chance(30)) return chance(50) ? y : concat({same(y), map(of(y.shape()))}, 3);
    const std::int64_t width = h[1] * h[3];
    values_.push_back(reshape(y, {h[0], h[2], width}));
    return matmul(values_.back(), parameter_of({width, 64})) * 0.25;
  }

  std::mt19937_64 random_;
  DType dtype_;
  std::vector<Expr> values_, parameters_;
};

std::vector<Tensor> values(std::uint64_t seed, const CompileOptions& options,
                           int* made_there = nullptr) {
  const Model model = Drawing(seed).model();
  Program program = compile(model.outputs, model.updates, cpu(), options);
  if (made_there && contains(program.explain(), "made in place")) ++*made_there;
  std::vector<Tensor> all;
  for (int run = 0; run < 2; ++run) {
    const Results results = program.run();
    for (std::size_t i = 0; i < model.outputs.size(); ++i)
      all.push_back(results.tensor(static_cast<int>(i)));
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(random_layouts)

BOOST_AUTO_TEST_CASE(values_in_each_others_places_have_equal_bits) {
  constexpr std::uint64_t graphs = 120;
  int made_there = 0;
  for (std::uint64_t seed = 1; seed <= graphs; ++seed) {
    const auto expected = values(seed, {.threads = 1, .reuse_memory = false});
    BOOST_TEST(same_bits(values(seed, {.threads = 3}, &made_there), expected), "seed " << seed);
    BOOST_TEST(same_bits(values(seed, {.skip = {"simplify"}}), expected),
               "simplify left out, seed " << seed);
    BOOST_TEST(same_bits(values(seed, {.check_numerics = true}), expected),
               "check_numerics, seed " << seed);
  }
  BOOST_TEST(made_there >= static_cast<int>(graphs / 3));
}

BOOST_AUTO_TEST_SUITE_END()
