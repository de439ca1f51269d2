// Peers that are shell scripts in place of an interpreter: what they answer, or do not.
#include <boost/test/unit_test.hpp>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>

#include "../data/support.h"
#include "blockgrad/graph/error.h"
#include "ladder/peer_process.h"
#include "ladder/peers.h"

namespace {

struct Fixture {
  data_test::TemporaryFolder folder;

  std::string script(const std::string& body) const {
    const std::string path = folder / "python";
    std::ofstream(path) << "#!/bin/sh\n" << body;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
  bench::Peers peers(const std::string& python, double patience) const {
    return bench::Peers({python, {"torch eager"}, {2}, folder / "log", patience});
  }
};

constexpr const char* there = "echo '{\"version\": \"1.2\"}'\n";

}  // namespace

BOOST_FIXTURE_TEST_SUITE(peers, Fixture)

BOOST_AUTO_TEST_CASE(a_peer_that_answers_takes_part) {
  bench::Peers all = peers(script(std::string(there) + "read load; echo '{\"loss\": 0.25}'\n"
                                                       "read steps; echo '{\"seconds\": 3}'\n"),
                           10);
  BOOST_TEST(all.versions()["torch"] == "1.2");
  const std::vector<bench::Contestant> found = all.contestants("model");
  BOOST_TEST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0].name == "torch eager");
  BOOST_TEST(found[0].threads == 2);
  BOOST_TEST(found[0].loss == 0.25);
  BOOST_TEST(found[0].seconds(7) == 3);
  BOOST_TEST(all.left_out().empty());
  BOOST_CHECK_EXCEPTION(found[0].seconds(7), blockgrad::Error, [](const blockgrad::Error& error) {
    return std::string(error.what()).find("ended without an answer") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(answers_that_come_together_are_read_one_by_one) {
  bench::Peers all = peers(
      script("printf '{\"version\": \"1.2\"}\\n{\"loss\": 0.25}\\n'; read load; read more\n"), 5);
  const std::vector<bench::Contestant> found = all.contestants("model");
  BOOST_TEST(all.left_out().empty());
  BOOST_TEST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0].loss == 0.25);
}

BOOST_AUTO_TEST_CASE(a_peer_is_told_device_and_arithmetic_and_some_need_a_gpu) {
  const std::string says = script("shift 2; echo \"{\\\"version\\\": \\\"$*\\\"}\"; read more\n");
  const bench::PeersOptions asked{says, {"torch graphs"}, {2}, folder / "log", 10, "cuda", "tf32"};
  BOOST_TEST(bench::Peers(asked).versions()["torch"] == "torch graphs 2 cuda tf32");
  bench::Peers on_cpu({says, {"torch graphs"}, {2}, folder / "log", 10});
  BOOST_TEST(on_cpu.versions().empty());
  BOOST_TEST(on_cpu.left_out().empty());
}

BOOST_AUTO_TEST_CASE(an_interpreter_that_is_not_there_leaves_out_all_peers) {
  bench::Peers all = peers(folder / "nothing", 10);
  BOOST_TEST(all.contestants("model").empty());
  BOOST_TEST_REQUIRE(all.left_out().size() == 1U);
  BOOST_TEST(all.left_out()[0].name == "torch eager");
  BOOST_TEST(all.left_out()[0].why == "not installed");
}

BOOST_AUTO_TEST_CASE(a_framework_that_is_missing_is_left_out_with_its_word) {
  bench::Peers all = peers(script("echo '{\"error\": \"torch is not installed\"}'\n"), 10);
  BOOST_TEST(all.contestants("model").empty());
  BOOST_TEST_REQUIRE(all.left_out().size() == 1U);
  BOOST_TEST(all.left_out()[0].why == "torch is not installed");
}

BOOST_AUTO_TEST_CASE(a_peer_that_is_late_is_left_out_of_this_row_and_begins_anew) {
  const std::string slow = folder / "slow";
  std::ofstream(slow).flush();
  bench::Peers all =
      peers(script(std::string(there) + "read load; if test -e '" + slow +
                   "'; then exec sleep 60; fi\n" + "echo '{\"loss\": 0.5}'; read more\n"),
            5);
  BOOST_TEST(all.contestants("model").empty());
  BOOST_TEST_REQUIRE(all.left_out().size() == 1U);
  BOOST_TEST(all.left_out()[0].why == "not ready 0:05 min after all peers began");
  std::filesystem::remove(slow);
  BOOST_TEST(all.contestants("model").size() == 1U);
  BOOST_TEST(all.left_out().empty());
}

BOOST_AUTO_TEST_CASE(a_peer_that_is_busy_at_the_end_is_not_waited_for) {
  const auto start = std::chrono::steady_clock::now();
  {
    bench::PeerProcess busy({.python = script(std::string(there) + "exec sleep 60\n"),
                             .framework = "torch",
                             .mode = "eager",
                             .log = folder / "log"});
    BOOST_TEST(busy.version(10) == "1.2");
  }
  BOOST_TEST((std::chrono::steady_clock::now() - start < std::chrono::seconds(20)));
}

BOOST_AUTO_TEST_SUITE_END()
