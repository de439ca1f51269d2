// The short examples as their users see them: the numbers they print, and their mistakes.

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <sstream>

#include "data/support.h"
#include "examples/call.h"

using data_test::TemporaryFolder;
using data_test::write_bytes;
using example_test::Answer;
using example_test::call;

namespace {

void check_prints(const Answer& answer, const std::vector<std::string>& parts) {
  BOOST_TEST(answer.exit_code == 0, answer.err);
  for (const std::string& part : parts) {
    BOOST_TEST((answer.out.find(part) != std::string::npos), part << "\nis not in\n" << answer.out);
  }
}

void check_fails(const Answer& answer, int exit_code, const std::string& message) {
  BOOST_TEST(answer.exit_code == exit_code);
  BOOST_TEST(answer.err == message);
}

/// Column `number` of the table below the line that starts with `head`.
std::vector<double> column(const std::string& text, const std::string& head, int number) {
  std::istringstream lines(text.substr(text.find(head)));
  std::string line;
  std::getline(lines, line);
  std::getline(lines, line);
  std::vector<double> values;
  while (std::getline(lines, line)) {
    std::istringstream cells(line);
    double value = 0;
    for (int i = 0; i <= number; ++i) cells >> value;
    values.push_back(value);
  }
  return values;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(small_examples)

BOOST_AUTO_TEST_CASE(every_example_explains_itself_and_refuses_unknown_options) {
  for (const std::string example :
       {"custom_op", "dense_layer", "forward_pass", "word_similarity"}) {
    BOOST_TEST_CONTEXT(example) {
      check_prints(call(example, {"--help"}), {"Usage: " + example});
      check_fails(call(example, {"--bogus"}), 2,
                  example + ": The following argument was not expected: --bogus (see --help)\n");
    }
  }
}

BOOST_AUTO_TEST_CASE(dense_layer_prints_its_sums_and_outputs) {
  check_prints(call("dense_layer", {}),
               {"neuron 1: z = 0.1*0.5 + 0.2*0.3 + 0.3*0.2 = 0.17, ",
                "  z        0.17   0.47   0.77", "  outputs  0.5424 0.6154 0.6835"});
}

BOOST_AUTO_TEST_CASE(dense_layer_with_a_wrong_number_of_inputs_shows_the_engines_error) {
  const Answer answer = call("dense_layer", {"--inputs", "1,2"});
  BOOST_TEST(answer.exit_code == 1);
  BOOST_TEST(answer.err.find("dense_layer: matmul (main.cpp:") == 0);
  BOOST_TEST((answer.err.find("): inner sizes differ: [3, 3] x [2, 1]\n") != std::string::npos));
  check_fails(call("dense_layer", {"--inputs", "1,b,3"}), 2,
              "dense_layer: --inputs: expected a number, got 'b' (see --help)\n");
}

BOOST_AUTO_TEST_CASE(forward_pass_prints_every_layer_and_its_loss_falls) {
  const Answer answer = call("forward_pass", {});
  check_prints(answer,
               {"layer 1: 3 numbers in, 4 neurons", "layer 2: 4 numbers in, 2 neurons",
                "in        0.5000   0.3000   0.2000", "Training towards   0.9000   0.1000"});
  const std::vector<double> losses = column(answer.out, "  updates", 1);
  BOOST_TEST(losses.size() == 11);
  BOOST_TEST(std::is_sorted(losses.rbegin(), losses.rend()));
  BOOST_TEST(losses.back() < 0.001);
  BOOST_TEST(losses.back() < losses.front() / 100);
}

BOOST_AUTO_TEST_CASE(forward_pass_repeats_itself_for_a_seed_and_differs_for_another) {
  const std::string one = call("forward_pass", {"--seed", "7"}).out;
  BOOST_TEST(one == call("forward_pass", {"--seed", "7"}).out);
  BOOST_TEST(one != call("forward_pass", {"--seed", "8"}).out);
}

BOOST_AUTO_TEST_CASE(forward_pass_refuses_targets_that_sigmoid_never_gives) {
  check_fails(call("forward_pass", {"--target", "0.5,1"}), 2,
              "forward_pass: --target: expected a number between 0 and 1, as sigmoid gives them, "
              "got '1' (see --help)\n");
  const Answer answer = call("forward_pass", {"--target", "0.5"});
  BOOST_TEST(answer.exit_code == 1);
  BOOST_TEST((answer.err.find("shapes must be equal, got [2] and [1]\n") != std::string::npos));
}

BOOST_AUTO_TEST_CASE(word_similarity_prints_the_cosines) {
  check_prints(call("word_similarity", {}),
               {"  cat-dog 0.9493", "  cat-pet 0.9104", "  cat   1.0000  0.9493  0.9104"});
}

BOOST_AUTO_TEST_CASE(word_similarity_reads_other_words_and_names_what_is_wrong_with_them) {
  const TemporaryFolder folder;
  const std::string file = folder / "words.csv";
  write_bytes(file, "word,x,y\nup,0,2\nright,3,0\ndown,0,-1\n");
  check_prints(call("word_similarity", {"--vectors", file}),
               {"  up-right 0.0000", "  up-down -1.0000"});
  write_bytes(file, "word,x\nup,0\n");
  check_fails(
      call("word_similarity", {"--vectors", file}), 1,
      "word_similarity: " + file + ": the vector of 'up' is zero, so it has no direction\n");
  write_bytes(file, "word\nup\n");
  check_fails(call("word_similarity", {"--vectors", file}), 1,
              "word_similarity: " + file + ": expected a column of words and columns of numbers\n");
  check_fails(call("word_similarity", {"--vectors", "/no/such.csv"}), 1,
              "word_similarity: /no/such.csv: cannot open it: No such file or directory\n");
}

BOOST_AUTO_TEST_CASE(custom_op_shows_three_ways_and_the_line_of_a_mistake) {
  const Answer answer = call("custom_op", {});
  BOOST_TEST((answer.out.find("ABOVE") == std::string::npos));
  check_prints(answer,
               {"1. squash", "2. swish", "   gated", "3. smooth",
                "value    [4, 2, 1, 4.5]\n  gradient [0.9375, 0.875, 0.75, 0.5]",
                "  smooth (main.cpp:", "): wants one series of fractions, got f32 [2, 2]\n"});
  check_fails(call("custom_op", {"--device", "tpu"}), 1,
              "custom_op: there is no device 'tpu'; there are cpu and cuda\n");
}

BOOST_AUTO_TEST_SUITE_END()
