// The ladder: whole training steps of eight models, forward, backward and update in one program, as
// a share of the least time that this machine needs for their products and their passes over
// memory.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ladder/contest.h"
#include "ladder/ours.h"
#include "ladder/peers.h"
#include "ladder/report.h"
#include "support/circumstances.h"
#include "support/progress.h"
#include "support/results.h"
#include "support/run_main.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<std::string> rows;
  std::vector<int> threads;
  std::string isa;
  std::string device = "cpu";
  int equal_bits = 0;  // trainings that are compared
  std::string math = "exact";
  std::string folder;
  std::string python = BG_SOURCE_DIR "/build/peers/bin/python";
  std::string worker = bench::PeersOptions{}.worker;
  bool grows = false, is_tiny = false, guards = false, profiles = false, lists = false;
  bool with_peers = false, only_prepares = false;
  std::vector<std::string> peer_names;
  double patience = bench::PeersOptions{}.patience;
  bench::ContestOptions contest;
};

std::vector<bench::Row> rows_of(const Options& options) {
  std::vector<bench::Row> all = bench::ladder_rows();
  const std::vector<bench::Row> growing = bench::growth_rows(), large = bench::gpu_rows();
  if (options.rows.empty() && options.grows) return growing;
  if (options.device != "cpu" || !options.rows.empty())
    all.insert(all.end(), large.begin(), large.end());
  if (options.rows.empty()) return all;
  all.insert(all.end(), growing.begin(), growing.end());
  return bench::chosen(all, options.rows);
}

std::string file_of(const bench::Row& row, const Options& options) {
  return options.folder + "/" + row.name + ".json";
}

void warn_of_other_losses(const std::vector<bench::Contestant>& contestants) {
  const double ours = contestants.front().loss;
  for (const bench::Contestant& c : contestants) {
    if (std::abs(c.loss - ours) <= bench::loss_tolerance * std::abs(ours)) continue;
    std::fprintf(stderr, "  %s on %d has the loss %.6f, not %.6f: it does other work\n",
                 c.name.c_str(), c.threads, c.loss, ours);
  }
}

using Programs = std::vector<std::unique_ptr<bench::Ours>>;

// Our program on each number of threads, with the guard too if that is asked for.
Programs programs_of(const bench::Row& row, const Options& options) {
  const std::function<bench::Model()>& make = options.is_tiny ? row.make_tiny : row.make;
  bg::require(static_cast<bool>(make), "row ", row.name, " has no tiny model");
  Programs programs;
  for (const bool guard : {false, true}) {
    if (guard && !options.guards) continue;
    for (const int threads : options.threads) {
      programs.push_back(std::make_unique<bench::Ours>(
          make, bench::Ours::Options{threads, guard, options.isa, bg::device(options.device),
                                     bg::math_mode(options.math)}));
    }
  }
  return programs;
}

std::vector<bench::Contestant> with_peers(std::vector<bench::Contestant> contestants,
                                          const bench::Row& row, const Options& options,
                                          bench::Peers& peers) {
  const std::string file = options.folder + "/" + row.name + ".safetensors";
  bench::write_model((options.is_tiny ? row.make_tiny : row.make)(), file);
  for (bench::Contestant& peer : peers.contestants(file)) contestants.push_back(std::move(peer));
  std::filesystem::remove(file);
  warn_of_other_losses(contestants);
  return contestants;
}

nlohmann::json left_out_of(const bench::Peers& peers,
                           const std::vector<bench::Contestant>& contestants,
                           const bench::Contest& contest) {
  std::vector<bench::LeftOut> left_out = peers.left_out();
  for (std::size_t c = 0; c < contestants.size(); ++c) {
    const std::string& why = contest.measured[c].failure;
    if (!why.empty()) left_out.push_back({contestants[c].name, contestants[c].threads, why});
  }
  return bench::to_json(left_out);
}

void measure_row(const bench::Row& row, const Options& options, bench::Peers* peers) {
  const Programs programs = programs_of(row, options);
  std::vector<bench::Contestant> contestants;
  for (const std::unique_ptr<bench::Ours>& program : programs) {
    contestants.push_back(
        program->contestant(program->guards_finite() ? "with guard" : "blockgrad"));
  }
  if (peers) contestants = with_peers(std::move(contestants), row, options, *peers);
  if (options.only_prepares) return;

  bench::Ours& first = *programs.front();
  const bg::Report& report = first.program().report();
  const bench::Work& work = first.training().work;
  const bench::Contest contest = bench::measure(contestants, work.bytes / 2, options.contest);
  nlohmann::json result =
      bench::to_json(row, work, {report.peak_bytes, report.kernels}, contestants, contest);
  result["title"] = bench::title_of(row, options.is_tiny);
  result["tiny"] = options.is_tiny;
  result["device"] = report.device;
  result["tokens"] = options.is_tiny ? 0 : row.tokens;
  result["math"] = bg::name(report.math);
  bench::print(result);
  if (contest.made_again > 0) {
    bench::Progress::note(std::to_string(contest.made_again) +
                          " repetitions made again: others used the machine");
  }
  if (contest.disturbed > 0) {
    bench::Progress::note("DISTURBED: others used the machine in " +
                          std::to_string(contest.disturbed) + " repetitions that count");
  }
  const bg::Report& profiled = first.program().profile(first.training().model.batch, 5);
  result["losses"] = bench::to_json(bench::losses_of(profiled));
  result["at"] = bench::circumstances();
  if (peers) {
    result["at"]["peers"] = peers->versions();
    result["left_out"] = left_out_of(*peers, contestants, contest);
  }
  bench::leave(file_of(row, options), result);
}

