#include "digits_mlp/options.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "support/command_line.h"
#include "support/picture.h"

namespace digits_mlp {

namespace {

/// Files that were not asked for by name go beside the program, which lies in the build folder.
std::string beside_program(const char* name) {
  std::error_code none;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", none);
  return (program.parent_path() / name).string();
}

/// What options must fit among each other; "" if they do.
std::string mismatch(const Options& options) {
  std::vector<std::string> files = examples::plot_files(options.plot);
  files.push_back(digits_picture(options.plot));
  files.push_back(options.save);
  if (!options.report.empty()) files.push_back(options.report);
  for (const std::string& file : files) {
    if (std::count(files.begin(), files.end(), file) > 1) return file + " would be written twice";
  }
  return "";
}

}  // namespace

std::string digits_picture(const std::string& svg_path) {
  return examples::beside(svg_path, "_digits.svg");
}

std::optional<int> read_options(int argc, const char* const* argv, Options& options) {
  options.plot = beside_program("digits_mlp.svg");
  options.save = beside_program("digits_mlp.safetensors");
  CLI::App app(
      "Learns to read digits: 784 pixels, one hidden layer, 10 classes; Adam, mini-batches.\n"
      "Without --data the program draws digits of its own. Ctrl-C ends the training after the\n"
      "current update; what was learned is tested, drawn and saved all the same.",
      "digits_mlp");
  const CLI::Validator output(examples::check_output_file, "");
  const CLI::Validator count = examples::whole_number(1), from_zero = examples::whole_number(0);
  app.add_option("--data", options.data,
                 "folder of MNIST's four files, packed by gzip or not (default: drawn digits)")
      ->type_name("FOLDER");
  app.add_option("--epochs", options.epochs, "passes over the training digits (default: 5)")
      ->check(from_zero)
      ->type_name("N");
  app.add_option("--batch-size", options.batch_size, "digits per update (default: 64)")
      ->check(count)
      ->type_name("N");
  app.add_option("--learning-rate", options.learning_rate, "of Adam (default: 0.001)")
      ->check(examples::number_where("a number above 0", [](double x) { return x > 0; }))
      ->type_name("X");
  app.add_option("--hidden", options.hidden, "neurons of the hidden layer (default: 128)")
      ->check(count)
      ->type_name("N");
  app.add_option("--seed", options.seed,
                 "of initial weights, order of digits, and drawn digits (default: 1)")
      ->check(from_zero)
      ->type_name("N");
  app.add_option("--threads", options.threads,
                 "at most; 0: all; no result depends on it (default: 0)")
      ->check(from_zero)
      ->type_name("N");
  app.add_option("--device", options.device, "where to train: cpu or cuda (default: cpu)")
      ->type_name("NAME");
  app.add_option("--math", options.math,
                 "of products: exact, or with operands rounded to tf32, bf16 or f16 (default: "
                 "exact)")
      ->check(CLI::IsMember({"exact", "tf32", "bf16", "f16"}))
      ->type_name("MODE");
  app.add_option("--report", options.report, "write the results as JSON")
      ->check(output)
      ->type_name("FILE.json");
  app.add_option("--plot", options.plot,
                 "curves; the hardest digits go to FILE_digits.svg (default: beside the program)")
      ->check(output)
      ->type_name("FILE.svg");
  app.add_option("--save", options.save, "write the weights (default: beside the program)")
      ->check(output)
      ->type_name("FILE.safetensors");
  app.add_option("--load", options.load, "begin with these weights; see them tested: --epochs 0")
      ->type_name("FILE.safetensors");
  if (const std::optional<int> end = examples::parse(app, argc, argv)) return end;
  if (const std::string text = mismatch(options); !text.empty()) {
    std::fprintf(stderr, "digits_mlp: %s (see --help)\n", text.c_str());
    return examples::usage_exit_code;
  }
  return std::nullopt;
}

}  // namespace digits_mlp
