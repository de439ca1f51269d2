// Attention forward and backward: time and peak memory of the op, that works by blocks, against the
// composition of products and a softmax that it stands for, in turns; also as the sequence grows,
// against the bytes of the full scores.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/other_load.h"
#include "support/progress.h"
#include "support/results.h"
#include "support/run_main.h"
#include "support/timing.h"

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<int> threads{1, 2};
  std::vector<std::int64_t> lengths{256, 512, 1024, 2048, 4096, 8192};
  std::int64_t longest_composed = 8192;  // the composition holds several times the scores
  int repetitions = 7;
  std::string json;
};

struct Sizes {
  std::string name;
  std::int64_t batch, heads, length, depth;
  bool causal;

  std::int64_t score_bytes() const { return batch * heads * length * length * 4; }
};

struct Step {
  bg::Program program;
  bg::Feeds feeds;

  double seconds(std::int64_t runs) {
    const auto start = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < runs; ++i) program.run(feeds);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
};

// y and the gradients of a weighted sum of it by q, k and v.
Step step(const Sizes& s, bool composed, int threads) {
  const bg::Shape shape{s.batch, s.heads, s.length, s.depth};
  std::vector<bg::Expr> in;
  bg::Feeds feeds;
  for (const char* name : {"q", "k", "v", "weights"}) {
    in.push_back(bg::input(name, shape));
    feeds.push_back({in.back(), bg::normal_tensor(shape, 0, 1, {.seed = feeds.size()})});
  }
  const bg::Attention op{s.causal, 1 / std::sqrt(static_cast<double>(s.depth))};
  const std::vector<bg::Expr> of = {in[0], in[1], in[2]};
  const bg::Expr y = composed ? op.expand(of)[0] : bg::make_all(op, of)[0];
  std::vector<bg::Output> outputs{y};
  for (const bg::Expr& g : bg::grad(bg::sum(y * in[3]), {in[0], in[1], in[2]}))
    outputs.emplace_back(g);
  return {bg::compile(outputs, {}, bg::cpu(), {.threads = threads}), feeds};
}

double largest_difference(Step& a, Step& b) {
  const bg::Results x = a.program.run(a.feeds), y = b.program.run(b.feeds);
  double worst = 0;
  for (int i = 0; i < 4; ++i) {
    const bg::Tensor left = x.tensor(i), right = y.tensor(i);
    for (std::int64_t e = 0; e < left.size(); ++e)
      worst = std::max(worst, std::abs(left.at(e) - right.at(e)));
  }
  return worst;
}

nlohmann::json to_json(const bench::Spread& s) {
  return {{"seconds", s.median}, {"low", s.low}, {"high", s.high}};
}

// Both in turns, so that the machine's moods meet both.
nlohmann::json measure(const Sizes& s, int threads, const Options& options, bool with_composed) {
  Step blocks = step(s, false, threads);
  std::optional<Step> whole;
  if (with_composed) whole = step(s, true, threads);
  nlohmann::json row{{"name", s.name},
                     {"threads", threads},
                     {"batch", s.batch},
                     {"heads", s.heads},
                     {"length", s.length},
                     {"depth", s.depth},
                     {"causal", s.causal},
                     {"flops", blocks.program.report().flops},
                     {"score_bytes", s.score_bytes()}};
  if (whole) row["largest_difference"] = largest_difference(blocks, *whole);
  std::int64_t runs = 1;
  while (blocks.seconds(runs) < 0.01) runs *= 2;
  bench::OtherLoad load({});
  std::vector<double> mine, other;
  for (int i = 0; i < options.repetitions || load.seconds() < bench::least_load_seconds; ++i) {
    mine.push_back(blocks.seconds(runs) / static_cast<double>(runs));
    if (whole) other.push_back(whole->seconds(runs) / static_cast<double>(runs));
  }
  row["others"] = load.since_last();
  row["blocks"] = to_json(bench::spread_of(mine));
  row["blocks"]["peak_bytes"] = blocks.program.report().peak_bytes;
  if (whole) {
    row["composed"] = to_json(bench::spread_of(other));
    row["composed"]["peak_bytes"] = whole->program.report().peak_bytes;
  }
  return row;
}

void print(const nlohmann::json& row) {
  const nlohmann::json& blocks = row["blocks"];
  const double seconds = blocks["seconds"];
  std::printf("%-34s %d  %10.1f us [%.1f, %.1f]  %9.2f MB  scores %9.2f MB",
              row["name"].get<std::string>().c_str(), row["threads"].get<int>(), seconds * 1e6,
              blocks["low"].get<double>() * 1e6, blocks["high"].get<double>() * 1e6,
              blocks["peak_bytes"].get<double>() * 1e-6, row["score_bytes"].get<double>() * 1e-6);
  if (row.contains("composed")) {
    const nlohmann::json& composed = row["composed"];
    std::printf(
        "  composed %.1f us = %.2fx, %.2f MB, differs by %.1e",
        composed["seconds"].get<double>() * 1e6, composed["seconds"].get<double>() / seconds,
        composed["peak_bytes"].get<double>() * 1e-6, row["largest_difference"].get<double>());
  }
  std::printf("\n");
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Attention forward and backward, by blocks and composed: time and peak memory"};
  app.add_option("--threads", options.threads, "numbers of threads")->check(CLI::PositiveNumber);
  app.add_option("--lengths", options.lengths, "of one causal head of 64, how it grows")
      ->check(CLI::PositiveNumber);
  app.add_option("--longest-composed", options.longest_composed,
                 "above it only the op runs: the composition holds several times the scores")
      ->capture_default_str();
  app.add_option("--repetitions", options.repetitions, "of each row")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", options.json, "write the table to this file too, after every row");
  CLI11_PARSE(app, argc, argv);

  if (!options.json.empty()) bench::check_place(options.json);
  std::vector<Sizes> all{{"GPT: 12 x 4 heads, 64 of 32, causal", 12, 4, 64, 32, true},
                         {"12 x 4 heads, 64 of 32", 12, 4, 64, 32, false},
                         {"4 x 8 heads, 256 of 64, causal", 4, 8, 256, 64, true}};
  for (const std::int64_t length : options.lengths) {
    all.push_back({"1 head, " + std::to_string(length) + " of 64, causal", 1, 1, length, 64, true});
  }
  std::printf("%s", bg::device_report().c_str());
  bench::Progress progress(static_cast<int>(all.size()));
  nlohmann::json rows = nlohmann::json::array();
  for (const Sizes& sizes : all) {
    progress.next(sizes.name);
    for (const int threads : options.threads) {
      rows.push_back(measure(sizes, threads, options, sizes.length <= options.longest_composed));
      print(rows.back());
    }
    if (options.json.empty()) continue;
    bench::leave(options.json, {{"rows", rows}});
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
