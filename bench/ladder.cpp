// The ladder: whole training steps of eight models, forward, backward and update in one program, as
// a share of the least time that this machine needs for their products and their passes over
// memory.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "blockgrad/data/files.h"
#include "ladder/contest.h"
#include "ladder/ours.h"
#include "ladder/peers.h"
#include "ladder/report.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<std::string> rows;
  std::vector<int> threads;
  std::string isa;
  std::string folder = BG_SOURCE_DIR "/build/bench/ladder";
  std::string python = BG_SOURCE_DIR "/build/peers/bin/python";
  bool grows = false, is_tiny = false, guards = false, profiles = false, lists = false;
  bool with_peers = false, only_prepares = false;
  bench::ContestOptions contest;
};

std::vector<bench::Row> rows_of(const Options& options) {
  std::vector<bench::Row> all = bench::ladder_rows();
  std::vector<bench::Row> growing = bench::growth_rows();
  if (options.rows.empty()) return options.grows ? growing : all;
  all.insert(all.end(), growing.begin(), growing.end());
  std::vector<bench::Row> chosen;
  std::string names;
  for (const bench::Row& row : all) names += " " + row.name;
  for (const std::string& name : options.rows) {
    const auto at = std::find_if(all.begin(), all.end(),
                                 [&](const bench::Row& row) { return row.name == name; });
    bg::require(at != all.end(), "no row '", name, "'; there are:", names);
    chosen.push_back(*at);
  }
  return chosen;
}

void warn_of_other_losses(const std::vector<bench::Contestant>& contestants) {
  const double ours = contestants.front().loss;
  for (const bench::Contestant& c : contestants) {
    if (std::abs(c.loss - ours) <= bench::loss_tolerance * std::abs(ours)) continue;
    std::fprintf(stderr, "  %s on %d has the loss %.6f, not %.6f: it does other work\n",
                 c.name.c_str(), c.threads, c.loss, ours);
  }
}

void run_row(const bench::Row& row, const Options& options, bench::Peers* peers) {
  const std::function<bench::Model()>& make = options.is_tiny ? row.make_tiny : row.make;
  bg::require(static_cast<bool>(make), "row ", row.name, " has no tiny model");
  std::fprintf(stderr, "%s\n", row.name.c_str());
  std::vector<std::unique_ptr<bench::Ours>> ours;
  std::vector<bench::Contestant> contestants;
  for (const int threads : options.threads) {
    for (const bool guard : {false, true}) {
      if (guard && !options.guards) continue;
      ours.push_back(
          std::make_unique<bench::Ours>(make, bench::Ours::Options{threads, guard, options.isa}));
      contestants.push_back(ours.back()->contestant(guard ? "with guard" : "blockgrad"));
    }
  }
  bench::Ours& first = *ours.front();
  if (options.profiles) {
    first.program().profile(first.training().model.batch, 20);
    std::printf("%s\n%s\n", row.title.c_str(), first.program().explain().c_str());
    return;
  }
  std::filesystem::create_directories(options.folder);
  if (peers) {
    const std::string file = options.folder + "/" + row.name + ".safetensors";
    bench::write_model(make(), file);
    for (bench::Contestant& peer : peers->contestants(file)) contestants.push_back(std::move(peer));
    warn_of_other_losses(contestants);
    if (options.only_prepares) return;
  }
  const bg::Report& report = first.program().report();
  const bench::Work& work = first.training().work;
  const bench::Contest contest = bench::measure(contestants, work.bytes / 2, options.contest);
  nlohmann::json result =
      bench::to_json(row, work, {report.peak_bytes, report.kernels}, contestants, contest);
  bench::print(result);
  if (contest.disturbed > 0) {
    std::fprintf(stderr, "  %d repetitions left out: others used the machine\n", contest.disturbed);
  }
  result["at"] = bench::circumstances();
  if (peers) result["at"]["peers"] = peers->versions();
  bg::data::write_text_file(options.folder + "/" + row.name + ".json", result.dump(2) + "\n");
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Training steps of the models of the ladder: time, and share of the floor"};
  app.add_option("--row", options.rows, "rows by name; all of the ladder if not given");
  app.add_option("--threads", options.threads, "numbers of threads; 1 and all if not given")
      ->check(CLI::PositiveNumber);
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--repetitions", options.contest.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.contest.milliseconds, "of a repetition, at least")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--json", options.folder, "folder for a file of each row");
  app.add_flag("--growth", options.grows, "the MLP at several batches and widths instead");
  app.add_flag("--guard", options.guards, "also with minimize's check that a step is finite");
  app.add_flag("--peers", options.with_peers, "in turns with PyTorch and JAX (./run peers)");
  app.add_option("--python", options.python, "the interpreter that has the peers");
  app.add_flag("--prepare", options.only_prepares, "let the peers compile, and measure nothing");
  app.add_flag("--profile", options.profiles, "print each kernel's time instead");
  app.add_flag("--tiny", options.is_tiny, "the same models with tiny sizes");
  app.add_flag("--list", options.lists, "print the rows and do nothing");
  CLI11_PARSE(app, argc, argv);

  const std::vector<bench::Row> rows = rows_of(options);
  if (options.lists) {
    for (const bench::Row& row : rows)
      std::printf("%-16s %s\n", row.name.c_str(), row.title.c_str());
    return 0;
  }
  if (options.threads.empty()) {
    options.threads.push_back(1);
    const int all = static_cast<int>(std::thread::hardware_concurrency());
    if (all > 1) options.threads.push_back(all);
  }
  std::printf("%s", bg::device_report().c_str());
  if (!options.profiles) bench::print_header();
  std::optional<bench::Peers> peers;
  if (options.with_peers) peers.emplace(options.python, options.threads);
  for (const bench::Row& row : rows) run_row(row, options, peers ? &*peers : nullptr);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
