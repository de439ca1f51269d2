// Elementwise programs on one thread. Functions over numbers in the L1 cache, in elements per cycle
// and beside glibc's vector functions; chains of ops in L1 and in memory beside the fused loop that
// one would write by hand, compiled for this very processor, with the bandwidth of a triad measured
// next to them. Peers run in turns; the table shows medians, and of the ratio the quartiles too.
// Results of a chain and of its loop are compared: they are equal, bit for bit.

#include "blockgrad/blockgrad.h"
#include "support/hand_loops.h"
#include "support/run_main.h"
#include "support/timing.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace bg = blockgrad;

namespace {

constexpr std::int64_t in_l1 = 2048;         // elements
constexpr std::int64_t in_memory = 1 << 23;  // elements
constexpr int repetitions = 15;

std::vector<float> random_values(std::int64_t count, unsigned seed, float low, float high) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> draw(low, high);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = draw(random);
  return values;
}

using Work = std::function<void(std::int64_t calls)>;

double seconds(const Work& work, std::int64_t calls) {
  const auto begin = std::chrono::steady_clock::now();
  work(calls);
  const std::chrono::duration<double> total = std::chrono::steady_clock::now() - begin;
  return total.count() / static_cast<double>(calls);
}

/// Seconds per call of several works that take turns: [work][repetition].
std::vector<std::vector<double>> in_turns(std::span<const Work> works, double least) {
  std::vector<std::int64_t> calls;
  for (const Work& work : works) {
    seconds(work, 1);
    std::int64_t n = 1;
    while (seconds(work, n) * static_cast<double>(n) < least / 2) n *= 2;
    calls.push_back(n);
  }
  std::vector<std::vector<double>> times(works.size());
  for (int i = 0; i < repetitions; ++i) {
    for (std::size_t k = 0; k < works.size(); ++k) {
      const std::size_t w = i % 2 == 0 ? k : works.size() - 1 - k;
      times[w].push_back(seconds(works[w], calls[w]));
    }
  }
  return times;
}

bg::Tensor tensor_of(const std::vector<float>& values, const bg::Shape& shape) {
  return bg::tensor(std::span<const float>(values), shape);
}

// Functions.

struct Function {
  const char* name;
  float low, high;
  std::function<bg::Expr(const bg::Expr&)> of;
};

void measure_function(const Function& f, double clock) {
  const std::vector<float> values = random_values(in_l1, 1, f.low, f.high);
  const bg::Expr x = bg::input("x", {in_l1});
  bg::Program program = bg::compile({f.of(x)}, {}, bg::cpu(), {.threads = 1});
  const std::vector<bg::Feeds> feeds{{{x, tensor_of(values, {in_l1})}}};
  std::vector<Work> works{[&](std::int64_t n) { program.run_many(n, feeds); }};
  std::vector<float> out(values.size());
  const bench::VectorFunction glibc = bench::glibc_function(f.name);
  if (glibc) {
    works.push_back([&](std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) glibc(out.data(), values.data(), in_l1);
    });
  }
  const auto times = in_turns(works, 0.005);
  const double ours = bench::spread_of(times[0]).median / static_cast<double>(in_l1);
  std::printf("%-22s %8.3f %8.2f", f.name, ours * 1e9, 1 / (ours * clock));
  if (glibc) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < times[0].size(); ++i) ratios.push_back(times[1][i] / times[0][i]);
    std::printf(" %9.3f %7.2f  [%.2f %.2f]", bench::spread_of(times[1]).median / in_l1 * 1e9,
                bench::spread_of(ratios).median, bench::spread_of(ratios).low,
                bench::spread_of(ratios).high);
  }
  std::printf("\n");
  std::fflush(stdout);
}

