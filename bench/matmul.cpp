// Matrix products beside those of other libraries, on the same operands in turns (ours, theirs,
// theirs, ours), next to measurements of what the processor can do at most. The table shows
// medians, and of the ratios the quartiles too. --ladder shows where the time of a product goes.

#include "blockgrad/blockgrad.h"
#include "support/gemm_peers.h"
#include "support/other_load.h"
#include "support/product_report.h"
#include "support/progress.h"
#include "support/results.h"
#include "support/roof.h"
#include "support/run_main.h"
#include "support/timing.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace bg = blockgrad;
using bench::GemmPeer;
using bench::Product;

namespace {

struct Options {
  std::vector<std::string> shapes{
      "64x64x64",       "128x128x128",    "256x256x256",   "512x512x512", "1024x1024x1024",
      "2048x2048x2048", "4096x4096x4096", "64x128x784",    "64x10x128",   "784x128x64",
      "256x1024x256",   "32x3072x768",    "1024x768x3072", "1x4096x4096", "5x1x2"};
  std::vector<std::string> layouts{"NN", "NT", "TN"};
  std::vector<int> threads{1, 2};
  std::vector<std::string> types{"f32"};
  std::vector<std::string> peers;
  std::string isa;
  std::string json;
  int repetitions = 15;
  double milliseconds = 20;
  double seconds = 10;
  bool ladder = false;
};

Product parse(const std::string& shape, const std::string& layout) {
  long long m = 0, n = 0, k = 0;
  char rest = 0;
  if (std::sscanf(shape.c_str(), "%lldx%lldx%lld%c", &m, &n, &k, &rest) != 3 || m < 1 || n < 1 ||
      k < 1) {
    throw std::invalid_argument("expected a shape such as 64x10x128 (m, n, k), got " + shape);
  }
  return {m, n, k, layout[0] == 'T', layout[1] == 'T'};
}

/// Our side: a program of `count` equal products of different operands. One product a step where
/// starting a step does not count; many where it would be most of the time.
template <class T>
struct Ours {
  bg::Tensor a, b;  // [count, m, k] and [count, k, n]; of the first product what peers read too
  std::int64_t count;
  bg::Program program;
  std::vector<bg::Feeds> feeds;
};

template <class T>
Ours<T> make_ours(const Product& p, std::int64_t count, int threads, const std::string& isa,
                  bool epilogue = false) {
  const bg::DType dtype = sizeof(T) == sizeof(float) ? bg::DType::f32 : bg::DType::f64;
  const bg::Shape a_shape = p.transpose_a ? bg::Shape{p.k, p.m} : bg::Shape{p.m, p.k};
  const bg::Shape b_shape = p.transpose_b ? bg::Shape{p.n, p.k} : bg::Shape{p.k, p.n};
  const auto many = [&](const bg::Shape& s) { return bg::Shape{count, s[0], s[1]}; };
  const bg::Expr left = bg::input("a", many(a_shape), dtype);
  const bg::Expr right = bg::input("b", many(b_shape), dtype);
  const bg::Expr bias = bg::input("bias", {p.n}, dtype);
  std::vector<bg::Output> products;
  for (std::int64_t i = 0; i < count; ++i) {
    const bg::Expr x = bg::reshape(bg::slice(left, 0, i, i + 1), a_shape);
    const bg::Expr y = bg::reshape(bg::slice(right, 0, i, i + 1), b_shape);
    const bg::Expr z =
        bg::matmul(x, y, {.transpose_a = p.transpose_a, .transpose_b = p.transpose_b});
    products.emplace_back(epilogue ? bg::relu(z + bias) : z);
  }
  const auto random = [&](const bg::Shape& shape, std::uint64_t seed) {
    return bg::uniform_tensor(shape, -1, 1, {.seed = seed}, dtype);
  };
  bg::Tensor a = random(many(a_shape), 1), b = random(many(b_shape), 2);
  bg::Feeds feed{{left, a}, {right, b}};
  if (epilogue) feed.push_back({bias, random({p.n}, 3)});
  Ours<T> ours{
      a, b, count, bg::compile(products, {}, bg::cpu(), {.threads = threads, .isa = isa}), {feed}};
  // Operands that are fed again are products made again only if they are others.
  if (count > 1) {
    for (bg::Feed& other : feed)
      other.value = bg::tensor(other.value.template span<T>(), other.value.shape());
    ours.feeds.push_back(feed);
  }
  return ours;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Seconds of one product, over so many steps.
template <class T>
double time_ours(Ours<T>& ours, std::int64_t steps) {
  const auto begin = std::chrono::steady_clock::now();
  ours.program.run_many(steps, ours.feeds);
  return seconds_since(begin) / static_cast<double>(steps * ours.count);
}

/// What the report says of the product.
std::string plan_of(const bg::Program& program) {
  for (const bg::NodeReport& node : program.report().nodes) {
    if (node.node.starts_with("matmul")) return node.kernel;
  }
  return program.report().nodes.empty() ? "" : program.report().nodes.front().kernel;
}

/// Workers of whoever ran last poll for some milliseconds, OpenMP's for ten: let them sleep. What
/// takes as long as a repetition is not warmed up: no cache holds it.
template <class Run>
double timed_alone(int threads, Run run, std::int64_t steps) {
  if (threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(25));
  if (steps > 1) run(steps > 20 ? steps / 10 : 1);
  return run(steps);
}

/// As many steps as take at least so long.
template <class Run>
std::int64_t steps_for(double seconds, Run run) {
  std::int64_t steps = 1;
  run(1);
  while (true) {
    const double total = run(steps) * static_cast<double>(steps);
    if (total >= seconds) return steps;
    steps =
        std::max(steps + 1,
                 static_cast<std::int64_t>(static_cast<double>(steps) *
                                           std::min(10.0, 1.2 * seconds / std::max(total, 1e-9))));
  }
}

template <class T>
nlohmann::json measure(const Product& p, const GemmPeer& peer, int threads,
                       const Options& options) {
  const auto product = [&] {
    if constexpr (sizeof(T) == sizeof(float)) return peer.f32;
    else return peer.f64;
  }();
  // Starting a step takes some 20 ns.
  const std::int64_t count = p.flops() < 1000 ? 64 : 1;
  Ours<T> ours = make_ours<T>(p, count, threads, options.isa);
  const T* const a = ours.a.template span<T>().data();
  const T* const b = ours.b.template span<T>().data();
  const auto theirs = bg::zeros({p.m, p.n}, ours.a.dtype());
  T* const c = const_cast<T*>(theirs.template span<T>().data());
  peer.set_threads(threads);

  const auto run_ours = [&](std::int64_t steps) { return time_ours(ours, steps); };
  const auto run_theirs = [&](std::int64_t calls) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < calls; ++i) product(p, a, b, c);
    return seconds_since(begin) / static_cast<double>(calls);
  };
  const double least = options.milliseconds / 1000;
  const std::int64_t our_steps =
      steps_for(least, [&](std::int64_t n) { return run_ours(n) * static_cast<double>(count); });
  const std::int64_t their_calls = steps_for(least, run_theirs);

