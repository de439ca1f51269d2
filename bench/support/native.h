#pragma once
// What this very processor can do. The source is compiled with -march=native.

#include <cstdint>

namespace bench {

/// Floating-point operations per second of independent fused multiply-adds in registers, two for
/// each, on all threads together; takes about a millisecond.
template <class T>
double peak_flops(int threads);

/// Bytes per second that all threads together read from memory that no cache holds.
double read_bytes_per_second(int threads);

}  // namespace bench
