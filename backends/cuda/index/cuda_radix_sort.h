#pragma once
// Long lines sorted by a library's radix sort, where that takes fewer passes over memory than the
// networks of sort.cuh: those take about log(n)^2 / 4 of them beyond a tile of 2048 keys, it takes
// one per 8 bits of the keys and three more. No time has been measured yet.

#include <string>

#include "backends/cuda/index/cuda_sort.h"

namespace blockgrad {

/// How the first `count` keys of each line are sorted, and what `explain` says of it.
struct SortChoice {
  bool by_library = false;
  std::string why;  // "CUB's radix sort, 7 passes over memory where networks take 15"
};
SortChoice choose_sort(const CudaKeys& keys, std::int64_t count, const CudaTarget& target);

/// All entries in scratch from a byte on, line after line; the low `place_bits` bits of their place
/// are the one in the line.
struct RadixSorted {
  std::int64_t at = 0;
  int place_bits = 0;
};

/// Adds launches that sort what choose_sort gave to the library.
RadixSorted add_radix_sort(CudaWork& kernel, ScratchBytes& scratch, const CudaKeys& keys,
                           const CudaTarget& target);

}  // namespace blockgrad
