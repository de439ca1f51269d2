// The ladder of CUDA kernels for a matrix product, rung by rung: how each cuts the work, what it
// reads, and whether it is right. Without a GPU every kernel runs on the CPU from its own source, a
// fiber a thread.

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "ladder.h"
#include "ladder_times.h"
#include "support/command_line.h"
#include "support/table.h"

namespace {

using blockgrad::harness::LadderRun;
using blockgrad::harness::LadderSize;
using blockgrad::harness::Rung;
using blockgrad::harness::RungTime;

struct Options {
  std::string device = "cpu";
  LadderSize size{150, 140, 70};
  std::uint64_t seed = 1;
  int runs = 20;
  std::string svg;
};

// A size at which a GPU has enough to do.
constexpr LadderSize large{4096, 4096, 4096};

std::string text(double value, int digits) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return buffer;
}

void show_ideas() {
  std::printf("1. The rungs: what each does that the one before does not\n\n");
  int number = 0;
  for (const Rung& rung : blockgrad::harness::ladder())
    std::printf("  %d %-8s  %s\n", ++number, std::string(rung.name).c_str(),
                std::string(rung.idea).c_str());
}

void show_cuts() {
  std::printf("\n2. The cut of %ldx%ldx%ld, and what its blocks read of A and B\n\n", large.m,
              large.n, large.k);
  examples::Table table({"rung", "blocks", "GB read", "flop per byte"});
  const double flops = 2.0 * static_cast<double>(large.m) * static_cast<double>(large.n) *
                       static_cast<double>(large.k);
  for (const Rung& rung : blockgrad::harness::ladder()) {
    const double bytes = blockgrad::harness::bytes_read(rung, large);
    table.add({std::string(rung.name), std::string(rung.cut), text(bytes / 1e9, 1),
               text(flops / bytes, 1)});
  }
  std::printf("%s", table.to_string().c_str());
}

/// Runs every rung on the CPU; true if all are right.
bool verify(const Options& options) {
  const LadderSize& size = options.size;
  std::printf("\n3. Each rung on the CPU, from its own source: C[%ld, %ld] over k = %ld\n\n",
              size.m, size.n, size.k);
  examples::Table table({"rung", "blocks", "threads", "wrong elements", "compared with"});
  bool all_right = true;
  for (const Rung& rung : blockgrad::harness::ladder()) {
    const LadderRun run = rung.run(size, options.seed);
    table.add({std::string(rung.name), std::to_string(run.blocks), std::to_string(run.threads),
               std::to_string(run.wrong),
               rung.name == "mma" ? "f64 sum, bound of f32 sums" : "fma chain, bit for bit"});
    all_right = all_right && run.wrong == 0;
  }
  std::printf("%s", table.to_string().c_str());
  return all_right;
}

/// Bars of TFLOP/s, the first rung on top.
std::string svg(const std::vector<RungTime>& times) {
  double most = 0;
  for (const RungTime& time : times) most = std::max(most, time.teraflops);
  const std::size_t height = 30 * times.size() + 50;
  std::string picture = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" height=\"" +
                        std::to_string(height) +
                        "\" font-family=\"sans-serif\" font-size=\"14\">\n"
                        "<text x=\"10\" y=\"24\">TFLOP/s of each rung</text>\n";
  int y = 40;
  for (const RungTime& time : times) {
    const std::string at = std::to_string(y), text_at = std::to_string(y + 16);
    const std::string width = text(most > 0 ? 430 * time.teraflops / most : 0, 1);
    picture += "<text x=\"10\" y=\"" + text_at + "\">" + std::string(time.name) +
               "</text>\n<rect x=\"90\" y=\"" + at + "\" width=\"" + width +
               "\" height=\"22\" fill=\"#4878a8\"/>\n<text x=\"" + text(100 + std::stod(width), 1) +
               "\" y=\"" + text_at + "\">" + text(time.teraflops, 2) + "</text>\n";
    y += 30;
  }
  return picture + "</svg>\n";
}

/// Times every rung on the GPU; true if all are right.
bool show_times(const Options& options) {
  constexpr LadderSize size = large;
  std::printf("\n3. Each rung on the GPU: C[%ld, %ld] over k = %ld, f32, median of %d runs\n\n",
              size.m, size.n, size.k, options.runs);
  const auto times = blockgrad::harness::time_ladder(size, options.runs);
  examples::Table table({"rung", "ms", "TFLOP/s", "off", "at most"});
  char off[32], bound[32];
  bool all_right = true;
  for (const RungTime& time : times) {
    std::snprintf(off, sizeof off, "%.1e", time.largest_error);
    std::snprintf(bound, sizeof bound, "%.0e", time.bound);
    table.add(
        {std::string(time.name), text(time.milliseconds, 3), text(time.teraflops, 2), off, bound});
    all_right = all_right && time.is_right();
  }
  std::printf("%s", table.to_string().c_str());
  std::printf(
      "\noff: from the first rung, which is compared with chains on the CPU, in parts of the "
      "largest "
      "element%s\n",
      all_right ? "" : "; a rung is wrong");
  if (options.svg.empty()) return all_right;
  std::ofstream file(options.svg);
  if (!(file << svg(times)).flush()) throw blockgrad::Error("cannot write '" + options.svg + "'");
  std::printf("\nwrote %s\n", options.svg.c_str());
  return all_right;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("The ladder of CUDA kernels for a matrix product, rung by rung.", "matmul_ladder");
  app.add_option("--device", options.device, "cpu: every kernel on the CPU; cuda: their times")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  const auto size = CLI::Range(1, 1000).description("1 to 1000");
  app.add_option("--m", options.size.m, "Rows of A and C")->check(size)->capture_default_str();
  app.add_option("--n", options.size.n, "Columns of B and C")->check(size)->capture_default_str();
  app.add_option("--k", options.size.k, "Columns of A, rows of B")
      ->check(size)
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of the numbers, and of the order of threads")
      ->capture_default_str();
  app.add_option("--runs", options.runs, "Of each rung on a GPU")
      ->check(examples::whole_number(1))
      ->capture_default_str();
  app.add_option("--svg", options.svg, "Draw the times on a GPU")
      ->check(CLI::Validator(examples::check_output_file, ""));
  if (const auto code = examples::parse(app, argc, argv)) return *code;
  if (options.device == "cuda") blockgrad::cuda();  // throws where there is no GPU
  show_ideas();
  show_cuts();
  if (options.device == "cuda") return show_times(options) ? 0 : 1;
  const bool is_right = verify(options);
  std::printf("\nTimes on a GPU: --device cuda\n");
  return is_right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("matmul_ladder", [&] { return run(argc, argv); });
}
