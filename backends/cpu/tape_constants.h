#pragma once
// The numbers of a scalar program as the tape reads them: blocks of equal elements.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "backends/cpu/sweep.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

inline constexpr std::int64_t constant_block_bytes = sweep_block * 8;

/// One block of each, `constant_block_bytes` apart.
std::shared_ptr<std::byte> constant_blocks(std::span<const ScalarInstr> constants);

}  // namespace blockgrad
