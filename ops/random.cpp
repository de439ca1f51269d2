#include "blockgrad/ops/random.h"

#include <bit>
#include <cmath>
#include <limits>

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/order.h"
#include "graph/scalar_random.h"

namespace blockgrad {

namespace {

// Formulas are written once: with Scalars they make nodes, with numbers host tensors, in the same
// order of roundings.
struct Uniforms {
  Scalar low, high;
};
template <class T>
struct HostUniforms {
  T low, high;
};

Scalar kept_below(Scalar x, Scalar high, Scalar last) { return where(x < high, x, last); }

// Rounding may reach the upper end, which is not part of the interval.
template <class S, class U>
S uniform_formula(const U& u, S low, S width, S high, S last) {
  return kept_below(low + width * u.low, high, last);
}

// cos and sqrt(-2 log(1 - u)): 1 - u is never 0.
template <class S, class U>
S normal_formula(const U& u, S mean, S sigma, S one, S minus_two, S two_pi) {
  return mean + sigma * (sqrt(minus_two * log(one - u.low)) * cos(two_pi * u.high));
}

constexpr std::int64_t word = std::int64_t{1} << 32;
constexpr double two_pi = 6.283185307179586;
// P(|z| <= 2) of the standard normal distribution.
constexpr double inside_two_sigma = 0.9544997361036416;

// The inverse of erf on (-1, 1): Giles 2010 ("Approximating the erfinv function", table 5) as a
// start, then Newton steps with the derivative 2 / sqrt(pi) e^(-x^2).
template <class S, class Number>
S erfinv_formula(S y, Number c) {
  const S w = -log((c(1) - y) * (c(1) + y)) - c(2.5);
  S p = c(2.81022636e-08);
  for (const double k : {3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
                         -0.00125372503, -0.00417768164, 0.246640727, 1.50140941}) {
    p = c(k) + p * w;
  }
  S x = p * y;
  for (int step = 0; step < 2; ++step)
    x = x - (erf(x) - y) / (c(1.1283791670955126) * exp(-(x * x)));
  return x;
}

template <class S, class U, class Number>
S truncated_formula(const U& u, S mean, S sigma, Number c) {
  const S y = (u.low * c(2) - c(1)) * c(inside_two_sigma);
  return mean + sigma * (erfinv_formula(y, c) * c(1.4142135623730951));
}

// A number with the functions of the elementwise language, so that formulas find them.
template <class T>
struct Host {
  T value;
  friend Host operator+(Host a, Host b) { return {a.value + b.value}; }
  friend Host operator-(Host a, Host b) { return {a.value - b.value}; }
  friend Host operator*(Host a, Host b) { return {a.value * b.value}; }
  friend Host operator/(Host a, Host b) { return {a.value / b.value}; }
  friend Host operator-(Host a) { return {-a.value}; }
  friend Host sqrt(Host a) { return {math::sqrt(a.value)}; }
  friend Host log(Host a) { return {math::log(a.value)}; }
  friend Host exp(Host a) { return {math::exp(a.value)}; }
  friend Host cos(Host a) { return {math::cos(a.value)}; }
  friend Host erf(Host a) { return {math::erf(a.value)}; }
  friend Host kept_below(Host x, Host high, Host last) { return x.value < high.value ? x : last; }
};

void check_stream(const Stream& stream) {
  require(stream.number >= 0 && stream.number < word, "stream ", stream.number,
          " is outside [0, 2^32)");
  require(stream.step && stream.step.type() == TensorType{DType::i64, {}},
          "a stream wants its step as an i64 scalar, got ",
          stream.step ? to_string(stream.step.type()) : "an empty Expr");
}

void check_floating(DType dtype) {
  require(is_floating(dtype), "wants a floating dtype, got ", dtype);
}

void check_normal(double mean, double sigma) {
  require(std::isfinite(mean) && std::isfinite(sigma) && sigma >= 0,
          "wants a finite mean and sigma >= 0, got ", mean, " and ", sigma);
}

// The greatest number of the dtype below `high`.
double check_range(double low, double high, DType dtype) {
  const bool narrow = working_dtype(dtype) == DType::f32;
  const auto seen = [&](double x) {
    return narrow ? static_cast<double>(static_cast<float>(x)) : x;
  };
  require(std::isfinite(seen(low)) && std::isfinite(seen(high)) && low <= high &&
              std::isfinite(seen(high - low)),
          "wants finite bounds, low <= high, got ", low, " and ", high);
  return narrow ? std::nextafter(static_cast<float>(high), static_cast<float>(low))
                : std::nextafter(high, low);
}

std::uint64_t counter_of(std::int64_t stream, std::int64_t step) {
  return static_cast<std::uint64_t>(stream) << 32 |
         (static_cast<std::uint64_t>(step) & 0xffffffffu);
}

// One of the two uniform numbers of each element; `step` belongs to the formula.
Scalar uniform_of(const Stream& stream, Scalar step, DType dtype, bool is_high) {
  ScalarRecorder& r = ScalarRecorder::of(step);
  const Scalar counter = step + r.constant_bits(counter_of(stream.number, 0), DType::i64);
  return r.uniform(r.flat_index(), counter, r.constant_bits(stream.seed, DType::i64),
                   working_dtype(dtype), is_high);
}

// A Map over the positions of `shape`; its input, the step, has no other size.
template <class F>
Expr drawn(std::string_view name, const Shape& shape, const Stream& stream, DType dtype,
           SourceLoc where, F formula) {
  const std::string context = to_string(current_origin(where), name);
  try {
    check_stream(stream);
    return map(name, {{broadcast_to(stream.step, shape, where), where}},
               [&](std::span<const Scalar> s) {
                 const Scalar result = formula(Uniforms{uniform_of(stream, s[0], dtype, false),
                                                        uniform_of(stream, s[0], dtype, true)});
                 return is_half(dtype) ? ScalarRecorder::of(s[0]).cast(result, dtype) : result;
               });
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(context)) throw;
    throw Error(context + ": " + error.what());
  }
}

// bf16 and f16 are drawn as f32 and rounded.
template <class Prepare>
Tensor drawn_tensor(std::string_view name, const Shape& shape, const Draw& draw, DType dtype,
                    Prepare prepare) {
  try {
    check_floating(dtype);
    require(draw.stream >= 0 && draw.stream < word && draw.step >= 0 && draw.step < word,
            "wants stream and step in [0, 2^32), got ", draw.stream, " and ", draw.step);
    if (is_half(dtype)) return drawn_tensor(name, shape, draw, DType::f32, prepare).astype(dtype);
    const auto formula = prepare(dtype);
    const TensorType type{dtype, shape};
    auto data = allocate_bytes(bytes_of(type));
    const auto counter = static_cast<std::int64_t>(counter_of(draw.stream, draw.step));
    const auto key = static_cast<std::int64_t>(draw.seed);
    const auto fill = [&](auto zero) {
      using T = decltype(zero);
      T* y = reinterpret_cast<T*>(data.get());
      for (std::int64_t i = 0; i < shape.size(); ++i) {
        const HostUniforms<Host<T>> u{{math::uniform_low<T>(i, counter, key)},
                                      {math::uniform_high<T>(i, counter, key)}};
        y[i] = formula(u, [](double v) { return Host<T>{static_cast<T>(v)}; }).value;
      }
    };
    dtype == DType::f32 ? fill(0.0f) : fill(0.0);
    return adopt(type, std::move(data));
  } catch (const Error& error) {
    if (std::string_view(error.what()).starts_with(name)) throw;
    throw Error(std::string(name) + ": " + error.what());
  }
}

}  // namespace

