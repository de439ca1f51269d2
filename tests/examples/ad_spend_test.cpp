// The main job as its users see it: what it prints and writes.

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "blockgrad/data/readers.h"
#include "data/support.h"
#include "examples/call.h"

namespace utf = boost::unit_test;

using data_test::read_bytes;
using data_test::TemporaryFolder;
using data_test::write_bytes;
using example_test::Answer;
using example_test::call;
using Json = nlohmann::json;

namespace {

const std::string shipped = BG_SOURCE_DIR "/examples/ad_spend/ad_spend.csv";
const std::string noisy = BG_SOURCE_DIR "/examples/ad_spend/ad_spend_noisy.csv";

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Runs ad_spend with a report and gives it back.
Json report_of(std::vector<std::string> arguments) {
  const TemporaryFolder folder;
  const std::string report = folder / "report.json";
  arguments.insert(arguments.end(), {"--report", report, "--plot", folder / "plot.svg"});
  const Answer answer = call("ad_spend", arguments);
  BOOST_REQUIRE_MESSAGE(answer.exit_code == 0, answer.err);
  return Json::parse(read_bytes(report));
}

double coefficient(const Json& entry, const char* name) {
  return entry.at("coefficients").at(name).get<double>();
}

void check_shipped_law(const Json& report, double tolerance) {
  for (const Json& entry : report) {
    BOOST_TEST_CONTEXT(entry.at("strategy")) {
      BOOST_TEST(std::abs(coefficient(entry, "social_media") - 1.25) <= tolerance);
      BOOST_TEST(std::abs(coefficient(entry, "google") - 1.5) <= tolerance);
      BOOST_TEST(std::abs(entry.at("intercept").get<double>()) <= 10 * tolerance);
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(ad_spend)

BOOST_AUTO_TEST_CASE(first_row_is_walked_in_three_ways_that_agree) {
  const TemporaryFolder folder;
  const Answer answer = call("ad_spend", {"--plot", folder / "plot.svg"});
  BOOST_TEST(answer.exit_code == 0);
  for (const char* way : {"scalar steps", "matrices    ", "engine      "}) {
    BOOST_TEST(has(answer.out, std::string("  ") + way +
                                   "         4.5  (-22, -55)  (0.72, 1.25)             7.69\n"));
  }
  BOOST_TEST(has(answer.out, "They agree"));
}

BOOST_AUTO_TEST_CASE(each_strategy_finds_the_law_of_the_shipped_file_without_options) {
  const Json report = report_of({});
  BOOST_TEST(report.size() == 3u);
  BOOST_TEST(report[0].at("strategy") == "stochastic");
  BOOST_TEST(report[1].at("strategy") == "mini-batch");
  BOOST_TEST(report[2].at("strategy") == "batch");
  check_shipped_law(report, 1e-9);  // f64; what is left is rounding
}

BOOST_AUTO_TEST_CASE(single_precision_finds_the_law_too) {
  check_shipped_law(report_of({"--dtype", "f32"}), 2e-6);  // a few roundings of numbers up to 10
}

BOOST_AUTO_TEST_CASE(inputs_need_not_be_standardized_and_no_intercept_be_learned) {
  check_shipped_law(report_of({"--no-standardize", "--no-intercept"}), 1e-9);
}

BOOST_AUTO_TEST_CASE(momentum_finds_the_law_too) {
  check_shipped_law(report_of({"--momentum", "0.5"}), 1e-9);
}

BOOST_AUTO_TEST_CASE(one_epoch_is_enough_for_pictures_and_report) {
  BOOST_TEST(report_of({"--epochs", "1"}).size() == 3u);
}

BOOST_AUTO_TEST_CASE(target_without_spread_is_learned_and_has_no_r2) {
  const TemporaryFolder folder;
  write_bytes(folder / "zeros.csv", "a,t\n1,0\n2,0\n3,0\n");
  const Json report = report_of({"--data", folder / "zeros.csv"});
  for (const Json& entry : report) {
    BOOST_TEST(coefficient(entry, "a") == 0);
    BOOST_TEST(entry.at("r2").is_null());
  }
}

BOOST_AUTO_TEST_CASE(report_counts_what_was_done) {
  const Json report = report_of({"--epochs", "7", "--tolerance", "0"});
  const std::int64_t updates[] = {35, 21, 7};  // 5 rows in batches of 1, 2 and 5
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(report[i].at("epochs").get<std::int64_t>() == 7);
    BOOST_TEST(report[i].at("updates").get<std::int64_t>() == updates[i]);
    BOOST_TEST(report[i].at("seconds").get<double>() > 0);
    BOOST_TEST(report[i].at("rmse").get<double>() > 0);
    BOOST_TEST(report[i].at("r2").get<double>() < 1);
  }
}

BOOST_AUTO_TEST_CASE(reports_differ_in_nothing_but_seconds_for_any_number_of_threads) {
  const auto without_seconds = [](const char* threads) {
    Json report = report_of({"--data", noisy, "--threads", threads});
    for (Json& entry : report) entry.erase("seconds");
    return report;
  };
  const Json one = without_seconds("1");
  BOOST_TEST(one == without_seconds("2"));
  BOOST_TEST(one == without_seconds("7"));
}

BOOST_AUTO_TEST_CASE(seed_decides_the_order_of_rows) {
  const auto stochastic = [](const char* seed) {
    return report_of({"--data", noisy, "--strategy", "stochastic", "--seed", seed})[0].at(
        "intercept");
  };
  BOOST_TEST(stochastic("1") != stochastic("2"));
}

BOOST_AUTO_TEST_CASE(noise_of_the_second_file_costs_the_strategies_little) {
  for (const Json& entry : report_of({"--data", noisy})) {
    BOOST_TEST(std::abs(coefficient(entry, "social_media") - 1.25) < 0.05);
    BOOST_TEST(std::abs(coefficient(entry, "google") - 1.5) < 0.05);
    BOOST_TEST(std::abs(entry.at("rmse").get<double>() - 0.5) < 0.05);
  }
}

// The formula of examples/ad_spend/README.md, which noisy.awk writes too.
BOOST_AUTO_TEST_CASE(noisy_file_follows_its_formula) {
  double state = 12345;
  const auto uniform = [&] { return (state = std::fmod(16807 * state, 2147483647)) / 2147483647; };
  std::string expected = "social_media,google,conversions\n";
  for (int row = 0; row < 200; ++row) {
    const double social_media = std::trunc(1000 * uniform()) / 100;
    const double google = std::trunc(1000 * uniform()) / 100;
    double noise = 0;
    for (int i = 0; i < 12; ++i) noise += uniform();
    char line[100];
    std::snprintf(line, sizeof line, "%.2f,%.2f,%.4f\n", social_media, google,
                  1.25 * social_media + 1.5 * google + 0.5 * (noise - 6));
    expected += line;
  }
  BOOST_TEST(read_bytes(noisy) == expected);
}

BOOST_AUTO_TEST_CASE(advertising_coefficients_are_the_exact_least_squares_ones) {
  const auto file = data_test::data_set("islr/Advertising.csv");
  if (!file) return;
  const Json report = report_of({"--data", *file, "--strategy", "batch", "--dtype", "f64"});
  BOOST_TEST(report.size() == 1u);
  const Json& entry = report[0];
  // Solved in exact rational arithmetic.
  BOOST_TEST(std::abs(entry.at("intercept").get<double>() - 2.9388893694594147) <= 1e-9);
  BOOST_TEST(std::abs(coefficient(entry, "TV") - 0.04576464545539758) <= 1e-9);
  BOOST_TEST(std::abs(coefficient(entry, "Radio") - 0.1885300169182044) <= 1e-9);
  BOOST_TEST(std::abs(coefficient(entry, "Newspaper") + 0.0010374930424762888) <= 1e-9);
  BOOST_TEST(std::abs(entry.at("r2").get<double>() - 0.8972106381789521) <= 1e-12);
  BOOST_TEST(std::abs(entry.at("rmse").get<double>() - std::sqrt(2.7841263145109365)) <= 1e-12);
}

BOOST_AUTO_TEST_CASE(inputs_and_target_are_chosen_by_name) {
  const auto file = data_test::data_set("islr/Advertising_quoted_crlf.csv");
  if (!file) return;
  const Json report =
      report_of({"--data", *file, "--inputs", "TV", "--target", "Sales", "--strategy", "batch"});
  BOOST_TEST(report[0].at("coefficients").size() == 1u);
  BOOST_TEST(std::abs(coefficient(report[0], "TV") - 0.04753664043301974) <= 1e-9);
}

BOOST_AUTO_TEST_CASE(prediction_is_printed_and_reported) {
  const TemporaryFolder folder;
  const std::string report = folder / "report.json";
  const Answer answer = call("ad_spend", {"--strategy", "batch", "--predict", "4,4", "--report",
                                          report, "--plot", folder / "plot.svg"});
  BOOST_TEST(answer.exit_code == 0);
  BOOST_TEST(
      has(answer.out,
          "For social_media = 4, google = 4 the predicted conversions is\n  batch        11\n"));
  const double value = Json::parse(read_bytes(report))[0].at("prediction").get<double>();
  BOOST_TEST(std::abs(value - 11) <= 1e-9);
}

BOOST_AUTO_TEST_CASE(weights_predict_what_the_report_says) {
  const TemporaryFolder folder;
  const std::string weights = folder / "weights.safetensors";
  const Answer answer = call(
      "ad_spend", {"--strategy", "batch", "--weights", weights, "--plot", folder / "plot.svg"});
  BOOST_TEST(answer.exit_code == 0);
  const blockgrad::data::TensorFile file = blockgrad::data::read_safetensors(weights);
  double conversions = file["batch.intercept"].at(0);
  const double row[] = {2, 5};
  for (int j = 0; j < 2; ++j) {
    conversions += file["batch.weights"].at(j) * (row[j] - file["inputs.mean"].at(j)) /
                   file["inputs.scale"].at(j);
  }
  BOOST_TEST(std::abs(conversions - 10) <= 1e-9);
}

BOOST_AUTO_TEST_CASE(pictures_are_drawn_or_the_missing_package_is_named) {
  const TemporaryFolder folder;
  const Answer answer = call("ad_spend", {"--plot", folder / "plot.svg"});
  BOOST_TEST(answer.exit_code == 0);
  BOOST_TEST(std::filesystem::exists(folder / "plot_curves.csv"));
  BOOST_TEST(std::filesystem::exists(folder / "plot_curves.gnuplot"));
  BOOST_TEST(has(read_bytes(folder / "plot_graph.dot"), "mse_loss"));
  const bool has_curves = std::filesystem::exists(folder / "plot.svg");
  const bool has_graph = std::filesystem::exists(folder / "plot_graph.svg");
  BOOST_TEST(has_curves != has(answer.out, "(package gnuplot-nox)"));
  BOOST_TEST(has_graph != has(answer.out, "(package graphviz)"));
  if (has_curves) BOOST_TEST(has(read_bytes(folder / "plot.svg"), "mini-batch"));
  if (has_graph) BOOST_TEST(has(read_bytes(folder / "plot_graph.svg"), "matmul"));
}

BOOST_AUTO_TEST_CASE(
    without_gnuplot_and_graphviz_their_input_is_written_and_the_packages_are_named) {
  const TemporaryFolder folder;
  const Answer answer = call("ad_spend", {"--plot", folder / "plot.svg"},
                             {.path = folder.path(), .interrupt_after = ""});
  BOOST_TEST(answer.exit_code == 0);
  BOOST_TEST(folder.files() == 3);
  BOOST_TEST(std::filesystem::exists(folder / "plot_curves.csv"));
  BOOST_TEST(std::filesystem::exists(folder / "plot_curves.gnuplot"));
  BOOST_TEST(std::filesystem::exists(folder / "plot_graph.dot"));
  BOOST_TEST(has(answer.out, "gnuplot is not installed (package gnuplot-nox)"));
  BOOST_TEST(has(answer.out, "dot is not installed (package graphviz)"));
}

BOOST_AUTO_TEST_CASE(interrupt_ends_training_writes_every_file_and_gives_130) {
  const TemporaryFolder folder;
  const std::string report = folder / "report.json", weights = folder / "weights.safetensors";
  const Answer answer =
      call("ad_spend",
           {"--data", shipped, "--epochs", "1000000000000", "--tolerance", "0", "--report", report,
            "--weights", weights, "--plot", folder / "plot.svg"},
           {.path = {}, .interrupt_after = "falling from half the epochs on"});
  BOOST_TEST(answer.exit_code == 130);
  BOOST_TEST(has(answer.err, "stopped by Ctrl-C"));
  const Json entries = Json::parse(read_bytes(report));
  BOOST_TEST(entries.size() == 1u);  // strategies that had not begun are not there
  BOOST_TEST(entries[0].at("ended") == "stopped");
  BOOST_TEST(blockgrad::data::read_safetensors(weights).contains("stochastic.weights"));
  BOOST_TEST(std::filesystem::exists(folder / "plot_curves.csv"));
}

BOOST_AUTO_TEST_CASE(help_names_every_option) {
  const Answer answer = call("ad_spend", {"--help"});
  BOOST_TEST(answer.exit_code == 0);
  for (const char* option :
       {"--data",           "--inputs",    "--target",        "--strategy", "--batch-size",
        "--epochs",         "--tolerance", "--learning-rate", "--momentum", "--standardize",
        "--no-standardize", "--intercept", "--no-intercept",  "--dtype",    "--seed",
        "--threads",        "--device",    "--predict",       "--report",   "--plot",
        "--weights"}) {
    BOOST_TEST(has(answer.out, option), option);
  }
}

BOOST_AUTO_TEST_SUITE_END()
