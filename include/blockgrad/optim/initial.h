#pragma once
// Initial values of parameters, drawn from a seed and the parameter's name: the order in which
// parameters are made does not matter, and another one beside them changes nothing.

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "blockgrad/ops/random.h"

namespace blockgrad {

/// How a first value is drawn: `kaiming_normal().draw(shape, draw_of("fc.weight", seed), dtype)`.
struct Initial {
  std::function<Tensor(const Shape& shape, const Draw& draw, DType dtype)> draw;
};

/// fan_in and fan_out of a weight are its inputs and outputs per output and input: [in, out] as
/// matmul(x, w) takes it (unlike PyTorch's [out, in]) has fans in and out; [out, in / groups,
/// window..] as convolutions take it has fans in / groups and out times the size of the window.
/// Those that use fans throw Error for rank below 2; all throw Error for a number that is not
/// finite.

Initial constant_initial(double value);
/// Evenly from [low, high).
Initial uniform_initial(double low, double high);
Initial normal_initial(double mean, double sigma);
/// Normal, cut to [mean - 2 sigma, mean + 2 sigma].
Initial truncated_normal_initial(double mean, double sigma);
/// Evenly from [-a, a), a = gain * sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
Initial xavier_uniform(double gain = 1);
/// Normal, sigma = gain * sqrt(2 / (fan_in + fan_out)).
Initial xavier_normal(double gain = 1);
/// Evenly from [-a, a), a = gain * sqrt(3 / fan_in) (He et al. 2015); the gain is relu's.
Initial kaiming_uniform(double gain = std::sqrt(2.0));
/// Normal, sigma = gain / sqrt(fan_in).
Initial kaiming_normal(double gain = std::sqrt(2.0));
/// gain * Q with rows or columns, whichever are fewer, of length 1 and at right angles, all axes
/// behind the first taken as one (Saxe, McClelland, Ganguli 2014). Evenly over all such Q.
Initial orthogonal(double gain = 1);

/// The draw of a name: stream and step are the halves of a 64-bit hash of it (FNV-1a).
Draw draw_of(std::string_view name, std::uint64_t seed = 0);

/// A parameter whose first value is drawn for its name: `parameter(Shape{784, 128},
/// kaiming_uniform(), "fc.weight", seed)`. Floating.
Expr parameter(const Shape& shape, const Initial& initial, std::string name, std::uint64_t seed = 0,
               DType dtype = DType::f32, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