  // A row times a matrix that no cache holds: the roof is how fast that very memory can be read.
  const std::span<const std::byte> weights = std::as_bytes(ours.b.template span<T>());
  const bool streams = p.m == 1 && weights.size() >= std::size_t{32} << 20;

  std::vector<double> our_rates, their_rates, peaks, reads, ratios;
  constexpr int least_repetitions = 5;
  bench::OtherLoad load({});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < options.repetitions || load.seconds() < bench::least_load_seconds; ++i) {
    if (i >= least_repetitions && seconds_since(start) > options.seconds) break;
    peaks.push_back(bench::peak_flops<T>(threads));
    if (streams) reads.push_back(bench::read_bytes(threads, weights));
    double first = 0, second = 0;
    if (i % 2 == 0) first = timed_alone(threads, run_ours, our_steps);
    second = timed_alone(threads, run_theirs, their_calls);
    if (i % 2 != 0) first = timed_alone(threads, run_ours, our_steps);
    our_rates.push_back(p.flops() / first);
    their_rates.push_back(p.flops() / second);
    ratios.push_back(second / first);
  }
  const double others = load.since_last();
  const bg::Tensor result = ours.program.run(ours.feeds.front()).tensor(0);
  const std::span<const T> mine = result.template span<T>();
  double difference = 0;
  for (std::size_t i = 0; i < mine.size(); ++i)
    difference = std::max(difference, static_cast<double>(std::abs(mine[i] - c[i])));
  // Two orders of a sum of k products of numbers below 1.
  const double epsilon = sizeof(T) == sizeof(float) ? 1.2e-7 : 2.3e-16;
  const double allowed = epsilon * static_cast<double>(p.k) * std::sqrt(static_cast<double>(p.k));
  if (!(difference <= allowed)) {
    throw std::runtime_error(peer.name + " and we differ by " + std::to_string(difference) +
                             ", expected at most " + std::to_string(allowed));
  }
  const double peak = bench::spread_of(peaks).median, rate = bench::spread_of(our_rates).median;
  const bench::Spread ratio = bench::spread_of(ratios);
  nlohmann::json row{
      {"type", sizeof(T) == sizeof(float) ? "f32" : "f64"},
      {"layout", std::string(p.transpose_a ? "T" : "N") + (p.transpose_b ? "T" : "N")},
      {"m", p.m},
      {"n", p.n},
      {"k", p.k},
      {"threads", threads},
      {"measured", count > 1 ? "inside a program" : "a program of one product"},
      {"nanoseconds", p.flops() / rate * 1e9},
      {"gflops", rate / 1e9},
      {"peak_gflops", peak / 1e9},
      {"percent_of_peak", 100 * rate / peak},
      {"peer", peer.name},
      {"peer_build", peer.build},
      {"peer_gflops", bench::spread_of(their_rates).median / 1e9},
      {"ratio", ratio.median},
      {"ratio_low", ratio.low},
      {"ratio_high", ratio.high},
      {"repetitions", ratios.size()},
      {"others", others},
      {"largest_difference", difference},
      {"plan", plan_of(ours.program)}};
  if (!reads.empty()) {
    const double bytes = static_cast<double>(p.n) * static_cast<double>(p.k) * sizeof(T);
    row["percent_of_read_bandwidth"] =
        100 * bytes * rate / p.flops() / bench::spread_of(reads).median;
  }
  return row;
}

