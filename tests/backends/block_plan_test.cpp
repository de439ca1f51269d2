#include "blockgrad/backends/block_plan.h"

#include "blockgrad/graph/error.h"

#include <boost/test/unit_test.hpp>

#include <string>

using namespace blockgrad;

namespace {

const BlockPlan plan{256, 128, 784, {{Level::cache, 192, 128, 264}, {Level::reg, 6, 16, 1}}, 1, ""};

std::string refusal(BlockPlan changed) {
  try {
    changed.verify();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(block_plan)

BOOST_AUTO_TEST_CASE(a_plan_prints_its_levels_from_the_outside) {
  BOOST_TEST(to_string(plan) ==
             "m,n,k 256x128x784 | cache 192x128x264 > reg 6x16x1 | k in order, 1 split");
  BlockPlan split = plan;
  split.k_splits = 2;
  split.why = "few tiles";
  BOOST_TEST(to_string(split) ==
             "m,n,k 256x128x784 | cache 192x128x264 > reg 6x16x1 | k in order, 2 splits | "
             "why: few tiles");
}

BOOST_AUTO_TEST_CASE(blocks_that_tile_the_level_above_are_accepted) {
  BOOST_TEST(refusal(plan) == "");
}

BOOST_AUTO_TEST_CASE(a_block_larger_than_the_level_above_is_refused) {
  BlockPlan changed = plan;
  changed.levels[1].n = 144;
  BOOST_TEST(refusal(changed).find("block plan: n of cache is 128, expected 128 or a multiple of "
                                   "the inner block's 144") == std::string::npos);
  BOOST_TEST(refusal(changed).find("block plan: n of reg is 144, expected 1 to 128") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_block_that_cuts_an_inner_block_is_refused) {
  BlockPlan changed = plan;
  changed.levels[0].m = 190;
  BOOST_TEST(refusal(changed).find("block plan: m of cache is 190, expected 256 or a multiple of "
                                   "the inner block's 6") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_empty_block_of_a_product_that_is_not_empty_is_refused) {
  BlockPlan changed = plan;
  changed.levels[1].k = 0;
  BOOST_TEST(refusal(changed).find("block plan: k of reg is 0, expected 1 to 264") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
