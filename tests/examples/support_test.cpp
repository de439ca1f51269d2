// What the examples share.

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <filesystem>

#include "data/support.h"
#include "support/external_program.h"
#include "support/picture.h"
#include "support/progress.h"
#include "support/table.h"

using data_test::error_of;
using data_test::read_bytes;
using data_test::TemporaryFolder;

BOOST_AUTO_TEST_SUITE(support)

BOOST_AUTO_TEST_CASE(table_lines_up_characters_not_bytes) {
  examples::Table table({"n\u00e4me", "x"});
  table.add({"a", "12"});
  BOOST_TEST(table.to_string() == "  n\u00e4me   x\n  --------\n  a     12\n");
}

BOOST_AUTO_TEST_CASE(progress_draws_no_bar_into_a_file) {
  const TemporaryFolder folder;
  const std::string path = folder / "progress";
  std::FILE* const file = std::fopen(path.c_str(), "w");
  BOOST_REQUIRE(file);
  {
    examples::ProgressLine line("work", file);
    for (int i = 0; i < 1000; ++i) line.show(i / 1000.0, "note");
  }
  std::fclose(file);
  BOOST_TEST(read_bytes(path) == "");  // the first line would come after seconds
}

BOOST_AUTO_TEST_CASE(failing_program_is_an_error_with_its_last_words) {
  const std::string program = examples::find_program("ls");
  BOOST_REQUIRE(!program.empty());
  const std::string message =
      error_of([&] { examples::run_program(program, {"/no/such; file"}, "/"); });
  BOOST_TEST((message.find(program + " failed: ") == 0), message);
  BOOST_TEST((message.find("/no/such; file") != std::string::npos), message);
}

BOOST_AUTO_TEST_CASE(missing_program_has_no_path) {
  BOOST_TEST(examples::find_program("no-such-program") == "");
}

BOOST_AUTO_TEST_CASE(names_beside_a_picture_keep_its_folder) {
  BOOST_TEST(examples::beside("a/b.svg", "_graph.svg") == "a/b_graph.svg");
  BOOST_TEST(examples::beside("b.png", ".dot") == "b.png.dot");
}

BOOST_AUTO_TEST_CASE(hostile_names_neither_break_a_plot_nor_reach_a_shell) {
  const TemporaryFolder folder;
  const std::string svg = folder / "it's $(touch x) `y`.svg";
  const examples::Picture picture =
      examples::draw({.title = "it's \"quoted\"",
                      .x_label = "x",
                      .y_label = "y",
                      .log_x = true,
                      .log_y = true,
                      .curves = {{"a'b,\"c\"", {1, 2}, {3, 4}}, {"zero", {1, 2}, {0, 0}}}},
                     svg);
  if (!picture.note.empty()) {
    BOOST_TEST_MESSAGE("skipped: " + picture.note);
    return;
  }
  BOOST_TEST(std::filesystem::exists(svg));
  BOOST_TEST(folder.files() == 3);
  BOOST_TEST((read_bytes(svg).find("stroke='rgb(217,") != std::string::npos));
}

BOOST_AUTO_TEST_SUITE_END()
