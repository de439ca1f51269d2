#include "backends/cpu/linked_product.h"

#include <algorithm>

namespace blockgrad {

namespace {

constexpr std::int64_t fewest_blocks = 8, most_blocks = 32;

std::int64_t blocks_of(const GemmShape& shape, const Gemm& gemm) {
  return std::min(most_blocks, (shape.m + gemm.tile_rows() - 1) / gemm.tile_rows());
}

}  // namespace

bool LinkedProduct::is_worth_it(const GemmShape& shape, const Gemm& gemm) {
  // Of the matrix; more does not stay in a thread's cache.
  constexpr std::int64_t least_bytes = 64 * 1024, most_bytes = 1024 * 1024;
  // Sums change hands too, m for every k terms.
  constexpr std::int64_t terms_per_row = 8;
  const std::int64_t bytes = shape.k * shape.n * (shape.type == GemmType::f32 ? 4 : 8);
  return gemm.can_slice() && bytes >= least_bytes && bytes <= most_bytes &&
         shape.k >= terms_per_row * shape.m && blocks_of(shape, gemm) >= fewest_blocks;
}

LinkedProduct::LinkedProduct(const GemmShape& shape, const Gemm& gemm)
    : gemm_(gemm),
      m_(shape.m),
      k_(shape.k),
      split_(shape.k / 2 / 16 * 16),
      blocks_(blocks_of(shape, gemm)),
      made_(std::make_shared<Handover>(blocks_)) {}

void LinkedProduct::run(const KernelCall& call, const void* a, const void* b, void* c,
                        std::int64_t first, std::int64_t last) const {
  if (first == 0 && last == parts()) {
    gemm_.run(a, b, c, 0, gemm_.parts(), call.scratch);
    return;
  }
  for (std::int64_t part = first; part < last; ++part) {
    const std::int64_t block = part % blocks_;
    const std::int64_t row = m_ * block / blocks_, end = m_ * (block + 1) / blocks_;
    if (part < blocks_) {
      gemm_.run_slice(a, b, c, row, end, 0, split_);
      made_->pass(block, call.turn);
      continue;
    }
    made_->wait(block, call.turn);
    gemm_.run_slice(a, b, c, row, end, split_, k_);
  }
}

}  // namespace blockgrad
