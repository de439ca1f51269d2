// Memory of the ladder's training steps: the arena that is planned beside the most bytes that are
// live at once, what running steps take from the heap and from the system, and what it costs to
// train in less memory than a step would like.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/rows.h"
#include "support/heap.h"
#include "support/results.h"
#include "support/run_main.h"
#include "support/timing.h"

namespace bg = blockgrad;

namespace {

constexpr double most_above = 1.1;      // arena over the most bytes live at once
constexpr double long_step = 0.01;      // seconds; of longer ones there are fewer
constexpr std::int64_t few_steps = 20;  // whose losses are compared

struct Options {
  std::vector<std::string> rows;
  std::int64_t steps = 10000;
  double seconds = 20;
  int threads = 0;
  std::string limited = "gpt";
  double limit = 0.6;
  int repetitions = 15;
  double milliseconds = 200;
  std::string json;
  bool is_tiny = false;
};

/// A row's model and the program of its step.
struct Trained {
  bench::Training training;
  bg::Program program;
  std::vector<bg::Feeds> feeds;

  Trained(const bench::Row& row, const Options& options, std::int64_t memory_limit)
      : training(bench::training_of(options.is_tiny ? row.make_tiny() : row.make(), false)),
        program(bg::compile({training.model.loss}, training.updates, bg::cpu(),
                            {.threads = options.threads, .memory_limit = memory_limit})),
        feeds{training.model.batch} {}

