// Learning digits as its users see it: drawn ones, MNIST's files, mistakes, Ctrl-C.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "blockgrad/data/readers.h"
#include "data/support.h"
#include "examples/call.h"
#include "support/drawn_digits.h"
#include "support/sanitizers.h"

using data_test::read_bytes;
using data_test::TemporaryFolder;
using data_test::write_bytes;
using example_test::Answer;
using example_test::call;
using Json = nlohmann::json;

namespace {

struct Run {
  Answer answer;
  Json report;
};

/// Runs the program with everything that it writes in `folder`.
Run run(const TemporaryFolder& folder, std::vector<std::string> arguments,
        const example_test::CallOptions& options = {}) {
  arguments.insert(arguments.end(), {"--plot", folder / "d.svg", "--save", folder / "d.safetensors",
                                     "--report", folder / "d.json"});
  Run result{call("digits_mlp", arguments, options), {}};
  if (std::filesystem::exists(folder / "d.json"))
    result.report = Json::parse(read_bytes(folder / "d.json"));
  return result;
}

std::string big_endian(std::size_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8)
    text += static_cast<char>(static_cast<unsigned char>(value >> shift));
  return text;
}

std::string images(std::size_t count, std::size_t size) {
  return std::string("\0\0\x08\x03", 4) + big_endian(count) + big_endian(size) + big_endian(size) +
         std::string(count * size * size, '\x40');
}

std::string labels(const std::string& values) {
  return std::string("\0\0\x08\x01", 4) + big_endian(values.size()) + values;
}