void measure_functions() {
  const double clock = bench::clock_rate();
  std::printf("%-22s %8s %8s %9s %7s  [quartiles]\n", "2048 numbers, f32", "ns/elem", "elem/cyc",
              "glibc ns", "ratio");
  const Function functions[] = {
      {"exp", -10, 10, [](const bg::Expr& x) { return exp(x); }},
      {"expm1", -10, 10, [](const bg::Expr& x) { return expm1(x); }},
      {"log", 0.01f, 100, [](const bg::Expr& x) { return log(x); }},
      {"log1p", -0.9f, 10, [](const bg::Expr& x) { return log1p(x); }},
      {"tanh", -4, 4, [](const bg::Expr& x) { return tanh(x); }},
      {"sigmoid", -10, 10, [](const bg::Expr& x) { return sigmoid(x); }},
      {"softplus", -10, 10, [](const bg::Expr& x) { return softplus(x); }},
      {"erf", -3, 3, [](const bg::Expr& x) { return erf(x); }},
      {"normal_cdf", -4, 4, [](const bg::Expr& x) { return normal_cdf(x); }},
      {"normal_cdf_tanh", -4, 4, [](const bg::Expr& x) { return normal_cdf_tanh(x); }},
      {"sin", -10, 10, [](const bg::Expr& x) { return sin(x); }},
      {"cos", -10, 10, [](const bg::Expr& x) { return cos(x); }},
      {"sqrt", 0, 10, [](const bg::Expr& x) { return sqrt(x); }},
      {"reciprocal", 1, 10, [](const bg::Expr& x) { return reciprocal(x); }},
      {"pow(x, 1.7)", 0, 10, [](const bg::Expr& x) { return pow(x, 1.7); }},
      {"gelu_slope", -4, 4, [](const bg::Expr& x) { return gelu_slope(x); }},
      {"gelu", -4, 4, [](const bg::Expr& x) { return bg::gelu(x); }},
      {"gelu_tanh", -4, 4, [](const bg::Expr& x) { return bg::gelu_tanh(x); }},
      {"silu", -4, 4, [](const bg::Expr& x) { return bg::silu(x); }},
      {"square", -4, 4, [](const bg::Expr& x) { return square(x); }}};
  for (const Function& f : functions) measure_function(f, clock);
}

// Chains.

/// What a chain is made of: `feeds` inputs of its own, then leaves that it updates.
struct Chain {
  const char* name;
  int streams;                                    // arrays read or written, of full size
  std::vector<std::vector<std::int64_t>> inputs;  // shapes; -1 is as many rows as there are
  int updated;                                    // leaves of the first input's shape
  std::function<std::vector<bg::Expr>(std::span<const bg::Expr>)> formula;  // of inputs, leaves
  bench::HandLoop hand;
};

bg::Shape shape_for(const std::vector<std::int64_t>& sizes, std::int64_t rows) {
  std::vector<std::int64_t> list = sizes;
  for (std::int64_t& s : list) s = s < 0 ? rows : s;
  return bg::Shape(list);
}

void measure_chain(const Chain& chain, std::int64_t elements, bool is_streaming) {
  std::int64_t columns = 1;
  for (const std::int64_t s : chain.inputs[0]) columns *= s < 0 ? 1 : s;
  const std::int64_t rows = elements / columns, n = rows * columns;
  std::vector<std::vector<float>> data;
  std::vector<bg::Expr> operands;
  std::vector<bg::Feeds> feeds(1);
  for (std::size_t i = 0; i < chain.inputs.size(); ++i) {
    const bg::Shape shape = shape_for(chain.inputs[i], rows);
    data.push_back(random_values(shape.size(), static_cast<unsigned>(i), -1, 1));
    operands.push_back(bg::input("x" + std::to_string(i), shape));
    feeds[0].emplace_back(operands.back(), tensor_of(data.back(), shape));
  }
  const bg::Shape shape = shape_for(chain.inputs[0], rows);
  std::vector<std::vector<float>> results(static_cast<std::size_t>(std::max(1, chain.updated)));
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i] = random_values(n, 10 + static_cast<unsigned>(i), 0, 1);
    if (static_cast<int>(i) < chain.updated)
      operands.push_back(bg::parameter(tensor_of(results[i], shape), "w" + std::to_string(i)));
  }
  const std::vector<bg::Expr> values = chain.formula(operands);
  bg::Updates updates;
  for (int i = 0; i < chain.updated; ++i)
    updates.set(operands[chain.inputs.size() + static_cast<std::size_t>(i)],
                values[static_cast<std::size_t>(i)]);
  bg::Program program = chain.updated > 0 ? bg::compile({}, updates, bg::cpu(), {.threads = 1})
                                          : bg::compile({values[0]}, {}, bg::cpu(), {.threads = 1});
  std::vector<float*> out;
  std::vector<const float*> in;
  for (auto& r : results) out.push_back(r.data());
  for (const auto& d : data) in.push_back(d.data());

  // The same work: one step of each, compared.
  chain.hand(out.data(), in.data(), n);
  bg::Results once = program.run(feeds[0]);
  bool equal = true;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bg::Tensor ours =
        chain.updated > 0 ? operands[chain.inputs.size() + i].value() : once.tensor(0);
    equal = equal && std::memcmp(ours.span<float>().data(), results[i].data(),
                                 results[i].size() * sizeof(float)) == 0;
  }

  std::vector<float> a, b, c;
  std::vector<Work> works{[&](std::int64_t k) { program.run_many(k, feeds); },
                          [&](std::int64_t k) {
                            for (std::int64_t i = 0; i < k; ++i)
                              chain.hand(out.data(), in.data(), n);
                          }};
  float* triad_out[1] = {};
  const float* triad_in[2] = {};
  if (is_streaming) {
    a = random_values(n, 1, 0, 1), b = a, c = a;
    triad_out[0] = a.data(), triad_in[0] = b.data(), triad_in[1] = c.data();
    works.push_back([&](std::int64_t k) {
      for (std::int64_t i = 0; i < k; ++i) bench::triad(triad_out, triad_in, n);
    });
  }
  const auto times = in_turns(works, is_streaming ? 0.02 : 0.005);
  std::vector<double> ratios, of_triad;
  for (std::size_t i = 0; i < times[0].size(); ++i) {
    ratios.push_back(times[1][i] / times[0][i]);
    if (is_streaming) of_triad.push_back(times[2][i] / 3 * chain.streams / times[0][i]);
  }
  const auto per_element = [&](std::size_t w) {
    return bench::spread_of(times[w]).median / static_cast<double>(n) * 1e9;
  };
  std::printf("%-24s %9lld %9.3f %9.3f %7.2f  [%.2f %.2f]", chain.name, static_cast<long long>(n),
              per_element(0), per_element(1), bench::spread_of(ratios).median,
              bench::spread_of(ratios).low, bench::spread_of(ratios).high);
  if (is_streaming) {
    std::printf("  %5.1f GB/s %4.0f %%", 4 * chain.streams / per_element(0),
                100 * bench::spread_of(of_triad).median);
  }
  std::printf("%s\n", equal ? "" : "  RESULTS DIFFER");
  std::fflush(stdout);
}

