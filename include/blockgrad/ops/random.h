#pragma once
// Random numbers: Philox4x32-10 (Salmon et al. 2011) with counter (element, step, stream) and the
// seed as key. A number is a function of these, so it is the same on every device and for every
// number of threads, and a mask is computed again where it is read instead of being stored. No
// gradient flows to the numbers.

#include "blockgrad/ops/context.h"

namespace blockgrad {

/// Evenly from [low, high): low + (high - low) u with u a multiple of 2^-24 (f64: 2^-53). Throws
/// Error if low > high, or if a bound or high - low is not finite in the dtype. bf16 and f16, here
/// and below, are drawn as f32 and rounded, which may give `high` itself.
Expr uniform(const Shape& shape, double low, double high, const Stream& stream,
             DType dtype = DType::f32, SourceLoc where = SourceLoc::here());
/// mean + sigma z, z of the standard normal distribution (Box and Muller 1958). Throws Error for
/// sigma < 0.
Expr normal(const Shape& shape, double mean, double sigma, const Stream& stream,
            DType dtype = DType::f32, SourceLoc where = SourceLoc::here());
/// The normal distribution cut to [mean - 2 sigma, mean + 2 sigma].
Expr truncated_normal(const Shape& shape, double mean, double sigma, const Stream& stream,
                      DType dtype = DType::f32, SourceLoc where = SourceLoc::here());
/// True with probability p (of 24 bits). Throws Error for p outside [0, 1].
Expr bernoulli(const Shape& shape, double p, const Stream& stream,
               SourceLoc where = SourceLoc::here());
/// Whole numbers from [low, high), i32 or i64; uneven by less than (high - low) / 2^53. Throws
/// Error unless low < high, high - low <= 2^31 and all fit the dtype.
Expr randint(const Shape& shape, std::int64_t low, std::int64_t high, const Stream& stream,
             DType dtype = DType::i32, SourceLoc where = SourceLoc::here());

/// The numbers 0 .. n-1 in random order, i32 [n]: the order of n random keys. Throws Error for n <
/// 0.
Expr permutation(std::int64_t n, const Stream& stream, SourceLoc where = SourceLoc::here());

/// The same numbers as a tensor, for initial values; stream and step as numbers.
struct Draw {
  std::uint64_t seed = 0;
  std::int64_t stream = 0, step = 0;
};
Tensor uniform_tensor(const Shape& shape, double low, double high, const Draw& draw,
                      DType dtype = DType::f32);
Tensor normal_tensor(const Shape& shape, double mean, double sigma, const Draw& draw,
                     DType dtype = DType::f32);
Tensor truncated_normal_tensor(const Shape& shape, double mean, double sigma, const Draw& draw,
                               DType dtype = DType::f32);

/// Training: each element is 0 with probability p, else x / (1 - p) (Srivastava et al. 2014,
/// inverted); otherwise, and for p = 0, x itself; p = 1 gives zeros. Throws Error for p outside [0,
/// 1].
Expr dropout(Arg x, double p, Context& context);

}  // namespace blockgrad
