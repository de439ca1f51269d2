#include "ad_spend/options.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "ad_spend/pictures.h"
#include "support/command_line.h"
#include "support/picture.h"

namespace ad_spend {

namespace {

/// Where pictures go without --plot: beside the program, which lies in the build folder.
std::string default_plot() {
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  return (program.parent_path() / "ad_spend.svg").string();
}

/// Every file that may be written.
std::vector<std::string> outputs(const Options& options) {
  std::vector<std::string> files = examples::plot_files(options.plot);
  for (const std::string& file : examples::graph_files(graph_picture(options.plot)))
    files.push_back(file);
  if (!options.report.empty()) files.push_back(options.report);
  if (!options.weights.empty()) files.push_back(options.weights);
  return files;
}

/// What options must fit among each other; "" if they do.
std::string mismatch(const Options& options) {
  const bool has_batches = options.strategy == "all" || options.strategy == "mini-batch";
  if (options.batch_size && !has_batches)
    return "--batch-size belongs to mini-batch; " + options.strategy + " has its own";
  for (const std::string& name : options.inputs) {
    if (name.empty()) return "--inputs: expected names of columns, got ''";
    if (name == options.target) return "--inputs: '" + name + "' is the target";
    if (std::count(options.inputs.begin(), options.inputs.end(), name) > 1)
      return "--inputs: '" + name + "' comes twice";
  }
  const std::vector<std::string> files = outputs(options);
  for (const std::string& file : files) {
    std::error_code ignored;
    if (std::filesystem::equivalent(file, options.data, ignored))
      return "the data " + options.data + " would be overwritten";
    if (std::count(files.begin(), files.end(), file) > 1) return file + " would be written twice";
  }
  return "";
}

}  // namespace

std::optional<int> read_options(int argc, const char* const* argv, Options& options) {
  options.data = BG_EXAMPLE_DIR "/ad_spend.csv";
  options.plot = default_plot();
  CLI::App app(
      "Learns from a table how much each input adds to a target: target = intercept + sum of "
      "coefficient * input.\n"
      "Trains by stochastic, mini-batch and batch gradient descent and compares them.\n"
      "Without options: the shipped ad_spend.csv, conversions from money spent on social media and "
      "google.",
      "ad_spend");
  app.option_defaults()->ignore_case(false);
  const CLI::Validator output(examples::check_output_file, "");
  const CLI::Validator count = examples::whole_number(1), from_zero = examples::whole_number(0);
  const CLI::Validator any = examples::number_where("a number", [](double) { return true; });
  const CLI::Validator above_zero =
      examples::number_where("a number above 0", [](double x) { return x > 0; });
  const CLI::Validator not_negative =
      examples::number_where("a number from 0 on", [](double x) { return x >= 0; });
  const CLI::Validator below_one = examples::number_where("a number from 0 on, below 1",
                                                          [](double x) { return x >= 0 && x < 1; });
  app.add_option("--data", options.data, "table with a header (default: the shipped ad_spend.csv)")
      ->type_name("FILE.csv");
  app.add_option("--inputs", options.inputs,
                 "columns to learn from (default: all named ones but the target)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,..");
  app.add_option("--target", options.target, "column to predict (default: the last)")
      ->type_name("T");
  app.add_option("--strategy", options.strategy,
                 "rows per update: 1, a few, all; or one after the other (default: all)")
      ->check(CLI::IsMember({"stochastic", "mini-batch", "batch", "all"}))
      ->type_name("");
  app.add_option("--batch-size", options.batch_size,
                 "rows per update of mini-batch (default: half the rows, 2 to 32)")
      ->check(count)
      ->type_name("N");
  app.add_option("--epochs", options.epochs,
                 "passes over the rows, at most (default: those of 10,000 updates, at least 20)")
      ->check(count)
      ->type_name("N");
  app.add_option("--tolerance", options.tolerance,
                 "ends when no weight moves by more in 100 updates or an epoch, relative to max(1, "
                 "its size); 0: never "
                 "(default: 1e-13 in f64, 2e-7 in f32)")
      ->check(not_negative)
      ->type_name("X");
  app.add_option("--learning-rate", options.learning_rate,
                 "the first one (default: from the data, see the README)")
      ->check(above_zero)
      ->type_name("X");
  app.add_option("--momentum", options.momentum, "of the updates, below 1 (default: 0)")
      ->check(below_one)
      ->type_name("X");
  app.add_flag("--standardize,!--no-standardize", options.standardize,
               "scale inputs for training (default: yes)");
  app.add_flag("--intercept,!--no-intercept", options.intercept,
               "learn a constant term too (default: yes)");
  app.add_option("--dtype", options.dtype, "numbers to train with (default: f64)")
      ->check(CLI::IsMember({"f32", "f64"}))
      ->type_name("");
  app.add_option("--seed", options.seed, "of the order of rows (default: 1)")
      ->check(from_zero)
      ->type_name("N");
  app.add_option("--threads", options.threads,
                 "at most; 0: all; no result depends on it (default: 0)")
      ->check(from_zero)
      ->type_name("N");
  app.add_option("--device", options.device,
                 "where to train: cpu; cuda ends with the reason why not yet (default: cpu)")
      ->type_name("NAME");
  app.add_option("--predict", options.predict, "values of the inputs to predict the target for")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(any)
      ->type_name("A,B,..");
  app.add_option("--report", options.report, "write the results as JSON")
      ->check(output)
      ->type_name("FILE.json");
  app.add_option("--plot", options.plot,
                 "loss curves; the graph goes to FILE_graph.svg (default: beside the program)")
      ->check(output)
      ->type_name("FILE.svg");
  app.add_option("--weights", options.weights, "write the trained parameters")
      ->check(output)
      ->type_name("FILE.safetensors");
  if (const std::optional<int> end = examples::parse(app, argc, argv)) return end;
  if (const std::string text = mismatch(options); !text.empty()) {
    std::fprintf(stderr, "ad_spend: %s (see --help)\n", text.c_str());
    return examples::usage_exit_code;
  }
  return std::nullopt;
}

std::int64_t default_batch_size(std::int64_t rows) {
  return std::min(rows, std::clamp<std::int64_t>(rows / 2, 2, 32));
}

std::int64_t default_epochs(std::int64_t updates_per_epoch) {
  return std::max<std::int64_t>(20, (10'000 + updates_per_epoch - 1) / updates_per_epoch);
}

double default_tolerance(const std::string& dtype) { return dtype == "f64" ? 1e-13 : 2e-7; }

}  // namespace ad_spend