void write(const std::string& path, const nlohmann::json& rows) {
  if (!path.empty()) bench::leave(path, {{"rows", rows}});
}

/// Products that add one thing after the other to the tile in registers.
void print_ladder(const Options& options) {
  struct Rung {
    const char* name;
    Product product;
    bool epilogue = false;
  };
  const Rung rungs[] = {{"tiles, operands in L1", {24, 64, 96}},
                        {"B from L2", {24, 1024, 96}},
                        {"deep chains, B from L2", {24, 384, 512}},
                        {"B packed", {192, 1024, 256}},
                        {"B transposed while packed", {192, 1024, 256, false, true}},
                        {"A and B packed, driver", {1024, 1024, 1024}},
                        {"the same with bias and relu", {1024, 1024, 1024}, true},
                        {"B packed, bias and relu", {192, 1024, 256}, true}};
  std::printf("%30sm,n,k            of peak\n", "");
  nlohmann::json rows = nlohmann::json::array();
  for (const Rung& rung : rungs) {
    const Product& p = rung.product;
    Ours<float> ours = make_ours<float>(p, 1, 1, options.isa, rung.epilogue);
    const auto run = [&](std::int64_t steps) { return time_ours(ours, steps); };
    const std::int64_t steps = steps_for(options.milliseconds / 1000, run);
    std::vector<double> shares;
    bench::OtherLoad load({});
    for (int i = 0; i < options.repetitions || load.seconds() < bench::least_load_seconds; ++i) {
      const double before = bench::peak_flops<float>(1);
      const double rate = p.flops() / run(steps);
      shares.push_back(100 * rate * 2 / (before + bench::peak_flops<float>(1)));
    }
    const bench::Spread share = bench::spread_of(shares);
    std::printf("%-28s %4lldx%lldx%-10lld %6.1f %%  [%.1f %.1f]  %s\n", rung.name,
                static_cast<long long>(p.m), static_cast<long long>(p.n),
                static_cast<long long>(p.k), share.median, share.low, share.high,
                plan_of(ours.program).c_str());
    std::fflush(stdout);
    nlohmann::json row{{"rung", rung.name}, {"m", p.m}, {"n", p.n}, {"k", p.k}};
    row.update({{"percent_of_peak", share.median}, {"low", share.low}, {"high", share.high}});
    row["others"] = load.since_last();
    rows.push_back(row);
  }
  write(options.json, rows);
}