/// Four files in MNIST's form; those of the test part as given.
void write_set(const TemporaryFolder& folder, const std::string& test_images,
               const std::string& test_labels) {
  write_bytes(folder / "train-images-idx3-ubyte", images(3, 4));
  write_bytes(folder / "train-labels-idx1-ubyte", labels("\1\2\3"));
  write_bytes(folder / "t10k-images-idx3-ubyte", test_images);
  write_bytes(folder / "t10k-labels-idx1-ubyte", test_labels);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(digits_mlp)

BOOST_AUTO_TEST_CASE(drawn_digits_are_repeatable_balanced_and_all_different) {
  const examples::DrawnDigits drawn = examples::draw_digits(40, 1, 1);
  BOOST_TEST((drawn.images.shape() == blockgrad::Shape{40, 28, 28}));
  const auto bytes = drawn.images.span<std::uint8_t>();
  const auto again = examples::draw_digits(40, 1, 1).images;
  BOOST_TEST((std::equal(bytes.begin(), bytes.end(), again.span<std::uint8_t>().begin())));
  for (int i = 0; i < 40; ++i) {
    BOOST_TEST(drawn.labels.at(i) == i % 10);
    const auto one = bytes.subspan(static_cast<std::size_t>(i) * 784, 784);
    const auto ink = std::count_if(one.begin(), one.end(), [](int p) { return p > 200; });
    BOOST_TEST(ink > 20);
    BOOST_TEST(ink < 300);
    for (int j = 0; j < i; ++j) {
      const auto other = bytes.subspan(static_cast<std::size_t>(j) * 784, 784);
      BOOST_TEST((!std::equal(one.begin(), one.end(), other.begin())));
    }
  }
}

BOOST_AUTO_TEST_CASE(drawn_digits_are_learned_and_everything_is_written) {
  const TemporaryFolder folder;
  const Run learned = run(folder, {"--epochs", "2", "--hidden", "32", "--threads", "1"});
  BOOST_REQUIRE_MESSAGE(learned.answer.exit_code == 0, learned.answer.err);
  const Json& curve = learned.report.at("curve");
  BOOST_TEST(curve.size() == 3);
  BOOST_TEST(curve[0].at("test_accuracy").get<double>() < 0.3);
  BOOST_TEST(curve[2].at("test_accuracy").get<double>() > 0.9);
  BOOST_TEST(curve[2].at("test_loss").get<double>() < curve[1].at("test_loss").get<double>());
  int said = 0, right = 0;
  for (std::size_t label = 0; label < 10; ++label) {
    for (std::size_t as = 0; as < 10; ++as) {
      const int times = learned.report.at("said_by_label")[label][as].get<int>();
      said += times;
      right += label == as ? times : 0;
    }
  }
  BOOST_TEST(said == 2000);
  BOOST_TEST(right == std::lround(2000 * curve[2].at("test_accuracy").get<double>()));
  const std::string svg = read_bytes(folder / "d_digits.svg");
  std::size_t pictures = 0;
  for (std::size_t at = 0; (at = svg.find("<g ", at)) != std::string::npos; ++at) ++pictures;
  BOOST_TEST(pictures == 24);
  BOOST_TEST(std::filesystem::exists(folder / "d_curves.csv"));

  const TemporaryFolder other;
  const Run tested =
      run(other, {"--epochs", "0", "--hidden", "32", "--load", folder / "d.safetensors"});
  BOOST_TEST(tested.report.at("test_accuracy") == learned.report.at("test_accuracy"));
}

BOOST_AUTO_TEST_CASE(the_number_of_threads_changes_no_digit_of_the_result) {
  std::string weights[2];
  for (int i = 0; i < 2; ++i) {
    const TemporaryFolder folder;
    const Run trained = run(folder, {"--epochs", "1", "--hidden", "200", "--batch-size", "500",
                                     "--threads", i == 0 ? "1" : "2"});
    BOOST_REQUIRE_MESSAGE(trained.answer.exit_code == 0, trained.answer.err);
    weights[i] = read_bytes(folder / "d.safetensors");
  }
  BOOST_TEST((weights[0] == weights[1]));
}

BOOST_AUTO_TEST_CASE(ctrl_c_ends_the_training_and_keeps_what_was_learned) {
  const TemporaryFolder folder;
  const auto stop_after = [&](int milliseconds) {
    return run(folder, {"--epochs", "100000"},
               {.interrupt_after = "a batch", .interrupt_delay = milliseconds});
  };
  Run stopped = stop_after(200);
  // A busy machine still compiles.
  for (int wait = 400;
       wait <= 12800 && stopped.answer.err.find("before the training") != std::string::npos;
       wait *= 2)
    stopped = stop_after(wait);
  BOOST_TEST(stopped.answer.exit_code == 130);
  BOOST_TEST((stopped.answer.err.find(
                  "digits_mlp: stopped by Ctrl-C; what was learned so far is in the files\n") !=
              std::string::npos));
  BOOST_TEST(stopped.report.at("ended") == "stopped");
  BOOST_TEST(blockgrad::data::read_safetensors(folder / "d.safetensors").tensors.size() == 4);
}

BOOST_AUTO_TEST_CASE(mnist_is_learned_to_95_percent_in_two_epochs) {
#ifndef BG_SANITIZED
  const auto file = data_test::data_set("mnist/train-images-idx3-ubyte.gz");
  if (!file) return;
  const TemporaryFolder folder;
  const Run learned =
      run(folder, {"--epochs", "2", "--data", std::filesystem::path(*file).parent_path().string()});
  BOOST_REQUIRE_MESSAGE(learned.answer.exit_code == 0, learned.answer.err);
  BOOST_TEST(learned.report.at("training_rows") == 60000);
  BOOST_TEST(learned.report.at("test_accuracy").get<double>() >= 0.95);
#endif
}

BOOST_AUTO_TEST_CASE(each_mistake_gets_one_message_and_writes_nothing) {
  const TemporaryFolder data;
  const auto fails = [&](std::vector<std::string> arguments, int exit_code,
                         const std::string& message) {
    const TemporaryFolder outputs;
    const Answer answer = run(outputs, std::move(arguments)).answer;
    BOOST_TEST(answer.exit_code == exit_code);
    BOOST_TEST(answer.err == "digits_mlp: " + message + "\n");
    BOOST_TEST(outputs.files() == 0);
  };
  const std::string folder = data.path();
  fails({"--data", "/no/such"}, 1, "/no/such: there is no such folder");
  fails({"--data", folder}, 1,
        folder +
            ": there is neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz; MNIST "
            "is four such files");
  write_set(data, images(2, 5), labels("\1\2"));
  fails({"--data", folder}, 1,
        folder + ": images to train and to test differ in size: [3, 4, 4] and [2, 5, 5]");
  write_set(data, images(2, 4), labels("\1\2\3"));
  fails({"--data", folder}, 1,
        folder + "/t10k-labels-idx1-ubyte: expected a byte for each of 2 images, got u8[3]");
  write_set(data, images(2, 4), labels("\1\x0a"));
  fails({"--data", folder}, 1,
        folder + "/t10k-labels-idx1-ubyte: expected labels from 0 to 9, got 10 at position 1");
  write_set(data, labels("\1\2"), labels("\1\2"));
  fails({"--data", folder}, 1,
        folder + "/t10k-images-idx3-ubyte: expected bytes with three axes, got u8[2]");
  write_set(data, images(2, 4).substr(0, 30), labels("\1\2"));
  fails({"--data", folder}, 1,
        folder +
            "/t10k-images-idx3-ubyte: [2, 4, 4] elements take 32 bytes, but at most 14 can "
            "follow the header");
  fails({"--load", "/no/such"}, 1, "/no/such: cannot open it: No such file or directory");
  fails({"--device", "tpu"}, 1, "there is no device 'tpu'; there are cpu and cuda");
  fails({"--bogus"}, 2, "The following argument was not expected: --bogus (see --help)");
  fails({"--batch-size", "0"}, 2,
        "--batch-size: expected a whole number from 1 on, got '0' (see --help)");
  fails({"--learning-rate", "x"}, 2,
        "--learning-rate: expected a number above 0, got 'x' (see --help)");
}

BOOST_AUTO_TEST_CASE(weights_of_another_size_are_refused_by_name) {
  const TemporaryFolder folder, data, other;
  write_set(data, images(2, 4), labels("\1\2"));
  BOOST_TEST(run(folder, {"--data", data.path(), "--epochs", "1"}).answer.exit_code == 0);
  const Answer answer =
      run(other, {"--data", data.path(), "--hidden", "7", "--load", folder / "d.safetensors"})
          .answer;
  BOOST_TEST(answer.exit_code == 1);
  BOOST_TEST(answer.err == "digits_mlp: " + folder / "d.safetensors" +
                               " does not fit; nothing was loaded:\n"
                               "  'hidden.weights' is f32[16, 128], expected f32[16, 7]\n"
                               "  'hidden.bias' is f32[128], expected f32[7]\n"
                               "  'logits.weights' is f32[128, 10], expected f32[7, 10]\n");
}

BOOST_AUTO_TEST_SUITE_END()