std::vector<Chain> chains() {
  using E = std::span<const bg::Expr>;
  using List = std::vector<bg::Expr>;
  return {{"triad", 3, {{-1}, {-1}}, 0, [](E x) { return List{x[0] + 3 * x[1]}; }, bench::triad},
          {"add", 3, {{-1}, {-1}}, 0, [](E x) { return List{x[0] + x[1]}; }, bench::add},
          {"relu", 2, {{-1}}, 0, [](E x) { return List{relu(x[0])}; }, bench::relu},
          {"relu backward",
           3,
           {{-1}, {-1}},
           0,
           [](E x) { return List{where(x[0] > 0, x[1], 0)}; },
           bench::relu_backward},
          {"8 arithmetic ops",
           3,
           {{-1}, {-1}},
           0,
           [](E x) {
             const bg::Expr u = x[0] * 0.5 + x[1], v = u * x[0] - 0.25;
             return List{(v * v + u) * x[1] - v};
           },
           bench::arithmetic},
          {"sigmoid backward",
           3,
           {{-1}, {-1}},
           0,
           [](E x) { return List{x[1] * (x[0] * (1 - x[0]))}; },
           bench::sigmoid_backward},
          {"bias + relu, 10",
           2,
           {{-1, 10}, {10}},
           0,
           [](E x) { return List{relu(x[0] + x[1])}; },
           bench::bias_relu_10},
          {"bias + relu, 128",
           2,
           {{-1, 128}, {128}},
           0,
           [](E x) { return List{relu(x[0] + x[1])}; },
           bench::bias_relu_128},
          {"bias + relu, 1000",
           2,
           {{-1, 1000}, {1000}},
           0,
           [](E x) { return List{relu(x[0] + x[1])}; },
           bench::bias_relu_1000},
          {"normalized rows, 128",
           2,
           {{-1, 128}, {-1, 1}, {-1, 1}, {128}, {128}},
           0,
           [](E x) { return List{(x[0] - x[1]) * x[2] * x[3] + x[4]}; },
           bench::normalize_128},
          {"sgd", 3, {{-1}}, 1, [](E x) { return List{x[1] - 0.01 * x[0]}; }, bench::sgd},
          {"momentum",
           5,
           {{-1}},
           2,
           [](E x) {
             const bg::Expr v = 0.9 * x[2] + x[0];
             return List{x[1] - 0.01 * v, v};
           },
           bench::momentum},
          {"adam",
           7,
           {{-1}},
           3,
           [](E x) {
             const bg::Expr m = 0.9 * x[2] + 0.1 * x[0], s = 0.999 * x[3] + 0.001 * square(x[0]);
             return List{x[1] - 0.001 * (m / (sqrt(s) / 0.5 + 1e-8)), m, s};
           },
           bench::adam}};
}

void measure_chains() {
  for (const bool is_streaming : {false, true}) {
    std::printf("\n%-24s %9s %9s %9s %7s  [quartiles]%s\n",
                is_streaming ? "chains in memory" : "chains in L1", "elements", "ns/elem",
                "by hand", "ratio", is_streaming ? "        of the triad" : "");
    for (const Chain& chain : chains())
      measure_chain(chain, is_streaming ? in_memory : in_l1, is_streaming);
  }
}

int run(int argc, char** argv) {
  bench::numbers_of(argc, argv, "bench_elementwise");
  std::printf("%s", bg::device_report().c_str());
  measure_functions();
  measure_chains();
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
