#include "backends/cpu/tape_constants.h"

#include <algorithm>
#include <bit>

#include "backends/kernel.h"

namespace blockgrad {

std::shared_ptr<std::byte> constant_blocks(std::span<const ScalarInstr> constants) {
  const auto count = static_cast<std::int64_t>(constants.size());
  std::shared_ptr<std::byte> blocks = allocate_bytes(count * constant_block_bytes);
  for (std::int64_t k = 0; k < count; ++k) {
    const ScalarInstr& constant = constants[static_cast<std::size_t>(k)];
    std::byte* const memory = blocks.get() + k * constant_block_bytes;
    visit(constant.dtype, [&](auto zero) {
      using T = decltype(zero);
      T value{};
      if constexpr (is_floating(dtype_of<T>()))
        value = static_cast<T>(std::bit_cast<double>(constant.bits));
      else value = static_cast<T>(static_cast<std::int64_t>(constant.bits));
      std::fill_n(reinterpret_cast<T*>(memory), sweep_block, value);
    });
  }
  return blocks;
}

}  // namespace blockgrad