// Trains the row again and again from its first values. Throws Error unless all have equal bits.
void compare_bits(const bench::Row& row, const Options& options) {
  constexpr std::int64_t steps = 100;
  std::set<std::uint64_t> different;
  for (int i = 0; i < options.equal_bits; ++i) {
    different.insert(bench::bits_after(options.is_tiny ? row.make_tiny : row.make, steps,
                                       {options.threads.front(), false, options.isa,
                                        bg::device(options.device), bg::math_mode(options.math)}));
  }
  std::printf("%s: %d trainings of %d steps, %d different parameters\n", row.name.c_str(),
              options.equal_bits, static_cast<int>(steps), static_cast<int>(different.size()));
  bg::require(different.size() == 1, row.name, " trained ", options.equal_bits, " times has ",
              different.size(), " different parameters");
}

void profile_row(const bench::Row& row, const Options& options) {
  const Programs programs = programs_of(row, options);
  bench::Ours& first = *programs.front();
  first.program().profile(first.training().model.batch, 20);
  std::printf("%s\n%s\n", row.title.c_str(), first.program().explain().c_str());
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Training steps of the models of the ladder: time, and share of the floor"};
  app.add_option("--row", options.rows, "rows by name; all of the ladder if not given");
  app.add_option("--threads", options.threads, "numbers of threads; 1 and all if not given")
      ->check(CLI::PositiveNumber);
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--device", options.device, "cpu or cuda, on which threads do not count")
      ->capture_default_str();
  app.add_option("--math", options.math, "exact, tf32, bf16 or f16; see MathMode")
      ->capture_default_str();
  app.add_option("--repetitions", options.contest.repetitions, "in turns with all others")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--milliseconds", options.contest.milliseconds, "of a repetition, at least")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option(
      "--json", options.folder,
      "folder for a file of each row; build/bench/ladder if not given, without peers or of tiny "
      "models in a folder of its own");
  app.add_flag("--growth", options.grows, "models at several batches and widths instead");
  app.add_flag("--guard", options.guards, "also with minimize's check that a step is finite");
  CLI::Option* const with_peers =
      app.add_flag("--peers", options.with_peers, "in turns with PyTorch and JAX (./run peers)");
  app.add_option("--python", options.python, "the interpreter that has the peers");
  app.add_option("--worker", options.worker, "bench/peers/worker.py, where the tree has moved")
      ->needs(with_peers);
  app.add_option("--peer", options.peer_names, "of these only, such as \"torch eager\"")
      ->check(CLI::IsMember(bench::peer_names()))
      ->needs(with_peers);
  app.add_option("--patience", options.patience,
                 "seconds for all peers together to compile a row; who is later is left out")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--prepare", options.only_prepares, "let the peers compile, and measure nothing")
      ->needs(with_peers);
  app.add_option("--equal-bits", options.equal_bits,
                 "train so many times, at least 2, and compare the bits of the parameters instead")
      ->check(CLI::Range(2, 1000));
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
    if (all > 1 && options.device == "cpu") options.threads.push_back(all);
  }
  bg::math_mode(options.math);  // its mistakes come first
  std::printf("%smath %s\n", bg::device_report().c_str(), options.math.c_str());
  if (options.equal_bits > 0) {
    for (const bench::Row& row : rows) compare_bits(row, options);
    return 0;
  }
  if (options.profiles) {
    for (const bench::Row& row : rows) profile_row(row, options);
    return 0;
  }
  if (options.folder.empty())
    options.folder = bench::results_folder(options.is_tiny, options.with_peers) + "/ladder" +
                     (options.device == "cpu" ? "" : "-" + options.device) +
                     (options.math == "exact" ? "" : "-" + options.math);
  for (const bench::Row& row : rows) bench::check_place(file_of(row, options));
  std::optional<bench::Peers> peers;
  if (options.with_peers) {
    peers.emplace(bench::PeersOptions{options.python, options.peer_names, options.threads,
                                      options.folder + "/peers.log", options.patience,
                                      options.device, options.math, options.worker});
  }
  options.contest.begins = [](double seconds) {
    bench::Progress::note("measures for " + bench::clock_text(std::ceil(seconds)) + " min or more");
  };
  bench::print_header();
  bench::Progress progress(static_cast<int>(rows.size()));
  for (const bench::Row& row : rows) {
    progress.next(row.name);
    measure_row(row, options, peers ? &*peers : nullptr);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
