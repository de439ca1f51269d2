#include "graph/arena_layout.h"

#include <algorithm>

#include "blockgrad/graph/shape.h"

namespace blockgrad {

namespace {

constexpr std::size_t most_ordered = 4096;    // blocks that are tried in other orders than time
constexpr std::size_t most_pairs = 1u << 22;  // looked at for that, after the first such order
constexpr std::size_t most_climbed_pairs = 1u << 25;  // and when none of them is tight

// Numbers of the blocks that end, in the order in which they do.
std::vector<std::size_t> by_death(std::span<const ArenaBlock> blocks) {
  std::vector<std::size_t> order;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    if (blocks[b].death != ArenaBlock::forever) order.push_back(b);
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return blocks[a].death != blocks[b].death ? blocks[a].death < blocks[b].death : a < b;
  });
  return order;
}

// Calls `end` for every block that ends before `begin` is called for those born after it.
template <class Begin, class End>
void in_time_order(std::span<const ArenaBlock> blocks, Begin begin, End end) {
  const std::vector<std::size_t> ends = by_death(blocks);
  std::size_t next = 0;
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    for (; next < ends.size() && blocks[ends[next]].death < blocks[b].birth; ++next)
      end(ends[next]);
    begin(b);
  }
}

}  // namespace

std::int64_t whole_lines(std::int64_t bytes) { return checked_add(bytes, 63) / 64 * 64; }

std::int64_t most_live(std::span<const ArenaBlock> blocks) {
  std::int64_t now = 0, most = 0;
  in_time_order(
      blocks,
      [&](std::size_t b) {
        now = checked_add(now, whole_lines(blocks[b].bytes));
        most = std::max(most, now);
      },
      [&](std::size_t b) { now -= whole_lines(blocks[b].bytes); });
  return most;
}

Placement place_in_time_order(std::span<const ArenaBlock> blocks) {
  Placement placed;
  placed.at.resize(blocks.size());
  ArenaLayout arena;
  in_time_order(
      blocks, [&](std::size_t b) { placed.at[b] = arena.take(blocks[b].bytes); },
      [&](std::size_t b) { arena.give_back(placed.at[b], blocks[b].bytes); });
  placed.peak = arena.peak();
  return placed;
}

Placement place_in_order(std::span<const ArenaBlock> blocks, std::span<const std::size_t> order) {
  Placement placed;
  placed.at.resize(blocks.size());
  std::vector<std::size_t> by_offset;  // those placed
  for (const std::size_t b : order) {
    const std::int64_t need = whole_lines(blocks[b].bytes);
    if (need == 0) continue;
    std::int64_t at = -1, tightest = std::numeric_limits<std::int64_t>::max(), end = 0;
    for (const std::size_t other : by_offset) {
      if (blocks[other].death < blocks[b].birth || blocks[b].death < blocks[other].birth) continue;
      const std::int64_t gap = placed.at[other] - end;
      if (gap >= need && gap < tightest) {
        at = end;
        tightest = gap;
      }
      end = std::max(end, placed.at[other] + whole_lines(blocks[other].bytes));
    }
    placed.at[b] = at >= 0 ? at : end;
    placed.peak = std::max(placed.peak, checked_add(placed.at[b], need));
    const auto above =
        std::upper_bound(by_offset.begin(), by_offset.end(), placed.at[b],
                         [&](std::int64_t mine, std::size_t o) { return mine < placed.at[o]; });
    by_offset.insert(above, b);
  }
  return placed;
}

namespace {

// Numbers of the blocks by bytes, or by bytes times steps.
std::vector<std::size_t> largest_first(std::span<const ArenaBlock> blocks, bool by_area) {
  const std::int32_t end = blocks.back().birth + 1;
  const auto size = [&](std::size_t b) {
    const double steps = by_area ? std::min(blocks[b].death, end) - blocks[b].birth + 1 : 1;
    return static_cast<double>(blocks[b].bytes) * steps;
  };
  std::vector<std::size_t> order(blocks.size());
  for (std::size_t b = 0; b < blocks.size(); ++b) order[b] = b;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return size(a) != size(b) ? size(a) > size(b) : a < b;
  });
  return order;
}

bool is_tight(std::int64_t peak, std::int64_t live) { return peak - live <= live / 256; }

