// Matrix products on one thread beside Eigen's. In each repetition both run, in turns first, next
// to a measurement of the processor's own rate of multiply-adds; the table shows medians, and of
// the ratio the quartiles too.

#include "blockgrad/blockgrad.h"
#include "support/native.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <fstream>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace bg = blockgrad;

namespace {

struct Options {
  std::vector<std::int64_t> sizes{64, 128, 256, 512, 1024, 2048};
  std::vector<std::string> types{"f32", "f64"};
  std::vector<std::string> layouts{"NN", "NT", "TN"};
  std::string isa;
  std::string json;
  int repetitions = 15;
  double milliseconds = 20;
};

struct Product {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

/// The value at a fraction of the sorted values: 0.5 is the median.
double quantile(std::vector<double> values, double fraction) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(fraction * static_cast<double>(values.size() - 1) + 0.5)];
}

template <class T>
std::vector<T> random_values(std::int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<T> draw(-1, 1);
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T& value : values) value = draw(random);
  return values;
}

/// What the report says of the product.
std::string plan_of(const bg::Program& program) {
  for (const bg::NodeReport& node : program.report().nodes) {
    if (node.node.starts_with("matmul")) return node.kernel;
  }
  return "";
}

template <class T>
nlohmann::json measure(const Product& p, const Options& options) {
  const std::vector<T> a = random_values<T>(p.m * p.k, 1);
  const std::vector<T> b = random_values<T>(p.k * p.n, 2);
  std::vector<T> theirs(static_cast<std::size_t>(p.m * p.n));

  const bg::DType dtype = sizeof(T) == sizeof(float) ? bg::DType::f32 : bg::DType::f64;
  const bg::Shape a_shape = p.transpose_a ? bg::Shape{p.k, p.m} : bg::Shape{p.m, p.k};
  const bg::Shape b_shape = p.transpose_b ? bg::Shape{p.n, p.k} : bg::Shape{p.k, p.n};
  const bg::Expr left = bg::input("a", a_shape, dtype);
  const bg::Expr right = bg::input("b", b_shape, dtype);
  const bg::Expr product =
      bg::matmul(left, right, {.transpose_a = p.transpose_a, .transpose_b = p.transpose_b});
  bg::Program program = bg::compile({product}, {}, bg::cpu(), {.threads = 1, .isa = options.isa});
  const std::vector<bg::Feeds> feeds{{{left, bg::tensor(std::span<const T>(a), a_shape)},
                                      {right, bg::tensor(std::span<const T>(b), b_shape)}}};

  const auto time_ours = [&](std::int64_t calls) {
    const auto begin = std::chrono::steady_clock::now();
    program.run_many(calls, feeds);
    const std::chrono::duration<double> total = std::chrono::steady_clock::now() - begin;
    return total.count() / static_cast<double>(calls);
  };
  const auto time_theirs = [&](std::int64_t calls) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::int64_t i = 0; i < calls; ++i) {
      bench::eigen_product<T>(p.m, p.n, p.k, p.transpose_a, p.transpose_b, a.data(), b.data(),
                              theirs.data());
    }
    const std::chrono::duration<double> total = std::chrono::steady_clock::now() - begin;
    return total.count() / static_cast<double>(calls);
  };
  time_theirs(1);
  time_ours(1);
  const double once = time_ours(1);
  const auto calls = static_cast<std::int64_t>(std::max(1.0, options.milliseconds / 1000 / once));

  std::vector<double> our_rates, their_rates, peaks, ratios;
  for (int i = 0; i < options.repetitions; ++i) {
    peaks.push_back(bench::peak_flops<T>());
    double first = 0, second = 0;
    if (i % 2 == 0) {
      first = time_ours(calls);
      second = time_theirs(calls);
    } else {
      second = time_theirs(calls);
      first = time_ours(calls);
    }
    our_rates.push_back(p.flops() / first);
    their_rates.push_back(p.flops() / second);
    ratios.push_back(second / first);
  }
  const bg::Tensor result = program.run(feeds.front()).tensor(0);
  const std::span<const T> ours = result.span<T>();
  double difference = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    difference = std::max(difference, static_cast<double>(std::abs(ours[i] - theirs[i])));
  }
  const double peak = quantile(peaks, 0.5);
  return {{"type", sizeof(T) == sizeof(float) ? "f32" : "f64"},
          {"layout", std::string(p.transpose_a ? "T" : "N") + (p.transpose_b ? "T" : "N")},
          {"m", p.m},
          {"n", p.n},
          {"k", p.k},
          {"gflops", quantile(our_rates, 0.5) / 1e9},
          {"peak_gflops", peak / 1e9},
          {"percent_of_peak", 100 * quantile(our_rates, 0.5) / peak},
          {"eigen_gflops", quantile(their_rates, 0.5) / 1e9},
          {"ratio", quantile(ratios, 0.5)},
          {"ratio_low", quantile(ratios, 0.25)},
          {"ratio_high", quantile(ratios, 0.75)},
          {"largest_difference", difference},
          {"plan", plan_of(program)}};
}

void print_row(const nlohmann::json& row) {
  std::printf("%s %s %5lld  %8.1f %6.1f %%  %8.1f   %5.2f  [%.2f %.2f]   %s\n",
              row["type"].get<std::string>().c_str(), row["layout"].get<std::string>().c_str(),
              row["m"].get<long long>(), row["gflops"].get<double>(),
              row["percent_of_peak"].get<double>(), row["eigen_gflops"].get<double>(),
              row["ratio"].get<double>(), row["ratio_low"].get<double>(),
              row["ratio_high"].get<double>(), row["plan"].get<std::string>().c_str());
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{"Matrix products on one thread beside Eigen's"};
  app.add_option("--sizes", options.sizes, "sizes of the cubes")->check(CLI::PositiveNumber);
  app.add_option("--types", options.types, "f32, f64")->check(CLI::IsMember({"f32", "f64"}));
  app.add_option("--layouts", options.layouts, "N or T for A, then for B")
      ->check(CLI::IsMember({"NN", "NT", "TN", "TT"}));
  app.add_option("--isa", options.isa, "portable, avx2, avx512 or neon; the best if not given");
  app.add_option("--repetitions", options.repetitions, "of each row")->check(CLI::PositiveNumber);
  app.add_option("--milliseconds", options.milliseconds, "of each repetition, at least one call");
  app.add_option("--json", options.json, "write the table to this file too");
  CLI11_PARSE(app, argc, argv);

  std::printf("%sEigen %s\n", bg::device_report().c_str(), bench::eigen_build().c_str());
  std::printf("            GFLOP/s  of peak     Eigen   ratio  [quartiles]   plan\n");
  nlohmann::json rows = nlohmann::json::array();
  for (const std::int64_t size : options.sizes) {
    for (const std::string& type : options.types) {
      for (const std::string& layout : options.layouts) {
        const Product product{size, size, size, layout[0] == 'T', layout[1] == 'T'};
        rows.push_back(type == "f32" ? measure<float>(product, options)
                                     : measure<double>(product, options));
        print_row(rows.back());
      }
    }
  }
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << rows.dump(2) << '\n';
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s\n", options.json.c_str());
      return 1;
    }
  }
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
