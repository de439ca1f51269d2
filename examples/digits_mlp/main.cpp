// Learns to read handwritten digits with a network of one hidden layer: the MNIST images, or digits
// that the program draws itself.

#include <cstdio>

#include "blockgrad/data/files.h"
#include "digits_mlp/report.h"
#include "support/command_line.h"
#include "support/stop_signal.h"

namespace {

using namespace digits_mlp;

void write_files(const Digits& digits, const Options& options, const Mlp& mlp,
                 const Results& results) {
  blockgrad::train::save(options.save, mlp.parameters());
  std::printf("  wrote %s\n", options.save.c_str());
  if (!options.report.empty()) {
    blockgrad::data::write_text_file(options.report, report_text(digits, options, results));
    std::printf("  wrote %s\n", options.report.c_str());
  }
  draw_curves(options.plot, digits, results);
  blockgrad::data::write_text_file(digits_picture(options.plot), digits_svg(digits, results));
  std::printf("  wrote %s\n", digits_picture(options.plot).c_str());
}

int stopped_early() {
  std::fprintf(stderr, "digits_mlp: stopped by Ctrl-C before the training; nothing was written\n");
  return examples::interrupted_exit_code;
}

int run(int argc, char** argv) {
  Options options;
  if (const std::optional<int> end = read_options(argc, argv, options)) return *end;
  const blockgrad::Device device = blockgrad::device(options.device);
  blockgrad::StopToken stop;
  const examples::StopOnInterrupt on_interrupt(stop);

  if (options.data.empty()) {
    std::printf("Drawing digits; MNIST's own are read by --data FOLDER.\n");
    std::fflush(stdout);
  }
  const Digits digits = options.data.empty() ? draw(options.seed) : read_mnist(options.data);
  if (stop.stop_requested()) return stopped_early();
  const blockgrad::Shape& shape = digits.training["image"].shape();
  const Mlp mlp(shape[1] * shape[2], options.hidden, options.seed);
  if (!options.load.empty()) blockgrad::train::load(options.load, mlp.parameters());
  std::printf(
      "%s: %lld digits to train with, %lld to test. Network %lld-%lld-10, %lld a batch, math "
      "%s.\n\n",
      digits.name.c_str(), static_cast<long long>(digits.training.rows()),
      static_cast<long long>(digits.test.rows()), static_cast<long long>(shape[1] * shape[2]),
      static_cast<long long>(options.hidden), static_cast<long long>(options.batch_size),
      options.math.c_str());
  std::fflush(stdout);

  const Results results = train(mlp, digits, options, device, stop);
  if (results.was_stopped && results.updates == 0) return stopped_early();
  print_results(results);
  write_files(digits, options, mlp, results);
  if (!results.was_stopped) return 0;
  std::fprintf(stderr, "digits_mlp: stopped by Ctrl-C; what was learned so far is in the files\n");
  return examples::interrupted_exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("digits_mlp", [&] { return run(argc, argv); });
}
