// Steps that compute element by element, broadcast.
#include <algorithm>
#include <cmath>

#include "blockgrad/ops/activations.h"
#include "blockgrad/ops/elementwise.h"
#include "tests/support/random_forms.h"

namespace random_graph {

using namespace blockgrad;
using op_check::pointwise;

namespace {

// Farther than a step of the differences moves a value in all but the steepest graphs.
constexpr double gap = 2e-3;

bool anywhere(double) { return true; }
bool below_3(double x) { return x < 3; }
bool above_zero(double x) { return x > 0.05; }
bool away_from_zero(double x) { return std::abs(x) > 0.1; }
bool off_zero(double x) { return std::abs(x) > gap; }
bool off_integers(double x) { return std::abs(x - std::nearbyint(x)) > gap; }

struct Unary {
  Expr (*op)(Arg);
  double (*value)(double);
  bool (*fits)(double);
  const char* name;
};

const Unary unaries[] = {
    {negative, [](double x) { return -x; }, anywhere, "negative"},
    {abs, [](double x) { return x < 0 ? -x : x; }, off_zero, "abs"},
    {sign, [](double x) { return x < 0 ? -1.0 : 1.0; }, off_zero, "sign"},
    {square, [](double x) { return x * x; }, anywhere, "square"},
    {reciprocal, [](double x) { return 1 / x; }, away_from_zero, "reciprocal"},
    {exp, [](double x) { return std::exp(x); }, below_3, "exp"},
    {expm1, [](double x) { return std::expm1(x); }, below_3, "expm1"},
    {log, [](double x) { return std::log(x); }, above_zero, "log"},
    {log1p, [](double x) { return std::log1p(x); }, [](double x) { return x > -0.9; }, "log1p"},
    {sqrt, [](double x) { return std::sqrt(x); }, above_zero, "sqrt"},
    {rsqrt, [](double x) { return 1 / std::sqrt(x); }, above_zero, "rsqrt"},
    {sin, [](double x) { return std::sin(x); }, anywhere, "sin"},
    {cos, [](double x) { return std::cos(x); }, anywhere, "cos"},
    {tanh, [](double x) { return std::tanh(x); }, anywhere, "tanh"},
    {erf, [](double x) { return std::erf(x); }, anywhere, "erf"},
    {normal_cdf, [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }, anywhere,
     "normal_cdf"},
    {normal_cdf_tanh,
     [](double x) {
       return 1 / (1 + std::exp(-x * (1.5957691216057308 + 0.07135481627260025 * x * x)));
     },
     anywhere, "normal_cdf_tanh"},
    {gelu_value, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }, anywhere,
     "gelu_value"},
    {gelu_slope,
     [](double x) {
       return 0.5 * std::erfc(-x / std::sqrt(2.0)) +
              x * std::exp(-0.5 * x * x) * 0.39894228040143268;
     },
     anywhere, "gelu_slope"},
    {sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, anywhere, "sigmoid"},
    {softplus, [](double x) { return std::log1p(std::exp(x)); }, anywhere, "softplus"},
    {floor, [](double x) { return std::floor(x); }, off_integers, "floor"},
    {relu, [](double x) { return x > 0 ? x : 0; }, off_zero, "relu"},
    {flush_subnormal, [](double x) { return x; }, anywhere, "flush_subnormal"},
    {silu, [](double x) { return x / (1 + std::exp(-x)); }, anywhere, "silu"},
};

struct Binary {
  Expr (*op)(Arg, Arg);
  double (*value)(double, double);
  bool (*fits)(double, double);
  const char* name;
};

bool any_pair(double, double) { return true; }
bool apart(double a, double b) { return std::abs(a - b) > gap; }

const Binary binaries[] = {
    {add, [](double a, double b) { return a + b; }, any_pair, "add"},
    {subtract, [](double a, double b) { return a - b; }, any_pair, "subtract"},
    {multiply, [](double a, double b) { return a * b; }, any_pair, "multiply"},
    {divide, [](double a, double b) { return a / b; },
     [](double, double b) { return std::abs(b) > 0.2; }, "divide"},
    {maximum, [](double a, double b) { return a > b ? a : b; }, apart, "maximum"},
    {minimum, [](double a, double b) { return a < b ? a : b; }, apart, "minimum"},
};

double user_formula(double a, double b) { return a / (1 + std::exp(-b)) + std::tanh(a * b); }

const Unary& unary_of(const Step& step) {
  return unaries[static_cast<std::size_t>(step.numbers[0])];
}
const Binary& binary_of(const Step& step) {
  return binaries[static_cast<std::size_t>(step.numbers[0])];
}

bool do_broadcast(const Shape& a, const Shape& b) {
  for (int i = 1; i <= std::min(a.rank(), b.rank()); ++i) {
    const std::int64_t m = a[a.rank() - i], n = b[b.rank() - i];
    if (m != n && m != 1 && n != 1) return false;
  }
  return true;
}

Shape joint(const Shape& a, const Shape& b) {
  std::vector<std::int64_t> sizes;
  for (int i = std::max(a.rank(), b.rank()); i >= 1; --i) {
    const std::int64_t m = i <= a.rank() ? a[a.rank() - i] : 1;
    const std::int64_t n = i <= b.rank() ? b[b.rank() - i] : 1;
    sizes.push_back(m == 1 ? n : m);
  }
  return Shape(sizes);
}

// A step that broadcasts with `shape`: an old one, or a leaf with some axes 1 or left out.
int partner(Maker& m, const Shape& shape) {
  if (m.chance(75)) {
    const int found = m.pick([&](int i) { return do_broadcast(m.shape(i), shape); });
    if (found >= 0) return found;
  }
  std::vector<std::int64_t> sizes;
  for (int a = static_cast<int>(m.below(shape.rank() + 1)); a < shape.rank(); ++a)
    sizes.push_back(m.chance(30) ? 1 : shape[a]);
  return m.leaf(Shape(sizes));
}

bool fits(const Array& a, const Array& b, bool (*pair)(double, double)) {
  const Array ok =
      pointwise(std::vector<Array>{a, b}, [&](auto v) { return pair(v[0], v[1]) ? 1.0 : 0.0; });
  return std::all_of(ok.values.begin(), ok.values.end(), [](double v) { return v == 1; });
}

bool propose_unary(Maker& m, Step& step) {
  const std::int64_t which = m.below(std::size(unaries));
  const Unary& u = unaries[which];
  const int x = m.pick([&](int i) {
    return std::all_of(m.value(i).values.begin(), m.value(i).values.end(), u.fits);
  });
  if (x < 0) return false;
  step.inputs = {x};
  step.numbers = {which};
  step.shape = m.shape(x);
  return true;
}

bool propose_binary(Maker& m, Step& step) {
  const std::int64_t which = m.below(std::size(binaries));
  const int a = m.any(), b = partner(m, m.shape(a));
  if (!fits(m.value(a), m.value(b), binaries[which].fits)) return false;
  step.inputs = m.chance(50) || which == 3 ? std::vector{a, b} : std::vector{b, a};
  step.numbers = {which};
  step.shape = joint(m.shape(a), m.shape(b));
  return true;
}

// Three values; the first two apart from each other where a comparison reads them.
bool propose_three(Maker& m, Step& step) {
  const int a = m.any(), b = partner(m, m.shape(a));
  if (!fits(m.value(a), m.value(b), apart)) return false;
  const Shape two = joint(m.shape(a), m.shape(b));
  const int c = partner(m, two);
  step.inputs = {a, b, c};
  step.shape = joint(two, m.shape(c));
  return true;
}

bool propose_two(Maker& m, Step& step) {
  const int a = m.any(), b = partner(m, m.shape(a));
  step.inputs = {a, b};
  step.shape = joint(m.shape(a), m.shape(b));
  return true;
}

bool propose_number(Maker& m, Step& step) {
  const int x = m.any();
  step.inputs = {x};
  step.numbers = {m.below(9) - 4, m.below(9) - 4};
  step.shape = m.shape(x);
  return true;
}

const Form forms[] = {
    {"unary", 24, propose_unary,
     [](const Step& s, std::span<const Array> x) {
       return pointwise(x, [&](auto v) { return unary_of(s).value(v[0]); });
     },
     [](const Step& s, std::span<const Expr> x) { return unary_of(s).op(x[0]); },
     [](const Step& s) { return unary_of(s).name; }},
    {"binary", 24, propose_binary,
     [](const Step& s, std::span<const Array> x) {
       return pointwise(x, [&](auto v) { return binary_of(s).value(v[0], v[1]); });
     },
     [](const Step& s, std::span<const Expr> x) { return binary_of(s).op(x[0], x[1]); },
     [](const Step& s) { return binary_of(s).name; }},
    {"where(a > b, b * c, a)", 4, propose_three,
     [](const Step&, std::span<const Array> x) {
       return pointwise(x, [](auto v) { return v[0] > v[1] ? v[1] * v[2] : v[0]; });
     },
     [](const Step&, std::span<const Expr> x) { return where(x[0] > x[1], x[1] * x[2], x[0]); }},
    {"fma", 3, propose_three,
     [](const Step&, std::span<const Array> x) {
       return pointwise(x, [](auto v) { return v[0] * v[1] + v[2]; });
     },
     [](const Step&, std::span<const Expr> x) { return fma(x[0], x[1], x[2]); }},
    {"elementwise(a / (1 + exp(-b)) + tanh(a * b))", 4, propose_two,
     [](const Step&, std::span<const Array> x) {
       return pointwise(x, [](auto v) { return user_formula(v[0], v[1]); });
     },
     [](const Step&, std::span<const Expr> x) {
       return elementwise([](auto a, auto b) { return a / (1 + exp(-b)) + tanh(a * b); })(x[0],
                                                                                          x[1]);
     }},
    {"n / 4 - m / 2 * a", 5, propose_number,
     [](const Step& s, std::span<const Array> x) {
       const double n = double(s.numbers[0]) / 4, m = double(s.numbers[1]) / 2;
       return pointwise(x, [=](auto v) { return n - m * v[0]; });
     },
     [](const Step& s, std::span<const Expr> x) {
       return double(s.numbers[0]) / 4 - double(s.numbers[1]) / 2 * x[0];
     }},
};

}  // namespace

std::span<const Form> map_forms() { return forms; }

}  // namespace random_graph
