#include "blockgrad/graph/philox.h"

#include <boost/test/unit_test.hpp>

using blockgrad::PhiloxBlock;

BOOST_AUTO_TEST_SUITE(philox)

// Source: known answers of the authors' library Random123 1.14.
BOOST_AUTO_TEST_CASE(the_known_answers_come_out_at_compile_time) {
  constexpr unsigned int ones = 0xffffffff;
  static_assert(blockgrad::philox({{0, 0, 0, 0}}, 0, 0) ==
                PhiloxBlock{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  static_assert(blockgrad::philox({{ones, ones, ones, ones}}, ones, ones) ==
                PhiloxBlock{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  static_assert(blockgrad::philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822,
                                  0x299f31d0) ==
                PhiloxBlock{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
  // The same at run time, where the compiler may have chosen other instructions.
  unsigned int volatile zero = 0;
  const unsigned int z = zero;
  BOOST_TEST((blockgrad::philox({{z, z, z, z}}, z, z) ==
              PhiloxBlock{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
}

BOOST_AUTO_TEST_CASE(the_same_answers_come_out_at_run_time) {
  volatile unsigned int zero = 0;
  BOOST_TEST((blockgrad::philox({{zero, zero, zero, zero}}, zero, zero) ==
              PhiloxBlock{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}}));
}

BOOST_AUTO_TEST_SUITE_END()