// Hill climbing over orders of the blocks that are not small beside what is live: one that lies
// above that goes forward, by a random distance, and stays there unless the top rises. Small blocks
// come last, into the gaps.
Placement climbed(std::span<const ArenaBlock> blocks, std::int64_t live) {
  std::vector<std::size_t> order, small;
  for (const std::size_t b : largest_first(blocks, false))
    (blocks[b].bytes > live / 1000 ? order : small).push_back(b);
  const std::size_t n = order.size();
  if (n == 0) return place_in_order(blocks, small);
  std::uint64_t state = 1;
  const auto below = [&](std::size_t end) {  // Knuth's MMIX generator
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::size_t>((state >> 33) % end);
  };
  Placement best = place_in_order(blocks, order);
  for (std::size_t tries = most_climbed_pairs / (n * n); tries > 0 && !is_tight(best.peak, live);
       --tries) {
    std::vector<std::size_t> above;
    for (std::size_t i = 0; i < n; ++i) {
      if (best.at[order[i]] + whole_lines(blocks[order[i]].bytes) > live) above.push_back(i);
    }
    std::vector<std::size_t> next = order;
    const std::size_t from = above[below(above.size())], to = below(from + 1);
    std::rotate(next.begin() + to, next.begin() + from, next.begin() + from + 1);
    if (tries % 3 == 0) std::swap(next[below(n)], next[below(n)]);
    Placement other = place_in_order(blocks, next);
    if (other.peak > best.peak) continue;
    best = std::move(other);
    order = std::move(next);
  }
  order.insert(order.end(), small.begin(), small.end());
  return place_in_order(blocks, order);
}

}  // namespace

Placement place(std::span<const ArenaBlock> blocks) {
  const std::int64_t live = most_live(blocks);
  Placement best = place_in_time_order(blocks);
  const std::size_t n = blocks.size();
  if (n > most_ordered || best.peak == live) return best;
  const auto is_near = [&] { return best.peak - live <= live / 50; };
  const std::size_t more = most_pairs / (n * n);
  for (const bool by_area : {false, true}) {
    std::vector<std::size_t> order = largest_first(blocks, by_area);
    for (std::size_t tries = 0; tries <= more && !is_near(); ++tries) {
      Placement other = place_in_order(blocks, order);
      const auto top = std::find_if(order.begin(), order.end(), [&](std::size_t b) {
        return other.at[b] + whole_lines(blocks[b].bytes) == other.peak;
      });
      std::rotate(order.begin(), top, top + 1);
      if (other.peak < best.peak) best = std::move(other);
    }
  }
  if (!is_tight(best.peak, live)) {
    Placement other = climbed(blocks, live);
    if (other.peak < best.peak) best = std::move(other);
  }
  return best;
}

std::int64_t ArenaLayout::take(std::int64_t bytes) {
  const std::int64_t need = whole_lines(bytes);
  if (need == 0) return 0;
  auto best = free_.end();
  for (auto hole = free_.begin(); hole != free_.end(); ++hole) {
    if (hole->second >= need && (best == free_.end() || hole->second < best->second)) best = hole;
  }
  if (best != free_.end()) {
    const std::int64_t offset = best->first;
    best->first += need;
    best->second -= need;
    if (best->second == 0) free_.erase(best);
    return offset;
  }
  const bool grows_hole = !free_.empty() && free_.back().first + free_.back().second == end_;
  const std::int64_t offset = grows_hole ? free_.back().first : end_;
  if (grows_hole) free_.pop_back();
  end_ = checked_add(offset, need);
  return offset;
}

void ArenaLayout::give_back(std::int64_t offset, std::int64_t bytes) {
  const std::int64_t size = whole_lines(bytes);
  if (size == 0) return;
  auto next = std::lower_bound(free_.begin(), free_.end(), std::pair{offset, std::int64_t{0}});
  next = free_.insert(next, {offset, size});
  if (next + 1 != free_.end() && next->first + next->second == (next + 1)->first) {
    next->second += (next + 1)->second;
    free_.erase(next + 1);
  }
  if (next != free_.begin() && (next - 1)->first + (next - 1)->second == next->first) {
    (next - 1)->second += next->second;
    free_.erase(next);
  }
}

}  // namespace blockgrad
