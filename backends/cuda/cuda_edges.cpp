#include "backends/cuda/cuda_edges.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

namespace blockgrad {

namespace {

using Memory = CudaAccess::Memory;

// All bytes between an operand's first and last element.
void add(CudaAccesses& to, const Operand& operand, bool writes) {
  if (operand.place == Place::feed || operand.place == Place::constant) return;
  if (operand.layout.shape.size() == 0) return;
  std::int64_t low = operand.layout.offset, high = low;
  for (int a = 0; a < operand.layout.shape.rank(); ++a) {
    const std::int64_t further =
        (operand.layout.shape[a] - 1) * operand.layout.strides[static_cast<std::size_t>(a)];
    (further < 0 ? low : high) += further;
  }
  const auto size = static_cast<std::int64_t>(size_of(operand.dtype));
  const bool is_stored = operand.place == Place::stored;
  const std::int64_t base = is_stored ? 0 : operand.at;
  to.push_back({is_stored ? Memory::stored : Memory::arena,
                is_stored ? static_cast<std::int32_t>(operand.at) : 0, base + low * size,
                base + (high + 1) * size, writes});
}

bool has_state(std::span<const CudaArg> args) {
  return std::ranges::any_of(args,
                             [](const CudaArg& arg) { return arg.kind == CudaArg::Kind::state; });
}

/// Who touched the bytes of one memory last.
class Bytes {
 public:
  void read(const CudaAccess& bytes, std::int32_t node, std::vector<std::int32_t>& after) {
    each(bytes, [&](Part& part) {
      if (part.writer >= 0) after.push_back(part.writer);
      if (part.readers.empty() || part.readers.back() != node) part.readers.push_back(node);
    });
  }
  void write(const CudaAccess& bytes, std::int32_t node, std::vector<std::int32_t>& after) {
    each(bytes, [&](Part& part) {
      if (part.writer >= 0) after.push_back(part.writer);
      after.insert(after.end(), part.readers.begin(), part.readers.end());
    });
    parts_.erase(parts_.lower_bound(bytes.first), parts_.lower_bound(bytes.last));
    parts_[bytes.first] = {bytes.last, node, {}};
  }

 private:
  struct Part {
    std::int64_t last = 0;
    std::int32_t writer = -1;
    std::vector<std::int32_t> readers;  // since then
  };

  // After it a part begins at `at`, if one lies there.
  void cut(std::int64_t at) {
    auto it = parts_.upper_bound(at);
    if (it == parts_.begin()) return;
    it = std::prev(it);
    if (it->first == at || it->second.last <= at) return;
    Part right = it->second;
    it->second.last = at;
    parts_.emplace(at, std::move(right));
  }

  template <class Visit>
  void each(const CudaAccess& bytes, Visit visit) {
    cut(bytes.first);
    cut(bytes.last);
    std::int64_t at = bytes.first;
    for (auto it = parts_.lower_bound(at); at < bytes.last; ++it) {
      const std::int64_t next = it == parts_.end() ? bytes.last : std::min(it->first, bytes.last);
      if (at < next) it = parts_.emplace_hint(it, at, Part{next, -1, {}});
      visit(it->second);
      at = it->second.last;
    }
  }

  std::map<std::int64_t, Part> parts_;  // by their first byte
};

// Leaves out what follows from others.
void reduce(CudaOrder& order) {
  const std::size_t words = (order.size() + 63) / 64;
  std::vector<std::vector<std::uint64_t>> before(order.size());
  for (std::size_t node = 0; node < order.size(); ++node) {
    before[node].assign(words, 0);
    std::vector<std::int32_t> kept;
    for (auto it = order[node].rbegin(); it != order[node].rend(); ++it) {
      const auto at = static_cast<std::size_t>(*it);
      if (before[node][at / 64] >> (at % 64) & 1) continue;
      kept.push_back(*it);
      for (std::size_t w = 0; w < words; ++w) before[node][w] |= before[at][w];
      before[node][at / 64] |= std::uint64_t{1} << (at % 64);
    }
    order[node].assign(kept.rbegin(), kept.rend());
  }
}

}  // namespace

CudaAccesses cuda_accesses(const Plan& plan, const PlanStep& step, const CudaWork& work) {
  CudaAccesses all;
  for (const Operand& input : step.inputs) add(all, input, false);
  if (step.guard >= 0) add(all, plan.guards[static_cast<std::size_t>(step.guard)], false);
  for (const Operand& output : step.outputs) add(all, output, true);
  if (work.scratch > 0) all.push_back({Memory::scratch, 0, 0, work.scratch, true});
  constexpr auto state_bytes = static_cast<std::int64_t>(sizeof(CudaState));
  const auto uses_state = [](const CudaLaunch& launch) {
    return has_state(launch.args) || has_state(launch.table);
  };
  if (!work.thing.empty()) all.push_back({Memory::state, 0, 0, state_bytes, true});
  else if (std::ranges::any_of(work.launches, uses_state))
    all.push_back({Memory::state, 0, 0, state_bytes, false});
  if (std::ranges::any_of(work.launches,
                          [](const CudaLaunch& launch) { return launch.library != nullptr; }))
    all.push_back({Memory::library, 0, 0, 1, true});
  return all;
}

CudaOrder cuda_order(std::span<const CudaAccesses> nodes) {
  CudaOrder order(nodes.size());
  std::map<std::pair<Memory, std::int32_t>, Bytes> memories;
  for (std::size_t n = 0; n < nodes.size(); ++n) {
    const auto node = static_cast<std::int32_t>(n);
    std::vector<std::int32_t>& after = order[n];
    for (const CudaAccess& access : nodes[n]) {
      if (!access.writes) memories[{access.memory, access.index}].read(access, node, after);
    }
    for (const CudaAccess& access : nodes[n]) {
      if (access.writes) memories[{access.memory, access.index}].write(access, node, after);
    }
    std::ranges::sort(after);
    const auto last = std::ranges::unique(after).begin();
    after.erase(last, after.end());
    if (!after.empty() && after.back() == node) after.pop_back();
  }
  constexpr std::size_t most_reduced = 8192;
  if (nodes.size() <= most_reduced) reduce(order);
  return order;
}

std::int64_t longest_chain(const CudaOrder& order, std::span<const std::int64_t> launches) {
  std::vector<std::int64_t> chains(order.size(), 0);
  std::int64_t longest = 0;
  for (std::size_t node = 0; node < order.size(); ++node) {
    for (const std::int32_t before : order[node])
      chains[node] = std::max(chains[node], chains[static_cast<std::size_t>(before)]);
    chains[node] += launches[node];
    longest = std::max(longest, chains[node]);
  }
  return longest;
}

}  // namespace blockgrad