Expr uniform(const Shape& shape, double low, double high, const Stream& stream, DType dtype,
             SourceLoc where) {
  return drawn("uniform", shape, stream, dtype, where, [&](const Uniforms& u) {
    check_floating(dtype);
    return uniform_formula<Scalar>(u, low, high - low, high, check_range(low, high, dtype));
  });
}

Expr normal(const Shape& shape, double mean, double sigma, const Stream& stream, DType dtype,
            SourceLoc where) {
  return drawn("normal", shape, stream, dtype, where, [&](const Uniforms& u) {
    check_floating(dtype);
    check_normal(mean, sigma);
    return normal_formula<Scalar>(u, mean, sigma, 1, -2, two_pi);
  });
}

Expr truncated_normal(const Shape& shape, double mean, double sigma, const Stream& stream,
                      DType dtype, SourceLoc where) {
  return drawn("truncated_normal", shape, stream, dtype, where, [&](const Uniforms& u) {
    check_floating(dtype);
    check_normal(mean, sigma);
    return truncated_formula<Scalar>(u, mean, sigma, [](double v) { return Scalar(v); });
  });
}

Expr bernoulli(const Shape& shape, double p, const Stream& stream, SourceLoc where) {
  return drawn("bernoulli", shape, stream, DType::f32, where, [&](const Uniforms& u) {
    require(p >= 0 && p <= 1, "wants a probability in [0, 1], got ", p);
    return u.low < p;
  });
}

