// Blocks in an arena: none overlap, and the arena is hardly larger than what is live at once.
#include "graph/arena_layout.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <ctime>
#include <map>
#include <random>
#include <vector>

#include "support/sanitizers.h"

using namespace blockgrad;

namespace {

// Of the processor, which a busy machine does not stretch.
double processor_ms() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

bool overlap(std::int64_t a, std::int64_t a_bytes, std::int64_t b, std::int64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

void check(const std::vector<ArenaBlock>& blocks, const Placement& placed) {
  BOOST_TEST_REQUIRE(placed.at.size() == blocks.size());
  for (std::size_t a = 0; a < blocks.size(); ++a) {
    BOOST_TEST_REQUIRE(placed.at[a] % 64 == 0);
    BOOST_TEST_REQUIRE(placed.at[a] + blocks[a].bytes <= placed.peak);
    for (std::size_t b = 0; b < a; ++b) {
      if (blocks[a].death < blocks[b].birth || blocks[b].death < blocks[a].birth) continue;
      BOOST_TEST_REQUIRE(!overlap(placed.at[a], blocks[a].bytes, placed.at[b], blocks[b].bytes));
    }
  }
}

// The most bytes live at one step, step by step.
std::int64_t counted_live(const std::vector<ArenaBlock>& blocks, std::int32_t steps) {
  std::int64_t most = 0;
  for (std::int32_t t = 0; t <= steps; ++t) {
    std::int64_t now = 0;
    for (const ArenaBlock& b : blocks) {
      if (b.birth <= t && t <= b.death) now += whole_lines(b.bytes);
    }
    most = std::max(most, now);
  }
  return most;
}

// Forward values that are read again in reverse order, with temporaries between: the lives of a
// training step.
std::vector<ArenaBlock> training_step(std::mt19937& random, std::int32_t layers) {
  std::vector<ArenaBlock> blocks;
  const std::int32_t steps = 6 * layers;
  for (std::int32_t t = 0; t < steps; ++t) {
    const auto bytes = static_cast<std::int64_t>(64 << random() % 9) *
                       (1 + static_cast<std::int64_t>(random() % 3));
    const bool is_forward = t < steps / 2;
    if (is_forward && random() % 2 == 0) blocks.push_back({bytes, t, steps - t});
    else if (!is_forward && random() % 3 == 0) blocks.push_back({bytes, t});
    else blocks.push_back({bytes, t, t + 1 + static_cast<std::int32_t>(random() % 3)});
  }
  return blocks;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(arena_layout)

BOOST_AUTO_TEST_CASE(an_arena_hands_out_ranges_that_never_overlap) {
  std::mt19937 random(3);
  ArenaLayout arena;
  std::map<std::int64_t, std::int64_t> taken;
  for (int round = 0; round < 5000; ++round) {
    if (taken.empty() || random() % 2 == 0) {
      const std::int64_t bytes = 1 + static_cast<std::int64_t>(random() % 1000);
      const std::int64_t at = arena.take(bytes);
      BOOST_TEST_REQUIRE(at % 64 == 0);
      BOOST_TEST_REQUIRE(at + bytes <= arena.peak());
      for (const auto& [other, size] : taken) BOOST_TEST_REQUIRE(!overlap(at, bytes, other, size));
      taken.emplace(at, bytes);
    } else {
      auto which = std::next(taken.begin(), static_cast<std::ptrdiff_t>(random() % taken.size()));
      arena.give_back(which->first, which->second);
      taken.erase(which);
    }
  }
  const std::int64_t peak = arena.peak();
  for (const auto& [at, bytes] : taken) arena.give_back(at, bytes);
  BOOST_TEST(arena.take(peak) == 0);
  BOOST_TEST(arena.peak() == peak);
}

BOOST_AUTO_TEST_CASE(blocks_of_any_lives_never_overlap_whoever_places_them) {
  for (unsigned seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    std::vector<ArenaBlock> blocks;
    for (std::int32_t t = 0; t < 40; ++t) {
      const auto bytes = static_cast<std::int64_t>(random() % 5 == 0 ? 0 : random() % 2000);
      const auto death = static_cast<std::int32_t>(static_cast<unsigned>(t) + random() % 20);
      blocks.push_back({bytes, t, random() % 9 == 0 ? ArenaBlock::forever : death});
      if (random() % 4 == 0) blocks.push_back(blocks.back());
    }
    BOOST_TEST_CONTEXT("seed " << seed) {
      BOOST_TEST(most_live(blocks) == counted_live(blocks, 60));
      std::vector<std::size_t> backwards(blocks.size());
      for (std::size_t b = 0; b < blocks.size(); ++b) backwards[b] = blocks.size() - 1 - b;
      for (const Placement& placed :
           {place_in_time_order(blocks), place_in_order(blocks, backwards), place(blocks)}) {
        check(blocks, placed);
        BOOST_TEST(placed.peak >= most_live(blocks));
      }
      BOOST_TEST(place(blocks).peak <= place_in_time_order(blocks).peak);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_arena_is_at_most_a_tenth_above_what_is_live) {
  double worst = 1, mean = 0;
  constexpr int rounds = 400;
  for (unsigned seed = 0; seed < rounds; ++seed) {
    std::mt19937 random(seed);
    const std::vector<ArenaBlock> blocks =
        training_step(random, 2 + static_cast<std::int32_t>(random() % 60));
    const double above =
        static_cast<double>(place(blocks).peak) / static_cast<double>(most_live(blocks));
    BOOST_TEST(above <= 1.06, "seed " << seed << ": " << above);
    worst = std::max(worst, above);
    mean += above / rounds;
  }
  BOOST_TEST(mean <= 1.01);
  std::printf("arena above what is live: %.2f %% on average, %.2f %% at worst\n", 100 * (mean - 1),
              100 * (worst - 1));
}

BOOST_AUTO_TEST_CASE(forty_thousand_blocks_are_placed_in_fifty_milliseconds) {
  std::mt19937 random(1);
  const std::vector<ArenaBlock> blocks = training_step(random, 40000 / 6);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = processor_ms();
    const Placement placed = place(blocks);
    best = std::min(best, processor_ms() - start);
    BOOST_TEST(static_cast<double>(placed.peak) <= 1.1 * static_cast<double>(most_live(blocks)));
  }
  std::printf("%zu blocks are placed in %.1f ms\n", blocks.size(), best);
#if defined(__OPTIMIZE__) && !defined(BG_SANITIZED) && defined(__x86_64__)
  BOOST_TEST(best <= 50);
#endif
}

BOOST_AUTO_TEST_SUITE_END()
