// Wrong input to the main job: one clear message, an exit code, and nothing written.

#include <boost/test/unit_test.hpp>
#include <ostream>

#include "blockgrad/backends/program.h"
#include "data/support.h"
#include "examples/call.h"

using data_test::TemporaryFolder;
using data_test::write_bytes;
using example_test::Answer;
using example_test::call;

namespace {

struct Mistake {
  std::string what;
  std::string csv;  // "" for the shipped file
  std::vector<std::string> arguments;
  int exit_code;
  std::string
      message;  // how standard error goes on after "ad_spend: "; FILE stands for the table's path
};

std::ostream& operator<<(std::ostream& out, const Mistake& mistake) { return out << mistake.what; }

const std::vector<Mistake> mistakes = {
    {"empty file", "(empty)", {}, 1, "FILE: the file is empty; expected a line of names\n"},
    {"ragged row", "a,b,t\n1,2\n", {}, 1, "FILE:2: expected 3 cells, got 2\n"},
    {"word for a number",
     "a,b,t\n1,2,3\n1,x,3\n",
     {},
     1,
     "FILE:3: column 'b': expected a number, got 'x'\n"},
    {"not a number",
     "a,t\n1,3\nnan,3\n",
     {},
     1,
     "FILE:3: column 'a': expected a finite number, got 'nan'\n"},
    {"infinite number",
     "a,t\n1,inf\n",
     {},
     1,
     "FILE:2: column 't': expected a finite number, got 'inf'\n"},
    {"repeated column", "a,a,t\n1,2,3\n", {}, 1, "FILE: two columns are called 'a': 1 and 2\n"},
    {"no rows", "a,t\n", {}, 1, "FILE: expected rows below the line of names, got none\n"},
    {"open quote",
     "a,t\n1,\"2\n",
     {},
     1,
     "FILE:2: the quote that opens a cell here is never closed\n"},
    {"endless line", "a,t\n1," + std::string(1 << 21, '2') + "\n", {}, 1, "FILE:2: "},
    {"target alone", "t\n1\n", {}, 1, "FILE: no column besides the target 't' to learn from\n"},
    {"target without a name",
     "a,\n1,2\n",
     {},
     1,
     "FILE: the last column has no name; choose one with --target\n"},
    {"no such file",
     "",
     {"--data", "/no/such.csv"},
     1,
     "/no/such.csv: cannot open it: No such file or directory\n"},
    {"unknown input",
     "a,t\n1,2\n",
     {"--inputs", "b"},
     1,
     "FILE: no column 'b'; the columns are 'a', 't'\n"},
    {"unknown target",
     "a,t\n1,2\n",
     {"--target", "b"},
     1,
     "FILE: no column 'b'; the columns are 'a', 't'\n"},
    {"divergence", "", {"--learning-rate", "1e6"}, 1, "training diverged at update "},
    {"divergence of batch",
     "",
     {"--learning-rate", "1e6", "--strategy", "batch"},
     1,
     "training diverged at update 25 (epoch 25, batch 1): mse_loss"},
    {"unknown device",
     "",
     {"--device", "abacus"},
     1,
     "there is no device 'abacus'; there are cpu and cuda\n"},
    {"too few values",
     "",
     {"--predict", "1"},
     1,
     "--predict: expected 2 values, one for each input, got 1\n"},
    {"more than f32 counts",
     "",
     {"--dtype", "f32", "--epochs", "1000000000"},
     1,
     "stochastic: 5000000000 updates are more than f32 can count; use fewer --epochs, or --dtype "
     "f64\n"},
    {"unknown strategy",
     "",
     {"--strategy", "fast"},
     2,
     "--strategy: fast not in {stochastic,mini-batch,batch,all} (see --help)\n"},
    {"unknown option",
     "",
     {"--bogus"},
     2,
     "The following argument was not expected: --bogus (see --help)\n"},
    {"target as input",
     "",
     {"--inputs", "google", "--target", "google"},
     2,
     "--inputs: 'google' is the target (see --help)\n"},
    {"input twice",
     "",
     {"--inputs", "google,google"},
     2,
     "--inputs: 'google' comes twice (see --help)\n"},
    {"batch size of batch",
     "",
     {"--strategy", "batch", "--batch-size", "2"},
     2,
     "--batch-size belongs to mini-batch; batch has its own (see --help)\n"},
    {"no epochs",
     "",
     {"--epochs", "0"},
     2,
     "--epochs: expected a whole number from 1 on, got '0' (see --help)\n"},
    {"negative rate",
     "",
     {"--learning-rate", "-1"},
     2,
     "--learning-rate: expected a number above 0, got '-1' (see --help)\n"},
    {"rate that is no number",
     "",
     {"--learning-rate", "nan"},
     2,
     "--learning-rate: expected a number above 0, got 'nan' (see --help)\n"},
    {"momentum of 1",
     "",
     {"--momentum", "1"},
     2,
     "--momentum: expected a number from 0 on, below 1, got '1' (see --help)\n"},
    {"negative seed",
     "",
     {"--seed", "-1"},
     2,
     "--seed: expected a whole number from 0 on, got '-1' (see --help)\n"},
    {"word to predict for",
     "",
     {"--predict", "1,b"},
     2,
     "--predict: expected a number, got 'b' (see --help)\n"},
    {"no folder",
     "",
     {"--weights", "/no/such/file"},
     2,
     "--weights: /no/such/file: there is no folder /no/such (see --help)\n"},
    {"data overwritten",
     "a,t\n1,2\n",
     {"--weights", "FILE"},
     2,
     "the data FILE would be overwritten (see --help)\n"},
};

std::string with_file(std::string text, const std::string& file) {
  for (std::size_t at; (at = text.find("FILE")) != std::string::npos;) text.replace(at, 4, file);
  return text;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ad_spend_mistakes)

BOOST_AUTO_TEST_CASE(each_mistake_gets_one_message_an_exit_code_and_writes_nothing) {
  for (const Mistake& mistake : mistakes) {
    BOOST_TEST_CONTEXT(mistake) {
      const TemporaryFolder folder, outputs;
      const std::string file = folder / "table.csv";
      std::vector<std::string> arguments = mistake.arguments;
      for (std::string& argument : arguments) argument = with_file(argument, file);
      if (!mistake.csv.empty()) {
        write_bytes(file, mistake.csv == "(empty)" ? "" : mistake.csv);
        arguments.insert(arguments.end(), {"--data", file});
      }
      arguments.insert(arguments.end(),
                       {"--plot", outputs / "plot.svg", "--report", outputs / "report.json"});
      const Answer answer = call("ad_spend", arguments);
      BOOST_TEST(answer.exit_code == mistake.exit_code);
      const std::string expected = "ad_spend: " + with_file(mistake.message, file);
      BOOST_TEST(answer.err.substr(0, expected.size()) == expected);
      BOOST_TEST(outputs.files() == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_device_that_cannot_train_is_told_with_its_reason) {
  std::string reason;
  try {
    (void)blockgrad::cuda();
    BOOST_TEST_MESSAGE("skipped: CUDA can train here");
    return;
  } catch (const blockgrad::DeviceError& error) {
    reason = error.what();
  }
  const TemporaryFolder outputs;
  const Answer answer = call("ad_spend", {"--device", "cuda", "--plot", outputs / "plot.svg",
                                          "--report", outputs / "report.json"});
  BOOST_TEST(answer.exit_code == 1);
  BOOST_TEST(answer.err.find(reason) != std::string::npos, answer.err);
  BOOST_TEST(outputs.files() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
