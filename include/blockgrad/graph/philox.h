#pragma once
// Philox4x32-10: a counter-based random generator, the same bits on host and device. A pure
// function: number i of a stream is computed without its predecessors. Includes nothing, so that
// CUDA text can use it as it is. Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As
// Easy as 1, 2, 3", SC 2011.

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define BG_HOST_DEVICE __host__ __device__
#else
#define BG_HOST_DEVICE
#endif

namespace blockgrad {

/// 128 bits: a counter, or the random bits made from it.
struct PhiloxBlock {
  unsigned int word[4];

  BG_HOST_DEVICE constexpr bool operator==(const PhiloxBlock& other) const {
    return word[0] == other.word[0] && word[1] == other.word[1] && word[2] == other.word[2] &&
           word[3] == other.word[3];
  }
};

/// The random block of `counter` under the 64-bit key key_high:key_low: ten rounds, multipliers and
/// key increments of the paper's table 2. For a fixed key it is a bijection, so distinct counters
/// give distinct blocks.
BG_HOST_DEVICE constexpr PhiloxBlock philox(PhiloxBlock counter, unsigned int key_low,
                                            unsigned int key_high) {
  unsigned int a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const unsigned long long p = 0xD2511F53ULL * a;
    const unsigned long long q = 0xCD9E8D57ULL * c;
    a = static_cast<unsigned int>(q >> 32) ^ b ^ key_low;
    c = static_cast<unsigned int>(p >> 32) ^ d ^ key_high;
    b = static_cast<unsigned int>(q);
    d = static_cast<unsigned int>(p);
    key_low += 0x9E3779B9U;
    key_high += 0xBB67AE85U;
  }
  return {{a, b, c, d}};
}

}  // namespace blockgrad

#undef BG_HOST_DEVICE
