#include "backends/cuda/products/tune_products.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <optional>

#include "blockgrad/graph/error.h"
#include "blockgrad/graph/half.h"
#include "blockgrad/ops/linalg.h"

namespace blockgrad {

namespace {

constexpr int repetitions = 5;          // of a measurement; the median counts
constexpr int equal_runs = 20;          // whose bits are compared
constexpr double margin = 1.02;         // by which a challenger wins
constexpr std::size_t most_rivals = 8;  // that meet the best one, the fastest at first sight first

/// Who computes the product.
struct Contestant {
  std::string name;
  ProductEntry entry;
  CudaWork work;
  double first_look = 0;  // seconds
};

struct Measured {
  double median = 0, spread = 0;
};

Measured measured(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.back() - seconds.front()};
}

double number(DType dtype, const std::byte* from) {
  const auto load = [&](auto value) {
    std::memcpy(&value, from, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::f64: return load(0.0);
    case DType::bf16: return detail::from_bf16(load(static_cast<unsigned short>(0)));
    case DType::f16: return detail::from_f16(load(static_cast<unsigned short>(0)));
    default: return load(0.0F);
  }
}

/// What another order of sums, and of TF32 another rounding of operands, may change, as a share of
/// the largest element: a wrong result is off by about 1.
double allowed(const CudaMatMul& of) {
  if (of.product.math == CudaMath::tf32) return 1e-2;
  switch (of.result) {
    case DType::f64: return 1e-10;
    case DType::f32: return 1e-4;
    default: return 3e-2;
  }
}

bool agree(const std::vector<std::byte>& got, const std::vector<std::byte>& expected,
           const CudaMatMul& of) {
  const std::size_t size = size_of(of.result);
  double largest = 0;
  for (std::size_t at = 0; at + size <= expected.size(); at += size) {
    const double x = number(of.result, expected.data() + at);
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  for (std::size_t at = 0; at + size <= expected.size(); at += size) {
    if (std::memcmp(got.data() + at, expected.data() + at, size) == 0) continue;
    const double x = number(of.result, expected.data() + at);
    const double y = number(of.result, got.data() + at);
    if (!(std::abs(x - y) <= allowed(of) * largest)) return false;
  }
  return true;
}

/// A different product of the plan.
struct Tuned {
  std::string node;
  CudaRequest request;
  CudaMatMul of;
  LtProblem problem;
};

std::map<ProductKey, Tuned> products_of(const Graph& graph, const Plan& plan,
                                        const CudaTarget& target, const CudaProducts& products) {
  std::map<ProductKey, Tuned> found;
  for (const PlanStep& step : plan.steps) {
    const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
    if (node.op.as<MatMul>() == nullptr) continue;
    const CudaRequest request{node, step.inputs, step.outputs, false, target};
    CudaMatMul of = cuda_matmul(request);
    LtFit fit = of.fit();
    if (!fit.why_not.empty()) continue;
    ProductKey key = products.key(of.product, fit.problem);
    found.emplace(std::move(key),
                  Tuned{graph.describe(step.node), request, std::move(of), fit.problem});
  }
  return found;
}

/// One product's contest.
class Contest {
 public:
  Contest(const Tuned& tuned, CudaRuntime& runtime, const CudaProducts& products,
          const TuneOptions& options, const TuneClock& now)
      : tuned_(tuned),
        options_(options),
        now_(now),
        trial_(runtime, tuned.of, options.rotated_bytes) {
    add_own(runtime.limits());
    add_library(products);
  }

  /// The winner; nothing if it was stopped.
  std::optional<ProductEntry> run() {
    warm();
    if (!look_at_all()) return std::nullopt;
    for (std::size_t rival = 1; rival < std::min(contestants_.size(), most_rivals + 1); ++rival) {
      if (is_stopped()) return std::nullopt;
      // By first sight it has no chance, nor have those behind it.
      if (contestants_[rival].first_look > contestants_[best_].first_look * margin) break;
      meet(rival);
    }
    if (time_.median == 0) time_ = alone();
    ProductEntry entry = contestants_[best_].entry;
    entry.nanoseconds = std::llround(1e9 * time_.median);
    entry.spread = std::llround(1e9 * time_.spread);
    return entry;
  }

  std::string outcome() const {
    return fmt::format(
               "{}, {:.1f} us, spread {:.1f}; {} of {} compared, own cut by counts {:.1f} us",
               contestants_[best_].name, 1e6 * time_.median, 1e6 * time_.spread, met_,
               contestants_.size() - 1, 1e6 * contestants_[0].first_look) +
           (wrong_ > 0 ? fmt::format("; {} with wrong results", wrong_) : "") +
           (unsteady_ > 0 ? fmt::format("; {} with other bits in every run", unsteady_) : "");
  }
  const std::string& note() const { return note_; }

 private:
  void add_own(const CudaLimits& limits) {
    std::vector<CudaTile> seen;
    // From no slices of k, as for one processor, to many of small tiles.
    for (const double share : {1.0, 0.0, 0.25, 0.5, 2.0, 4.0}) {
      CudaLimits other = limits;
      other.processors = std::max(1, static_cast<int>(limits.processors * share));
      const CudaTile tile = choose_cuda_tile(tuned_.of.product, other);
      const auto is_same = [&](const CudaTile& known) {
        return known.config == tile.config && known.k_slice == tile.k_slice;
      };
      if (std::any_of(seen.begin(), seen.end(), is_same)) continue;
      seen.push_back(tile);
      const int cut_for = share == 1.0 ? 0 : other.processors;
      add(cut_for == 0 ? "own cut by counts" : fmt::format("own cut for {} processors", cut_for),
          {.cut_for = cut_for}, {.cut_for = cut_for});
    }
  }

  void add_library(const CudaProducts& products) {
    try {
      const std::shared_ptr<const LtHandle> handle = products.library();
      library_ = version_number(handle->lt());
      int number = 0;
      for (const LtChoice& choice :
           lt_choices(*handle, tuned_.problem, options_.algorithms, most_product_workspace)) {
        const std::string name =
            fmt::format("{} algorithm {}", version_text(handle->lt()), ++number);
        const ProductEntry entry{.provider = ProductEntry::Provider::cublaslt,
                                 .algorithm = choice.algorithm,
                                 .workspace = choice.workspace};
        if_taken([&] {
          add(name, entry,
              {.call = lt_call(handle, tuned_.problem, choice), .workspace = choice.workspace});
        });
      }
    } catch (const DeviceError& error) {
      note_ = error.what();
    }
    for (Contestant& contestant : contestants_) contestant.entry.library = library_;
  }

  /// Whether it went on to its end: what the library proposes it may refuse later. A device that
  /// does not work any more is told by the next call of our own.
  bool if_taken(const std::function<void()>& make) {
    try {
      make();
      return true;
    } catch (const DeviceError& error) {
      note_ = error.what();
      return false;
    }
  }

  void add(std::string name, ProductEntry entry, const ProductChoice& choice) {
    contestants_.push_back(
        {std::move(name), entry, matmul_work(tuned_.request, tuned_.of, choice)});
  }

  bool is_stopped() const { return options_.stop && options_.stop->stop_requested(); }

  /// Work for the clocks of the device to settle.
  void warm() {
    const double start = now_();
    const ProductTrial::Prepared own = trial_.prepare(contestants_[0].work);
    const auto sequence = trial_.record(own, 16);
    while (1e3 * (now_() - start) < options_.warm_milliseconds && !is_stopped())
      trial_.seconds(*sequence, 16, now_);
  }

  double first_look_at(const Contestant& contestant) {
    const ProductTrial::Prepared prepared = trial_.prepare(contestant.work);
    const auto once = trial_.record(prepared, 1);
    trial_.seconds(*once, 1, now_);
    const double first = trial_.seconds(*once, 1, now_);
    const int launches = first > 1e-3 ? 2 : 16;
    const auto sequence = trial_.record(prepared, launches);
    return trial_.seconds(*sequence, launches, now_);
  }

  /// Times each once, and sorts them behind the first, which is the best so far: our own cut.
  bool look_at_all() {
    for (Contestant& contestant : contestants_) {
      if (is_stopped()) return false;
      const auto look = [&] { contestant.first_look = first_look_at(contestant); };
      if (contestant.entry.provider == ProductEntry::Provider::own) look();
      else if (!if_taken(look)) contestant.first_look = std::numeric_limits<double>::infinity();
    }
    const Contestant& own = contestants_.front();
    expected_ = steady_result(trial_.prepare(own.work));
    check_internal(!expected_.empty(), tuned_.node, ": our own kernel's bits differ between runs");
    std::stable_sort(
        contestants_.begin() + 1, contestants_.end(),
        [](const Contestant& a, const Contestant& b) { return a.first_look < b.first_look; });
    return true;
  }

  int launches_of(const Contestant& contestant) const {
    const double wanted = 1e-3 * options_.milliseconds / std::max(contestant.first_look, 1e-9);
    return static_cast<int>(std::clamp(std::ceil(wanted), 1.0, 4096.0));
  }

  /// What all runs give; empty if two differ.
  std::vector<std::byte> steady_result(const ProductTrial::Prepared& prepared) {
    const std::vector<std::byte> first = trial_.result(prepared);
    for (int run = 1; run < equal_runs; ++run) {
      if (trial_.result(prepared) != first) return {};
    }
    return first;
  }

  /// A rival takes turns with the best one, and becomes it if it may and wins.
  void meet(std::size_t rival) {
    ++met_;
    const int left_out = unsteady_ + wrong_;
    const ProductTrial::Prepared ours = trial_.prepare(contestants_[best_].work);
    const ProductTrial::Prepared theirs = trial_.prepare(contestants_[rival].work);
    const std::vector<std::byte> result = steady_result(theirs);
    if (result.empty()) ++unsteady_;
    else if (!agree(result, expected_, tuned_.of)) ++wrong_;
    if (unsteady_ + wrong_ > left_out) return;
    const int launches = launches_of(contestants_[best_]);
    const auto a = trial_.record(ours, launches), b = trial_.record(theirs, launches);
    std::vector<double> times_a, times_b;
    for (int i = 0; i < repetitions; ++i) {
      // The second of a pair is not always the same one.
      const bool is_swapped = i % 2 == 1;
      if (is_swapped) times_b.push_back(trial_.seconds(*b, launches, now_));
      times_a.push_back(trial_.seconds(*a, launches, now_));
      if (!is_swapped) times_b.push_back(trial_.seconds(*b, launches, now_));
    }
    const Measured of_best = measured(times_a), of_rival = measured(times_b);
    const bool wins = of_rival.median * margin < of_best.median;
    if (wins) best_ = rival;
    time_ = wins ? of_rival : of_best;
  }

  Measured alone() {
    const ProductTrial::Prepared own = trial_.prepare(contestants_[best_].work);
    const int launches = launches_of(contestants_[best_]);
    const auto sequence = trial_.record(own, launches);
    std::vector<double> times;
    for (int i = 0; i < repetitions; ++i)
      times.push_back(trial_.seconds(*sequence, launches, now_));
    return measured(times);
  }

  const Tuned& tuned_;
  const TuneOptions& options_;
  const TuneClock& now_;
  ProductTrial trial_;
  std::vector<Contestant> contestants_;
  std::vector<std::byte> expected_;
  std::string note_;
  int library_ = 0;
  int met_ = 0, wrong_ = 0, unsteady_ = 0;
  std::size_t best_ = 0;
  Measured time_;
};

int version_of_library(const CudaProducts& products) {
  try {
    return version_number(products.library()->lt());
  } catch (const DeviceError&) {
    return 0;
  }
}

}  // namespace

TuneReport tune_cuda_products(const Graph& graph, const Plan& plan, const CudaTarget& target,
                              CudaRuntime& runtime, const CudaProducts& products,
                              const TuneOptions& asked, const TuneClock& now) {
  TuneReport report;
  report.table = asked.table.empty() ? products.table_path() : asked.table;
  if (report.table.empty()) throw Error("tune_products: the table has no place, name a file");
  require(asked.algorithms >= 1 && asked.milliseconds >= 0 && asked.rotated_bytes >= 0,
          "tune_products: algorithms ", asked.algorithms, " below 1, or times or bytes below 0");
  ProductTable table = read_product_table(report.table);
  const std::map<ProductKey, Tuned> found = products_of(graph, plan, target, products);
  report.products = static_cast<int>(found.size());
  const int library = version_of_library(products);
  TuneOptions options = asked;
  for (const auto& [key, tuned] : found) {
    const auto known = table.find(key);
    if (!options.again && known != table.end() && known->second.library == library) {
      ++report.known;
      continue;
    }
    Contest contest(tuned, runtime, products, options, now);
    const std::optional<ProductEntry> winner = contest.run();
    report.stopped = !winner;
    if (report.stopped) break;
    options.warm_milliseconds = 0;
    table = add_to_product_table(report.table, {{key, *winner}});
    ++report.measured;
    if (options.progress) {
      options.progress(fmt::format("{}, {}x{}x{} batch {} {} {}: {}{}", tuned.node, key.m, key.n,
                                   key.k, key.batch, key.majors, key.dtypes, contest.outcome(),
                                   contest.note().empty() ? "" : "; " + contest.note()));
    }
  }
  ProductTable all = *products.table();
  for (const auto& [key, entry] : table) all[key] = entry;
  products.set_table(std::move(all));
  return report;
}

}  // namespace blockgrad
