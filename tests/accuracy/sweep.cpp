#include "tests/accuracy/sweep.h"

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <vector>

namespace accuracy {

namespace {

namespace bg = blockgrad;

constexpr std::int64_t block = 1 << 15;  // arguments of one run

/// |y - reference| in units of T's last place at the reference, or at 2^small times the least
/// normal number if that is larger.
template <class T, class Reference>
double ulps(T y, Reference reference, int small) {
  constexpr double wrong = std::numeric_limits<double>::infinity();
  if (std::isnan(reference)) return std::isnan(y) ? 0 : wrong;
  const T rounded = static_cast<T>(reference);
  if (rounded == y) {
    if (std::isinf(y)) return 0;
  } else if (std::isinf(rounded) || std::isinf(y) || std::isnan(y)) {
    return wrong;
  }
  using Limits = std::numeric_limits<T>;
  int exponent = 0;
  std::frexp(reference, &exponent);
  const int last = std::max(exponent, Limits::min_exponent + small) - Limits::digits;
  return static_cast<double>(std::fabs(std::ldexp(static_cast<Reference>(y) - reference, -last)));
}

/// A function compiled for one instruction set.
template <class T>
class Compiled {
 public:
  Compiled(const Function& f, const std::string& isa)
      : x_(bg::input("x", {block}, bg::dtype_of<T>())),
        program_(bg::compile({f.of(x_)}, {}, bg::cpu(), {.threads = 1, .isa = isa})) {}

  /// The values at `block` arguments.
  bg::Tensor operator()(const std::vector<T>& arguments) {
    return program_.run({{x_, bg::tensor(std::span<const T>(arguments), {block})}}).tensor(0);
  }

 private:
  bg::Expr x_;
  bg::Program program_;
};

/// Hands arguments over in blocks; the last one is filled up with ones.
template <class T>
class Blocks {
 public:
  using Visit = std::function<void(const std::vector<T>&)>;
  explicit Blocks(Visit visit) : visit_(std::move(visit)) {}
  void add(T x) {
    arguments_.push_back(x);
    if (static_cast<std::int64_t>(arguments_.size()) == block) flush();
  }
  void finish() {
    if (arguments_.empty()) return;
    arguments_.resize(static_cast<std::size_t>(block), T(1));
    flush();
  }

 private:
  void flush() {
    visit_(arguments_);
    arguments_.clear();
  }
  Visit visit_;
  std::vector<T> arguments_;
};

template <class Take>
void each_float(int inner, int outer, Take take) {
  constexpr std::uint64_t low = (127 - 16) << 23, high = (127 + 16) << 23;
  for (const std::uint64_t sign : {std::uint64_t{0}, std::uint64_t{1} << 31}) {
    for (std::uint64_t pattern = 0; pattern < (std::uint64_t{1} << 31);) {
      take(std::bit_cast<float>(static_cast<std::uint32_t>(sign | pattern)));
      const bool is_inner = pattern >= low && pattern < high;
      const std::uint64_t next = pattern + static_cast<std::uint64_t>(is_inner ? inner : outer);
      pattern = pattern < low && next > low ? low : next;
    }
  }
}

/// Of a random number's bits: its sign and significand, and an exponent at one of the two ends.
double at_an_end(std::uint64_t bits) {
  const std::uint64_t significand = bits & 0x800fffffffffffff, exponent = (bits >> 52) & 15;
  const bool is_large = (bits >> 56 & 1) != 0;
  return std::bit_cast<double>(significand | (is_large ? 0x7fe - exponent : exponent) << 52);
}

template <class Take>
void each_double(int arguments, Take take) {
  std::mt19937_64 random(1);
  for (int i = 0; i < arguments; ++i) {
    const std::uint64_t bits = random();
    const double x = std::ldexp(static_cast<double>(static_cast<std::int64_t>(bits)), -63);
    switch (i % 8) {
      case 0: take(std::bit_cast<double>(bits)); break;
      case 1: take(x); break;
      case 2: take(x * 7); break;
      case 3: take(x * 40); break;
      case 4: take(x * 800); break;
      case 5: take(std::copysign(708.4, bits % 2 == 0 ? x : -x) + x * x * x * 40); break;
      case 6: take(std::copysign(37.6, bits % 2 == 0 ? x : -x) + x * x * x); break;
      default: take(at_an_end(bits));
    }
  }
}

template <class T, class Reference, class Each>
Worst sweep(const Function& f, const std::string& isa, int small, Reference reference, Each each) {
  Compiled<T> function(f, isa);
  Worst worst;
  Blocks<T> blocks([&](const std::vector<T>& x) {
    const bg::Tensor result = function(x);
    const std::span<const T> y = result.span<T>();
    worst.arguments += x.size();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(y[i], reference(x[i]), small);
      if (!(error <= worst.error)) worst.error = error, worst.at = static_cast<double>(x[i]);
    }
  });
  each([&](T x) { blocks.add(x); });
  blocks.finish();
  return worst;
}

template <class T, class Each>
double difference(const Function& f, const std::string& isa, const std::string& other, Each each) {
  Compiled<T> one(f, isa), two(f, other);
  double found = std::numeric_limits<double>::quiet_NaN();
  Blocks<T> blocks([&](const std::vector<T>& x) {
    const bg::Tensor left = one(x), right = two(x);
    const std::span<const T> a = left.span<T>(), b = right.span<T>();
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    for (std::size_t i = 0; i < x.size() && std::isnan(found); ++i) {
      const bool same = std::bit_cast<Bits>(a[i]) == std::bit_cast<Bits>(b[i]) ||
                        (std::isnan(a[i]) && std::isnan(b[i]));
      if (!same) found = static_cast<double>(x[i]);
    }
  });
  each([&](T x) { blocks.add(x); });
  blocks.finish();
  return found;
}

}  // namespace

Worst sweep_floats(const Function& f, const std::string& isa, int inner, int outer) {
  return sweep<float>(
      f, isa, f.small32, [&](float x) { return f.reference(static_cast<double>(x)); },
      [&](auto take) { each_float(inner, outer, take); });
}

Worst sweep_doubles(const Function& f, const std::string& isa, int arguments) {
  return sweep<double>(
      f, isa, f.small64, [&](double x) { return f.wide_reference(static_cast<long double>(x)); },
      [&](auto take) { each_double(arguments, take); });
}

double first_float_difference(const Function& f, const std::string& isa, const std::string& other,
                              int stride) {
  return difference<float>(f, isa, other, [&](auto take) { each_float(stride, stride, take); });
}
double first_double_difference(const Function& f, const std::string& isa, const std::string& other,
                               int arguments) {
  return difference<double>(f, isa, other, [&](auto take) { each_double(arguments, take); });
}

}  // namespace accuracy
