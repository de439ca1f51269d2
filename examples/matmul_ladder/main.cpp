// The ladder of CUDA kernels for a matrix product, rung by rung: how each cuts the work, what it
// reads, and whether it is right. Without a GPU every kernel runs on the CPU from its own source, a
// fiber a thread.

#include <cstdio>
#include <string>

#include "blockgrad/blockgrad.h"
#include "ladder.h"
#include "support/command_line.h"
#include "support/table.h"

namespace {

using blockgrad::harness::LadderRun;
using blockgrad::harness::LadderSize;
using blockgrad::harness::Rung;

struct Options {
  std::string device = "cpu";
  LadderSize size{150, 140, 70};
  std::uint64_t seed = 1;
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

/// Why there are no times.
std::string why_no_gpu() {
  try {
    blockgrad::device("cuda");
  } catch (const blockgrad::DeviceError& error) {
    return error.what();
  }
  return "the GPU is there, but this program launches nothing on it";
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("The ladder of CUDA kernels for a matrix product, rung by rung.");
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
  if (const auto code = examples::parse(app, argc, argv)) return *code;
  if (options.device == "cuda") throw blockgrad::DeviceError("no times: " + why_no_gpu());
  show_ideas();
  show_cuts();
  const bool is_right = verify(options);
  std::printf("\nNo times: %s\n", why_no_gpu().c_str());
  return is_right ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  return examples::guarded("matmul_ladder", [&] { return run(argc, argv); });
}
