// Where a benchmark leaves its numbers.
#include "support/results.h"

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include "../data/support.h"
#include "blockgrad/graph/error.h"
#include "support/circumstances.h"

// In place of those of a build.
nlohmann::json bench::circumstances() { return {{"commit", "abc1234"}}; }

namespace {

nlohmann::json read(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(results, data_test::TemporaryFolder)

BOOST_AUTO_TEST_CASE(what_is_no_result_is_left_elsewhere) {
  const std::string whole = bench::results_folder(false, true);
  BOOST_TEST(whole.ends_with("build/bench"));
  BOOST_TEST(bench::results_folder(false, false) == whole + "/part");
  BOOST_TEST(bench::results_folder(true, true) == whole + "/tiny");
}

BOOST_AUTO_TEST_CASE(folders_are_made_and_the_circumstances_are_told) {
  const std::string path = *this / "some/folder/it.json";
  bench::check_place(path);
  BOOST_TEST(!std::filesystem::exists(path));
  BOOST_TEST(std::filesystem::is_empty(*this / "some/folder"));
  bench::leave(path, {{"rows", {1, 2}}});
  BOOST_TEST(read(path)["rows"].size() == 2U);
  BOOST_TEST(read(path)["at"]["commit"] == "abc1234");
}

BOOST_AUTO_TEST_CASE(a_file_may_lie_in_no_folder) {
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(*this / ".");
  bench::check_place("it.json");
  bench::leave("it.json", {{"at", 3}});
  BOOST_TEST(read("it.json")["at"] == 3);
  std::filesystem::current_path(before);
}

BOOST_AUTO_TEST_CASE(a_place_that_takes_no_file_is_an_error_at_once) {
  const std::string file = *this / "file";
  std::ofstream(file) << "text";
  BOOST_CHECK_THROW(bench::check_place(file + "/it.json"), blockgrad::Error);
  BOOST_CHECK_THROW(bench::check_place(*this / "."), blockgrad::Error);
  BOOST_CHECK_NO_THROW(bench::check_place(file));
}

BOOST_AUTO_TEST_SUITE_END()
