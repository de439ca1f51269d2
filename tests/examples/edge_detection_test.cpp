// Edges in pictures as users see them: the numbers of the small image, files in and out, mistakes.

#include <boost/test/unit_test.hpp>
#include <filesystem>

#include "blockgrad/graph/error.h"
#include "data/support.h"
#include "examples/call.h"
#include "support/pgm.h"

using namespace std::string_literals;
using data_test::error_of;
using data_test::read_bytes;
using data_test::TemporaryFolder;
using data_test::write_bytes;
using example_test::Answer;
using example_test::call;
using examples::GreyImage;
using examples::parse_pgm;

namespace {

std::string refusal(const std::string& text) {
  return error_of([&] { parse_pgm(text, "x"); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(edge_detection)

BOOST_AUTO_TEST_CASE(the_square_leaves_3_at_edges_5_at_corners_and_nothing_inside) {
  const Answer answer = call("edge_detection", {});
  BOOST_TEST(answer.exit_code == 0, answer.err);
  BOOST_TEST((answer.out.find("  -1  -2  -3  -2  -1\n"
                              "  -2   5   3   5  -2\n"
                              "  -3   3   0   3  -3\n"
                              "  -2   5   3   5  -2\n"
                              "  -1  -2  -3  -2  -1\n") != std::string::npos),
             answer.out);
}

BOOST_AUTO_TEST_CASE(an_image_file_becomes_a_file_of_its_edges) {
  const TemporaryFolder folder;
  const std::string image = folder / "a.pgm";
  write_bytes(image, "P2 # a dot\n4 3\n20\n1 1 1 1\n1 3 1 1\n1 1 1 1\n");
  const Answer answer = call("edge_detection", {"--image", image});
  BOOST_TEST(answer.exit_code == 0, answer.err);
  BOOST_TEST(answer.out ==
             image + ": 4 x 3 pixels, white is 20\n  wrote " + (folder / "a_edges.pgm") + "\n");
  const GreyImage edges = examples::read_pgm(folder / "a_edges.pgm");
  BOOST_TEST(edges.width == 4);
  BOOST_TEST(edges.white == 20);
  // Ones around the dot, zeros around the image: 8 - 3 neighbours - 2 at a corner, and so on.
  const std::vector<std::uint16_t> expected{3, 1, 1, 5, 1, 16, 2, 3, 3, 1, 1, 5};
  BOOST_TEST(edges.pixels == expected, boost::test_tools::per_element());

  const Answer again =
      call("edge_detection", {"--image", folder / "a_edges.pgm", "--output", folder / "b.pgm"});
  BOOST_TEST(again.exit_code == 0, again.err);
  BOOST_TEST(examples::read_pgm(folder / "b.pgm").width == 4);
}

BOOST_AUTO_TEST_CASE(both_forms_of_pgm_are_read_and_bytes_are_written) {
  const GreyImage text = parse_pgm("P2\n#c\n2 #c\n2\n300\n0 1\n#c\n299\t300", "x");
  BOOST_TEST((text.pixels == std::vector<std::uint16_t>{0, 1, 299, 300}));
  const std::string bytes = examples::pgm_text(text);
  BOOST_TEST((bytes == "P5\n2 2\n300\n\0\0\0\1\1\x2b\1\x2c"s));
  BOOST_TEST((parse_pgm(bytes, "x").pixels == text.pixels));
  BOOST_TEST((parse_pgm("P5 2 1 255 #\n", "x").pixels == std::vector<std::uint16_t>{'#', '\n'}));
}

BOOST_AUTO_TEST_CASE(images_that_are_none_are_refused) {
  BOOST_TEST(refusal("") == "x: expected a PGM image, which begins with P2 or P5");
  BOOST_TEST(refusal("P6 1 1 255 abc") == "x: expected a PGM image, which begins with P2 or P5");
  BOOST_TEST(refusal("P2") == "x: expected the width at byte 2, a whole number from 1 to 16777216");
  BOOST_TEST(refusal("P2 0 1 1 0") ==
             "x: expected the width at byte 3, a whole number from 1 to 16777216");
  BOOST_TEST(refusal("P2 1 -1 1 0") ==
             "x: expected the height at byte 5, a whole number from 1 to 16777216");
  BOOST_TEST(refusal("P2 1 1 65536 0") ==
             "x: expected the value of white at byte 7, a whole number from 1 to 65535");
  BOOST_TEST(refusal("P2 5000 5000 255 ") ==
             "x: expected at most 16777216 pixels, got 5000 x 5000");
  BOOST_TEST(refusal("P2 4000 4000 255 1") ==
             "x: 4000 x 4000 pixels do not fit the file's 18 bytes");
  BOOST_TEST(refusal("P2 2 1 9 1 ") ==
             "x: expected a pixel at byte 11, a whole number from 0 to 9");
  BOOST_TEST(refusal("P2 1 1 9 10") == "x: expected a pixel at byte 9, a whole number from 0 to 9");
  BOOST_TEST(refusal("P2 1 1 9 1x") == "x: expected a pixel at byte 9, a whole number from 0 to 9");
  BOOST_TEST(refusal("P2 1 1 9 1 2") == "x: something follows the last pixel, at byte 11");
  BOOST_TEST(refusal("P5 2 2 255 abc") == "x: 2 x 2 pixels take 4 bytes, got 3");
  BOOST_TEST(refusal("P5 1 1 300 abc") == "x: 1 x 1 pixels take 2 bytes, got 3");
  BOOST_TEST(refusal("P5 1 1 9 a") == "x: pixel 0 is 97, brighter than white, which is 9");
  BOOST_TEST(refusal("P5 1 1 9") == "x: expected a blank at byte 8");
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_file_is_refused) {
  for (const std::string& file : {"P2\n2 1\n15\n12 3"s, "P5\n2 2\n255\nabcd"s}) {
    for (std::size_t size = 0; size < file.size(); ++size) {
      BOOST_TEST_CONTEXT(file.substr(0, size)) { BOOST_TEST(refusal(file.substr(0, size)) != ""); }
    }
  }
}

BOOST_AUTO_TEST_CASE(mistakes_get_one_message_and_write_nothing) {
  const TemporaryFolder folder;
  const std::string image = folder / "a.pgm";
  const auto fails = [&](const std::vector<std::string>& arguments, int exit_code,
                         const std::string& message) {
    const Answer answer = call("edge_detection", arguments);
    BOOST_TEST(answer.exit_code == exit_code);
    BOOST_TEST(answer.err == "edge_detection: " + message + "\n");
    BOOST_TEST(folder.files() <= 1);
  };
  fails({"--image", "/no/such.pgm"}, 1, "/no/such.pgm: cannot open it: No such file or directory");
  fails({"--image", folder.path()}, 1, folder.path() + ": expected a regular file");
  write_bytes(image, "GIF");
  fails({"--image", image}, 1, image + ": expected a PGM image, which begins with P2 or P5");
  fails({"--image", image, "--output", image}, 1, "the image " + image + " would be overwritten");
  fails({"--image", image, "--output", "/no/such/b.pgm"}, 2,
        "--output: /no/such/b.pgm: there is no folder /no/such (see --help)");
  fails({"--output", folder / "b.pgm"}, 2, "--output requires --image (see --help)");
  fails({"--bogus"}, 2, "The following argument was not expected: --bogus (see --help)");
}

BOOST_AUTO_TEST_SUITE_END()
