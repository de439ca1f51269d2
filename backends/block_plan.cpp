#include "blockgrad/backends/block_plan.h"

#include "blockgrad/graph/error.h"

#include <fmt/format.h>

namespace blockgrad {

namespace {

std::string sizes(std::int64_t m, std::int64_t n, std::int64_t k) {
  return fmt::format("{}x{}x{}", m, n, k);
}

/// `what` names the axis in messages.
void verify_axis(std::string_view what, const Block& block, std::int64_t outer, std::int64_t inner,
                 std::int64_t all) {
  const std::int64_t size = what == "m" ? block.m : what == "n" ? block.n : block.k;
  check_internal(size >= 0 && size <= outer && (size > 0 || all == 0), "block plan: ", what, " of ",
                 to_string(block.level), " is ", size, ", expected 1 to ", outer);
  check_internal(inner <= 0 || size == all || size % inner == 0, "block plan: ", what, " of ",
                 to_string(block.level), " is ", size, ", expected ", all,
                 " or a multiple of the inner block's ", inner);
}

}  // namespace

std::string_view to_string(Level level) {
  switch (level) {
    case Level::cache: return "cache";
    case Level::reg: return "reg";
    case Level::grid: return "grid";
    case Level::warp: return "warp";
    case Level::instruction: return "instruction";
  }
  return "?";
}

void BlockPlan::verify() const {
  check_internal(m >= 0 && n >= 0 && k >= 0, "block plan: negative size ", sizes(m, n, k));
  check_internal(k_splits >= 1, "block plan: k_splits is ", k_splits, ", expected at least 1");
  Block outer{Level::cache, m, n, k};
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const Block inner = i + 1 < levels.size() ? levels[i + 1] : Block{};
    verify_axis("m", levels[i], outer.m, inner.m, m);
    verify_axis("n", levels[i], outer.n, inner.n, n);
    verify_axis("k", levels[i], outer.k, inner.k, k);
    outer = levels[i];
  }
}

std::string to_string(const BlockPlan& plan) {
  std::string text = "m,n,k " + sizes(plan.m, plan.n, plan.k);
  for (std::size_t i = 0; i < plan.levels.size(); ++i) {
    const Block& block = plan.levels[i];
    fmt::format_to(std::back_inserter(text), "{}{} {}", i == 0 ? " | " : " > ",
                   to_string(block.level), sizes(block.m, block.n, block.k));
  }
  fmt::format_to(std::back_inserter(text), " | k in order, {} split{}", plan.k_splits,
                 plan.k_splits == 1 ? "" : "s");
  return plan.why.empty() ? text : text + " | why: " + plan.why;
}

}  // namespace blockgrad
