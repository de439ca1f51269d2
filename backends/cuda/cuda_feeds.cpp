#include "backends/cuda/cuda_feeds.h"

#include <algorithm>

namespace blockgrad {

std::int64_t steps_together(std::int64_t launches) {
  constexpr std::int64_t most_steps = 32, most_launches = 512;
  return std::clamp<std::int64_t>(most_launches / std::max<std::int64_t>(launches, 1), 1,
                                  most_steps);
}

CudaFeeds cuda_feeds(std::span<const std::int64_t> bytes, std::int64_t together) {
  // A group is copied at once, so it should fit into pinned memory. From a certain size on, the
  // second copy of a feed would take memory that larger batches need.
  constexpr std::int64_t group_bytes = std::int64_t{4} << 20, most_twice = std::int64_t{256} << 20;
  constexpr std::int64_t alignment = 256;
  CudaFeeds feeds;
  for (const std::int64_t size : bytes) {
    feeds.at.push_back(feeds.set_bytes);
    feeds.set_bytes =
        checked_add(feeds.set_bytes, checked_add(size, alignment - 1) / alignment * alignment);
  }
  if (together == 0 || feeds.set_bytes == 0 || feeds.set_bytes > most_twice) return feeds;
  feeds.group = std::clamp<std::int64_t>(group_bytes / feeds.set_bytes, 1, together);
  feeds.groups = 2;
  return feeds;
}

bool is_fed(const CudaArg& arg, const Plan& plan, const PlanStep& step) {
  const auto index = static_cast<std::size_t>(arg.index);
  switch (arg.kind) {
    case CudaArg::Kind::input: return step.inputs[index].place == Place::feed;
    case CudaArg::Kind::output: return step.outputs[index].place == Place::feed;
    case CudaArg::Kind::guard:
      return step.guard >= 0 &&
             plan.guards[static_cast<std::size_t>(step.guard)].place == Place::feed;
    case CudaArg::Kind::scratch:
    case CudaArg::Kind::number:
    case CudaArg::Kind::table:
    case CudaArg::Kind::state: break;
  }
  return false;
}

bool is_fed(std::span<const CudaArg> table, const Plan& plan, const PlanStep& step) {
  return std::ranges::any_of(table, [&](const CudaArg& arg) { return is_fed(arg, plan, step); });
}

}  // namespace blockgrad
