#pragma once
// A product in memory of its own, to be run and timed with any launches that compute it. Nothing
// here needs CUDA but the runtime that is given.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/products/cuda_matmul.h"

namespace blockgrad {

/// Seconds, from any beginning.
using TuneClock = std::function<double()>;

class ProductTrial {
 public:
  /// Operands of random numbers in [-1, 1], in so many sets that they take `rotated_bytes` or
  /// more, as far as half the free memory and 64 sets go. Throws DeviceError.
  ProductTrial(CudaRuntime& runtime, const CudaMatMul& of, std::int64_t rotated_bytes);

  /// Launches that are ready for every set.
  class Prepared {
   public:
    bool is_empty() const { return sets_.empty(); }

   private:
    friend class ProductTrial;
    std::vector<std::vector<CudaCall>> sets_;
    std::vector<std::shared_ptr<std::byte>> memory_;  // scratch and tables
  };
  Prepared prepare(const CudaWork& work);

  /// `launches` of the product in a row, recorded; they take the sets in turns.
  std::unique_ptr<CudaSequence> record(const Prepared& prepared, int launches);
  /// Seconds of one product in such a sequence.
  double seconds(CudaSequence& sequence, int launches, const TuneClock& now);

  /// The memory of C after one product into memory whose bits were all set; of more than 64 MiB the
  /// first and the last 32.
  std::vector<std::byte> result(const Prepared& prepared);

 private:
  struct Set {
    std::shared_ptr<std::byte> a, b, c;
  };
  CudaCall call(const CudaLaunch& launch, const Set& set, std::byte* scratch,
                Prepared& prepared) const;
  template <class F>
  void for_parts_of_c(F&& f) const;
  std::shared_ptr<std::byte> drawn(std::int64_t bytes, std::uint64_t seed);

  CudaRuntime& runtime_;
  DType dtype_;
  std::int64_t bytes_of_c_ = 0;
  std::vector<Set> sets_;
};

}  // namespace blockgrad