bool has(const GemmPeer& peer, const std::string& type) { return type == "f32" || peer.f64; }

/// Those that were asked for and found, the first that was found if none was asked for. Throws
/// std::invalid_argument if nobody multiplies a type that was asked for.
std::vector<GemmPeer> asked_peers(const Options& options) {
  std::vector<GemmPeer> found, peers;
  bench::add_onednn(found);
  bench::add_openblas(found);
  bench::add_eigen(found);
  std::string names;
  for (const GemmPeer& peer : found) {
    const bool is_asked = options.peers.empty() ? peers.empty()
                                                : std::count(options.peers.begin(),
                                                             options.peers.end(), peer.name) > 0;
    if (is_asked) peers.push_back(peer);
    names += " " + peer.name;
    std::printf("%s: %s%s\n", peer.name.c_str(), peer.build.c_str(),
                is_asked ? "" : " (not asked)");
  }
  for (const std::string& name : options.peers) {
    if (std::none_of(found.begin(), found.end(), [&](const auto& p) { return p.name == name; }))
      bench::Progress::note(name + " was not found when this was configured; there are:" + names);
  }
  for (const std::string& type : options.types) {
    if (std::none_of(peers.begin(), peers.end(), [&](const auto& p) { return has(p, type); }))
      throw std::invalid_argument("no peer that was asked for has products of " + type +
                                  "; found were:" + names);
  }
  return peers;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Matrix products beside those of other libraries"};
  app.add_option("--shapes", options.shapes, "m x n x k, such as 64x10x128");
  app.add_option("--types", options.types, "f32, f64")->check(CLI::IsMember({"f32", "f64"}));
  app.add_option("--layouts", options.layouts, "N or T for A, then for B")
      ->check(CLI::IsMember({"NN", "NT", "TN", "TT"}));
  app.add_option("--threads", options.threads, "of both sides")->check(CLI::PositiveNumber);
  app.add_option("--peers", options.peers, "oneDNN, OpenBLAS, Eigen; the first of them found")
      ->check(CLI::IsMember({"oneDNN", "OpenBLAS", "Eigen"}));
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--repetitions", options.repetitions, "of each row, more within half a second")
      ->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.milliseconds, "of each repetition, at least one call");
  app.add_option("--seconds", options.seconds, "after which a row ends, with five repetitions");
  app.add_option("--json", options.json, "write the table to this file too, after every shape");
  app.add_flag("--ladder", options.ladder, "where the time of our product goes, no peers");
  CLI11_PARSE(app, argc, argv);

  for (const std::string& shape : options.shapes) parse(shape, "NN");
  if (!options.json.empty()) bench::check_place(options.json);
  std::printf("%s", bg::device_report().c_str());
  if (options.ladder) {
    print_ladder(options);
    return 0;
  }
  const std::vector<GemmPeer> peers = asked_peers(options);
  std::printf(
      "        m,n,k      threads GFLOP/s  of peak      peer   ratio  [quartiles]      plan\n");
  nlohmann::json rows = nlohmann::json::array();
  bench::Progress progress(static_cast<int>(options.shapes.size()));
  for (const std::string& shape : options.shapes) {
    progress.next(shape);
    for (const std::string& type : options.types) {
      for (const std::string& layout : options.layouts) {
        for (const int threads : options.threads) {
          for (const GemmPeer& peer : peers) {
            if (!has(peer, type)) continue;
            const Product product = parse(shape, layout);
            rows.push_back(type == "f32" ? measure<float>(product, peer, threads, options)
                                         : measure<double>(product, peer, threads, options));
            bench::print_product(rows.back());
          }
        }
      }
    }
    write(options.json, rows);
  }
  std::printf("%s", bench::means_text(rows).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
