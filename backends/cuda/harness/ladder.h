#pragma once
// The ladder of matmul kernels from the outside: what each rung is, how it cuts a product, and a
// run of it on the CPU against the sum it must give.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace blockgrad::harness {

/// Of C[m, n] = sum over k of A[m, k] B[k, n], row-major.
struct LadderSize {
  long m = 0, n = 0, k = 0;
};

/// How one run went: elements of C that are not, bit for bit, the chain of fused multiply-adds (on
/// tensor cores: that are further from the f64 sum than f32 sums may be).
struct LadderRun {
  long wrong = 0;
  std::int64_t blocks = 0;
  std::int64_t threads = 0;
};

struct Rung {
  std::string_view name;
  std::string_view idea;  // what it does that the one before does not
  std::string_view cut;   // the levels that blocks nest in
  std::string_view file;
  long tile_m, tile_n;  // a value of A is read from global memory n / tile_n times, of B m / tile_m
  // How far C may be from the first rung's, in parts of the largest element, where operands are
  // random in [-1, 1) and k is some thousands: 0 for the same chain; for another order of f32 sums
  // and for TF32 several times what is to be expected, and less than one lost product shows.
  double bound;

  /// On random numbers drawn from the seed, which also draws the order of the threads. Throws
  /// KernelFault where a barrier is missed, std::runtime_error where memory beside an operand is
  /// written. Sizes are at least 1.
  LadderRun (*run)(const LadderSize& size, std::uint64_t seed);
};

/// From the first rung to the last.
std::span<const Rung> ladder();

/// Bytes of A and B that the rung's blocks ask of global memory, f32.
double bytes_read(const Rung& rung, const LadderSize& size);

}  // namespace blockgrad::harness