  double seconds(std::int64_t steps) {
    const auto start = std::chrono::steady_clock::now();
    program.run_many(steps, feeds);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::vector<double> losses() {
    std::vector<double> all;
    for (std::int64_t i = 0; i < few_steps; ++i) all.push_back(program.run(feeds[0]).number(0));
    return all;
  }
};

bool same_bits(const bg::Tensor& a, const bg::Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

// Every leaf that the step updates: parameters, and what the optimizer keeps.
bool same_states(const Trained& a, const Trained& b) {
  const auto all = a.training.updates.all(), others = b.training.updates.all();
  return std::equal(all.begin(), all.end(), others.begin(), others.end(),
                    [](const bg::Update& x, const bg::Update& y) {
                      return same_bits(x.leaf.value(), y.leaf.value());
                    });
}

nlohmann::json measure_row(const bench::Row& row, const Options& options) {
  Trained trained(row, options, 0);
  trained.seconds(10);
  const double once = trained.seconds(10) / 10;
  const std::int64_t steps =
      once > long_step ? std::clamp<std::int64_t>(static_cast<std::int64_t>(options.seconds / once),
                                                  1, options.steps)
                       : options.steps;
  const std::int64_t faults = bench::page_faults(), allocations = bench::heap_allocations();
  const double seconds = trained.seconds(steps);
  const std::int64_t more_allocations = bench::heap_allocations() - allocations;
  const std::int64_t more_faults = bench::page_faults() - faults;
  const bg::Report& report = trained.program.report();
  return {{"row", row.name},
          {"title", bench::title_of(row, options.is_tiny)},
          {"arena_bytes", report.arena_bytes},
          {"live_bytes", report.live_bytes},
          {"ratio", report.live_bytes > 0 ? static_cast<double>(report.arena_bytes) /
                                                static_cast<double>(report.live_bytes)
                                          : 1},
          {"peak_bytes", report.peak_bytes},
          {"storage_bytes", report.storage_bytes},
          {"steps", steps},
          {"seconds", seconds / static_cast<double>(steps)},
          {"page_faults", more_faults},
          {"allocations", allocations < 0 ? -1 : more_allocations}};
}

void print_row(const nlohmann::json& row) {
  const auto mega = [&](const char* key) { return row[key].get<double>() / 1e6; };
  std::printf("%-42s %10.3f %10.3f %7.4f %10.3f %8lld %8lld %8lld\n",
              row["title"].get<std::string>().c_str(), mega("arena_bytes"), mega("live_bytes"),
              row["ratio"].get<double>(), mega("peak_bytes"), row["steps"].get<long long>(),
              row["page_faults"].get<long long>(), row["allocations"].get<long long>());
  std::fflush(stdout);
}

/// Time and bits of the row under a limit, in turns with the row without one.
nlohmann::json measure_limit(const bench::Row& row, const Options& options) {
  Trained free(row, options, 0);
  const std::int64_t peak = free.program.report().peak_bytes;
  const auto limit = static_cast<std::int64_t>(options.limit * static_cast<double>(peak));
  bg::require(limit >= 1, "expected a memory limit of a byte at least, got ", options.limit, " of ",
              peak, " bytes");
  Trained limited(row, options, limit);
  const bool equal = free.losses() == limited.losses() && same_states(free, limited);
  const double once = free.seconds(2) / 2;
  const auto steps =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(options.milliseconds / 1000 / once));
  std::vector<double> times, ratios;
  for (int i = 0; i < options.repetitions; ++i) {
    double seconds[2];
    for (const int k : {0, 1}) {
      const int which = (i + k) % 2;
      seconds[which] = (which == 0 ? free : limited).seconds(steps) / static_cast<double>(steps);
    }
    times.push_back(seconds[0]);
    ratios.push_back(seconds[1] / seconds[0]);
  }
  const bench::Spread ratio = bench::spread_of(ratios);
  const bg::Report& report = limited.program.report();
  return {{"row", row.name},
          {"peak_bytes", peak},
          {"limit_bytes", limit},
          {"limited_peak_bytes", report.peak_bytes},
          {"recomputed", report.recomputed.size()},
          {"seconds", bench::spread_of(times).median},
          {"time_ratio", ratio.median},
          {"low", ratio.low},
          {"high", ratio.high},
          {"repetitions", options.repetitions},
          {"equal_bits", equal}};
}

void print_limit(const nlohmann::json& it) {
  std::printf(
      "\n%s in %.3f of %.3f MB (asked for %.3f): %d nodes again, time x %.3f [%.3f %.3f], "
      "losses of %lld steps and all states %s\n",
      it["row"].get<std::string>().c_str(), it["limited_peak_bytes"].get<double>() / 1e6,
      it["peak_bytes"].get<double>() / 1e6, it["limit_bytes"].get<double>() / 1e6,
      it["recomputed"].get<int>(), it["time_ratio"].get<double>(), it["low"].get<double>(),
      it["high"].get<double>(), static_cast<long long>(few_steps),
      it["equal_bits"].get<bool>() ? "equal, bit for bit" : "DIFFER");
}

/// What is not as it should be, a line for each.
std::string complaints(const nlohmann::json& result) {
  std::string text;
  for (const nlohmann::json& row : result["rows"]) {
    const std::string name = row["row"];
    if (row["ratio"] > most_above) text += name + ": the arena is more than a tenth above\n";
    if (row["allocations"] > 0) text += name + ": a running step allocates\n";
  }
  if (!result["limit"]["equal_bits"]) text += "with a memory limit other bits come out\n";
  return text;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Memory of the ladder's training steps"};
  app.add_option("--row", options.rows, "rows by name; all of the ladder if not given");
  app.add_option("--steps", options.steps, "of each row, while heap and pages are watched")
      ->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds, "at most, for rows of more than 10 ms a step");
  app.add_option("--threads", options.threads, "all if not given");
  app.add_option("--limited", options.limited, "the row to train in less memory");
  app.add_option("--limit", options.limit, "share of its peak, above 0")
      ->check(CLI::PositiveNumber)
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetitions", options.repetitions, "with and without")
      ->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.milliseconds, "of a repetition, at least one step");
  app.add_option(
      "--json", options.json,
      "the same numbers, as a file; build/bench/memory.json if not given, of some rows or "
      "tiny ones in a folder of its own");
  app.add_flag("--tiny", options.is_tiny, "the same models with tiny sizes");
  CLI11_PARSE(app, argc, argv);

  const std::vector<bench::Row> all = bench::ladder_rows();
  const std::vector<bench::Row> rows = bench::chosen(all, options.rows);
  const bench::Row limited = bench::chosen(all, {options.limited}).front();
  if (options.json.empty())
    options.json = bench::results_folder(options.is_tiny, options.rows.empty()) + "/memory.json";
  bench::check_place(options.json);
  std::printf("%s%-42s %10s %10s %7s %10s %8s %8s %8s\n", bg::device_report().c_str(),
              "one step, f32", "arena MB", "live MB", "ratio", "peak MB", "steps", "faults",
              "heap");
  nlohmann::json result{{"tiny", options.is_tiny}, {"rows", nlohmann::json::array()}};
  for (const bench::Row& row : rows) {
    result["rows"].push_back(measure_row(row, options));
    print_row(result["rows"].back());
  }
  bench::leave(options.json, result);
  result["limit"] = measure_limit(limited, options);
  print_limit(result["limit"]);
  bench::leave(options.json, result);
  const std::string wrong = complaints(result);
  std::fprintf(stderr, "%s", wrong.c_str());
  return wrong.empty() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
