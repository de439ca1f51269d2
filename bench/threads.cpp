// Several user threads, each training a program of its own: the steps of all together, as a share
// of what one alone does on one thread times the processors.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "ladder/ours.h"
#include "models/rows.h"
#include "support/other_load.h"
#include "support/results.h"
#include "support/run_main.h"
#include "support/timing.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<std::string> rows;
  int users = 4;
  int repetitions = 9;
  double milliseconds = 500;
  double others = 0.1;
  std::string json;
  bool is_tiny = false;
};

using Users = std::vector<std::unique_ptr<bench::Ours>>;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Steps per second of the first `count` users together, all of them at work for that long.
double rate(const Users& users, int count, std::int64_t stretch, double seconds) {
  std::vector<double> rates(static_cast<std::size_t>(count));
  std::barrier start(count);
  std::vector<std::thread> threads;
  for (std::size_t u = 0; u < rates.size(); ++u) {
    threads.emplace_back([&, u] {
      const bench::Contestant mine = users[u]->contestant("");
      start.arrive_and_wait();
      const auto begin = Clock::now();
      std::int64_t steps = 0;
      double passed = 0;
      do {
        mine.seconds(stretch);
        steps += stretch;
        passed = since(begin);
      } while (passed < seconds);
      rates[u] = static_cast<double>(steps) / passed;
    });
  }
  for (std::thread& thread : threads) thread.join();
  double sum = 0;
  for (const double r : rates) sum += r;
  return sum;
}

nlohmann::json measure_row(const bench::Row& row, const Options& options) {
  const std::function<bench::Model()>& make = options.is_tiny ? row.make_tiny : row.make;
  Users on_one, on_all;
  for (int u = 0; u < options.users; ++u) {
    on_one.push_back(std::make_unique<bench::Ours>(make, bench::Ours::Options{.threads = 1}));
    on_all.push_back(std::make_unique<bench::Ours>(make, bench::Ours::Options{.threads = 0}));
  }
  const double once = on_one[0]->contestant("").seconds(4) / 4;
  const auto stretch = std::max<std::int64_t>(1, static_cast<std::int64_t>(0.002 / once));
  const double seconds = options.milliseconds / 1000;
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int together = std::min(processors, options.users);
  std::vector<double> alone, shares_one, shares_all, shares_few;
  bench::OtherLoad load({});
  int disturbed = 0;
  while (static_cast<int>(alone.size()) < options.repetitions) {
    const double before = rate(on_one, 1, stretch, seconds / 2);
    const double few = rate(on_one, together, stretch, seconds);
    const double one = rate(on_one, options.users, stretch, seconds);
    const double all = rate(on_all, options.users, stretch, seconds);
    const double single = (before + rate(on_one, 1, stretch, seconds / 2)) / 2;
    if (load.since_last() > options.others && disturbed < 2 * options.repetitions) {
      ++disturbed;
      continue;
    }
    alone.push_back(single);
    shares_few.push_back(few / (single * together));
    shares_one.push_back(one / (single * together));
    shares_all.push_back(all / (single * together));
  }
  const auto spread = [](const std::vector<double>& values) {
    const bench::Spread s = bench::spread_of(values);
    return nlohmann::json{{"median", s.median}, {"low", s.low}, {"high", s.high}};
  };
  return {{"row", row.name},
          {"title", bench::title_of(row, options.is_tiny)},
          {"users", options.users},
          {"processors", processors},
          {"steps_per_second_alone", bench::spread_of(alone).median},
          {"as_many_as_processors", spread(shares_few)},
          {"on_one_thread_each", spread(shares_one)},
          {"on_all_threads_each", spread(shares_all)},
          {"repetitions", options.repetitions},
          {"disturbed", disturbed}};
}

void print_row(const nlohmann::json& row) {
  std::printf("%-42s %12.1f", row["title"].get<std::string>().c_str(),
              row["steps_per_second_alone"].get<double>());
  for (const char* key : {"as_many_as_processors", "on_one_thread_each", "on_all_threads_each"}) {
    const nlohmann::json& s = row[key];
    std::printf("   %5.2f [%.2f %.2f]", s["median"].get<double>(), s["low"].get<double>(),
                s["high"].get<double>());
  }
  std::printf("\n");
  std::fflush(stdout);
  if (row["disturbed"] > 0) {
    std::fprintf(stderr, "  %d repetitions left out: others used the machine\n",
                 row["disturbed"].get<int>());
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Several user threads, each training a program of its own"};
  app.add_option("--row", options.rows, "rows of the ladder by name; four of them if not given");
  app.add_option("--users", options.users, "threads at once")->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.milliseconds, "of each measurement");
  app.add_option("--others", options.others, "processors that others may use in a repetition");
  app.add_option(
      "--json", options.json,
      "the same numbers, as a file; build/bench/threads.json if not given, of some rows or "
      "tiny ones in a folder of its own");
  app.add_flag("--tiny", options.is_tiny, "the same models with tiny sizes");
  CLI11_PARSE(app, argc, argv);

  const std::vector<std::string> usual{"mlp_small", "lenet", "lstm", "gpt"};
  const std::vector<bench::Row> rows =
      bench::chosen(bench::ladder_rows(), options.rows.empty() ? usual : options.rows);
  if (options.json.empty())
    options.json = bench::results_folder(options.is_tiny, options.rows.empty()) + "/threads.json";
  bench::check_place(options.json);
  std::printf(
      "%s%d users, share of one alone times the processors\n%-42s %12s   %-17s   %-17s   %-17s\n",
      bg::device_report().c_str(), options.users, "one step, f32", "alone, 1/s", "1 per processor",
      "on 1 thread each", "on all each");
  nlohmann::json result{{"tiny", options.is_tiny}, {"rows", nlohmann::json::array()}};
  for (const bench::Row& row : rows) {
    result["rows"].push_back(measure_row(row, options));
    print_row(result["rows"].back());
  }
  bench::leave(options.json, result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
