#include "backends/cuda/cuda_commit.h"

#include <string_view>

namespace blockgrad {

namespace {

constexpr int threads = 256;
constexpr std::int64_t block_bytes = 16 * threads;

// A row of the table: the first block, bytes, from, to, guard.
constexpr std::string_view text = R"(
namespace blockgrad {
extern "C" __global__ void KERNEL(const long* table, long values, const long* state) {
  if (state[1] >= 0) return;
  const long block = static_cast<long>(blockIdx.x);
  long low = 0, high = values - 1;
  while (low < high) {
    const long middle = (low + high + 1) / 2;
    if (table[middle * 5] <= block) low = middle;
    else high = middle - 1;
  }
  const long* value = table + low * 5;
  const auto guard = reinterpret_cast<const bool*>(value[4]);
  if (guard != nullptr && !*guard) return;
  using Bytes = Pack<unsigned char, 16>;
  const long bytes = value[1];
  const auto from = reinterpret_cast<const unsigned char*>(value[2]);
  const auto to = reinterpret_cast<unsigned char*>(value[3]);
  const long first = ((block - value[0]) * 256 + static_cast<long>(threadIdx.x)) * 16;
  if (first + 16 <= bytes)
    *reinterpret_cast<Bytes*>(to + first) = *reinterpret_cast<const Bytes*>(from + first);
  else
    for (long i = first; i < bytes; ++i) to[i] = from[i];
}
}  // namespace blockgrad
)";

}  // namespace

CudaLaunch cuda_commit(std::span<const Operand> values, std::span<const std::int32_t> guards) {
  using Kind = CudaArg::Kind;
  CudaLaunch launch;
  launch.text = {std::string(text), {}, "commit"};
  launch.threads = threads;
  launch.blocks = 0;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const std::int64_t bytes = bytes_of(TensorType{values[k].dtype, values[k].layout.shape});
    if (bytes == 0) continue;
    const auto index = static_cast<std::int32_t>(k);
    launch.table.push_back({Kind::number, 0, launch.blocks});
    launch.table.push_back({Kind::number, 0, bytes});
    launch.table.push_back({Kind::input, index});
    launch.table.push_back({Kind::output, index});
    launch.table.push_back(guards[k] < 0 ? CudaArg{} : CudaArg{Kind::input, guards[k]});
    launch.blocks += (bytes + block_bytes - 1) / block_bytes;
  }
  launch.args = {{Kind::table},
                 {Kind::number, 0, static_cast<std::int64_t>(launch.table.size()) / 5},
                 {Kind::state}};
  return launch;
}

}  // namespace blockgrad
