#pragma once
// What this very processor can do. The source is compiled with -march=native.

#include <cstddef>
#include <span>

namespace bench {

/// Floating-point operations per second of independent fused multiply-adds in registers, two for
/// each, on all threads together; takes about a millisecond.
template <class T>
double peak_flops(int threads);

/// Bytes per second that all threads together read of this memory, each its own share, in the best
/// of several orders: one stream, several far apart, lines of rows.
double read_bytes_per_second(int threads, std::span<const std::byte> memory);

}  // namespace bench