Expr randint(const Shape& shape, std::int64_t low, std::int64_t high, const Stream& stream,
             DType dtype, SourceLoc where) {
  return drawn("randint", shape, stream, DType::f64, where, [&](const Uniforms& u) {
    require(dtype == DType::i32 || dtype == DType::i64, "wants i32 or i64, got ", dtype);
    require(low < high && static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low) <=
                              (std::uint64_t{1} << 31),
            "wants low < high, at most 2^31 apart, got ", low, " and ", high);
    const auto limit =
        dtype == DType::i32 ? std::int64_t{1} << 31 : std::numeric_limits<std::int64_t>::max();
    require(low >= -limit && high <= limit, "the numbers from ", low, " to ", high, " do not fit ",
            dtype);
    const Scalar offset = astype(floor(u.low * static_cast<double>(high - low)), DType::i64);
    ScalarRecorder& r = ScalarRecorder::of(u.low);
    return astype(offset + r.constant_bits(static_cast<std::uint64_t>(low), DType::i64), dtype);
  });
}

Expr permutation(std::int64_t n, const Stream& stream, SourceLoc where) {
  require(n >= 0, to_string(current_origin(where), "permutation"),
          ": wants a number that is not negative, got ", n);
  return argsort({uniform({n}, 0, 1, stream, DType::f64, where), where});
}

Tensor uniform_tensor(const Shape& shape, double low, double high, const Draw& draw, DType dtype) {
  return drawn_tensor("uniform_tensor", shape, draw, dtype, [&](DType working) {
    const double last = check_range(low, high, working);
    return [=](const auto& u, auto c) {
      return uniform_formula(u, c(low), c(high - low), c(high), c(last));
    };
  });
}

Tensor normal_tensor(const Shape& shape, double mean, double sigma, const Draw& draw, DType dtype) {
  return drawn_tensor("normal_tensor", shape, draw, dtype, [&](DType) {
    check_normal(mean, sigma);
    return [=](const auto& u, auto c) {
      return normal_formula(u, c(mean), c(sigma), c(1), c(-2), c(two_pi));
    };
  });
}

Tensor truncated_normal_tensor(const Shape& shape, double mean, double sigma, const Draw& draw,
                               DType dtype) {
  return drawn_tensor("truncated_normal_tensor", shape, draw, dtype, [&](DType) {
    check_normal(mean, sigma);
    return [=](const auto& u, auto c) { return truncated_formula(u, c(mean), c(sigma), c); };
  });
}

Expr dropout(Arg x, double p, Context& context) {
  const Expr e = as_expr(x, DType::f32);
  const auto where = x.where();
  const std::string name = to_string(current_origin(where), "dropout");
  require(p >= 0 && p <= 1, name, ": wants a probability in [0, 1], got ", p);
  require(is_floating(e.dtype()), name, ": wants a floating dtype, got ", e.dtype());
  if (!context.is_training() || p == 0) return e;
  // In one Map, so that the gradient draws the mask again instead of reading it.
  const Stream stream = context.stream();
  return map("dropout", {{e, where}, {broadcast_to(stream.step, e.shape(), where), where}},
             [&](std::span<const Scalar> s) {
               return blockgrad::where(uniform_of(stream, s[1], DType::f32, false) < p, 0,
                                       s[0] * (1 / (1 - p)));
             });
}

}  // namespace blockgrad
