#pragma once
// What this very processor can do at most. The source is compiled with -march=native.

namespace bench {

struct Roof {
  double flops = 0;  // per second: independent f32 fused multiply-adds in registers, two for each
  double bytes = 0;  // per second: a triad a[i] = b[i] + s c[i] (McCalpin 1995), 12 bytes each
};

/// Measured on so many threads at once, in some milliseconds. The three streams of the triad have
/// `bytes` together: what fits a cache is faster than memory.
double peak_flops(int threads);
double triad_bytes(int threads, double bytes);
Roof measure_roof(int threads, double bytes);

}  // namespace bench
