// Which way a program's steps go, by times that are made up.
#include "backends/cpu/sharing.h"

#include <boost/test/unit_test.hpp>

using blockgrad::Sharing;

namespace {

struct Steps {
  int shared = 0, alone = 0;
};

Steps go(Sharing& sharing, int steps, double shared, double alone) {
  Steps done;
  for (int i = 0; i < steps; ++i) {
    const bool is_on = sharing.is_on();
    ++(is_on ? done.shared : done.alone);
    const double noise = 1 + 0.02 * (i % 3);
    sharing.took((is_on ? shared : alone) * noise);
  }
  return done;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sharing)

BOOST_AUTO_TEST_CASE(steps_that_threads_make_faster_are_shared) {
  Sharing sharing;
  BOOST_TEST(sharing.is_on());
  go(sharing, 10000, 60e3, 110e3);
  const Steps later = go(sharing, 100000, 60e3, 110e3);
  BOOST_TEST(later.alone > 0, "it is tried again");
  BOOST_TEST(later.alone < 500);
}

BOOST_AUTO_TEST_CASE(steps_that_threads_make_slower_are_not) {
  Sharing sharing;
  const Steps first = go(sharing, 1000, 22e3, 12e3);
  BOOST_TEST(first.shared < 200);
  go(sharing, 20000, 22e3, 12e3);
  const Steps later = go(sharing, 100000, 22e3, 12e3);
  BOOST_TEST(later.shared > 0, "it is tried again");
  BOOST_TEST(later.shared < 500);
}

BOOST_AUTO_TEST_CASE(what_makes_no_difference_stays) {
  Sharing sharing;
  go(sharing, 10000, 50e3, 50e3);
  const Steps later = go(sharing, 100000, 50e3, 50e3);
  BOOST_TEST(later.alone < 500);
}

BOOST_AUTO_TEST_CASE(the_machine_may_change_its_mind) {
  Sharing sharing;
  go(sharing, 20000, 40e3, 56e3);
  go(sharing, 20000, 73e3, 56e3);
  BOOST_TEST(go(sharing, 1000, 73e3, 56e3).shared < 100);
  go(sharing, 20000, 40e3, 56e3);
  BOOST_TEST(go(sharing, 1000, 40e3, 56e3).alone < 100);
}

BOOST_AUTO_TEST_CASE(one_slow_step_decides_nothing) {
  Sharing sharing;
  for (int i = 0; i < 100000; ++i) {
    const double time = sharing.is_on() ? 60e3 : 110e3;
    sharing.took(i % 5 == 0 ? 4e6 : time);
  }
  BOOST_TEST(go(sharing, 1000, 60e3, 110e3).alone < 100);
}

BOOST_AUTO_TEST_CASE(long_steps_are_always_shared) {
  Sharing sharing;
  BOOST_TEST(go(sharing, 10000, 300e3, 100e3).alone == 0);
}

BOOST_AUTO_TEST_SUITE_END()
