// Measurements in turns, of contestants that only say how long they took.
#include <boost/test/unit_test.hpp>

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "ladder/contest.h"

namespace {

struct Game {
  std::string order;  // who ran, one letter for each call
  std::vector<bench::Contestant> contestants;

  // `seconds` is of one step. As a process of its own, it may fail.
  void add(char name, double seconds, int calls_until_failure = -1) {
    const auto run = [this, name, seconds, left = calls_until_failure](std::int64_t steps) mutable {
      if (left-- == 0) throw std::runtime_error("out of breath");
      order += name;
      return seconds * static_cast<double>(steps);
    };
    const pid_t process = calls_until_failure < 0 ? 0 : ::getpid();
    contestants.push_back({std::string(1, name), 1, run, process, 0.5});
  }

  bench::Contest measure(int repetitions) const {
    bench::ContestOptions options{.repetitions = repetitions, .milliseconds = 0, .others = 1e9};
    options.roof = [](int threads, double bytes) { return bench::Roof{threads * 1e9, bytes}; };
    return bench::measure(contestants, 8, options);
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(contest)

BOOST_AUTO_TEST_CASE(the_order_is_turned_around_each_time_and_nobody_starts_cold) {
  Game game;
  game.add('a', 0.001);
  game.add('b', 0.002);
  const bench::Contest contest = game.measure(2);
  BOOST_TEST(game.order ==
             "ab"
             "aabb"
             "bbaa");  // paces, then two turns of a warm-up and a run
  BOOST_TEST(contest.measured[1].seconds.median == 0.002);
  BOOST_TEST(contest.measured[1].turns == (std::vector<double>{0.002, 0.002}),
             boost::test_tools::per_element());
  BOOST_TEST(contest.roofs.at(1).flops == 1e9);
  BOOST_TEST(contest.roofs.at(1).bytes == 8);
  BOOST_TEST(contest.disturbed == 0);
}

BOOST_AUTO_TEST_CASE(who_is_far_behind_and_slow_runs_three_times) {
  Game game;
  game.add('a', 0.001);
  game.add('b', 0.1);
  const bench::Contest contest = game.measure(5);
  BOOST_TEST(contest.measured[0].repetitions == 5);
  BOOST_TEST(contest.measured[1].repetitions == 3);
  BOOST_TEST(contest.measured[1].turns == (std::vector<double>{0.1, 0.1, 0.1, 0, 0}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_process_that_fails_is_left_out_and_says_why) {
  Game game;
  game.add('a', 0.001);
  game.add('b', 0.001, 2);
  const bench::Contest contest = game.measure(3);
  BOOST_TEST(contest.measured[0].repetitions == 3);
  BOOST_TEST(contest.measured[1].failure == "out of breath");
  BOOST_TEST(contest.measured[1].turns.empty());
}

BOOST_AUTO_TEST_CASE(load_of_others_that_does_not_end_is_told) {
  Game game;
  game.add('a', 0.001);
  bench::ContestOptions options{.repetitions = 2, .milliseconds = 0, .others = -1};
  options.roof = [](int, double) { return bench::Roof{1, 1}; };
  const bench::Contest contest = bench::measure(game.contestants, 8, options);
  BOOST_TEST(contest.made_again == 2);
  BOOST_TEST(contest.disturbed == 2);
  BOOST_TEST(contest.measured[0].repetitions == 2);
}

BOOST_AUTO_TEST_SUITE_END()
