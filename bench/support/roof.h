#pragma once
// What this very processor can do at most. The source is compiled with -march=native.

#include <cstddef>
#include <span>

namespace bench {

struct Roof {
  double flops = 0;  // per second: independent f32 fused multiply-adds in registers, two for each
  double bytes = 0;  // per second: a triad a[i] = b[i] + s c[i] (McCalpin 1995), 12 bytes each
};

/// Per second, measured on so many threads at once in some milliseconds. T: float or double.
template <class T>
double peak_flops(int threads);
/// The three streams of the triad have `bytes` together: what fits a cache is faster than memory.
double triad_bytes(int threads, double bytes);
/// Of this memory, each thread its own share, in the best of several orders: one stream, several
/// far apart, lines of rows.
double read_bytes(int threads, std::span<const std::byte> memory);
/// Peak of f32 and triad.
Roof measure_roof(int threads, double bytes);

}  // namespace bench
