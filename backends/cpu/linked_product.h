#pragma once
// A product of few rows with a matrix that the program updates. Threads that cut such a product by
// columns, as its few rows allow, read all of the matrix from each other's caches, and each of its
// lines has to come back for the update. Here a thread reads what it has updated: the sums of a
// block of rows go through a first half of k, then through the second.

#include <cstdint>
#include <memory>

#include "backends/cpu/gemm.h"
#include "backends/cpu/handover.h"
#include "backends/kernel.h"

namespace blockgrad {

class LinkedProduct {
 public:
  /// Whether that is worth the wait for the first block; `gemm` computes this shape.
  static bool is_worth_it(const GemmShape& shape, const Gemm& gemm);

  LinkedProduct(const GemmShape& shape, const Gemm& gemm);

  /// The blocks of rows, once for each half of k.
  std::int64_t parts() const { return 2 * blocks_; }
  /// A part of the second half waits for that of the first. All parts at once: the plain product.
  void run(const KernelCall& call, const void* a, const void* b, void* c, std::int64_t first,
           std::int64_t last) const;

 private:
  Gemm gemm_;
  std::int64_t m_, k_, split_, blocks_;
  std::shared_ptr<Handover> made_;  // the first halves of blocks
};

}  // namespace blockgrad
