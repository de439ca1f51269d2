// NIST's linear sets by gradient descent: how many digits of the certified coefficients training
// reaches. Full-batch momentum descent by one compiled program, f64, on standardized columns; no
// closed-form solver.
//
// Rounding in f64 would end the training early, so it is done in rounds: each learns what the
// weights so far left over. Those weights and the gradient at them are kept in long double; every
// step is the engine's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "support/nist.h"
#include "support/run_main.h"

namespace {

using namespace blockgrad;
using Real = long double;
using Vector = std::vector<Real>;

constexpr std::int64_t most_steps = 100'000;
constexpr std::int64_t most_steps_a_round = 33'000;

struct Goal {
  const char* name;
  double digits;  // 0: none
};
constexpr Goal goals[] = {{"NoInt1", 14},  {"NoInt2", 14},  {"Norris", 12},  {"Pontius", 11},
                          {"Longley", 11}, {"Wampler1", 5}, {"Wampler2", 5}, {"Wampler3", 5},
                          {"Wampler4", 5}, {"Wampler5", 5}, {"Filip", 0}};

Real dot(const Vector& a, const Vector& b) {
  Real sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

Real mean_of(const std::vector<double>& values) {
  Real sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<Real>(values.size());
}

/// The columns with mean 0 (given an intercept) and mean square 1.
struct Standardized {
  std::vector<Vector> columns;
  Vector mean, scale;
  Vector y;  // centred likewise
  Real y_mean = 0;

  explicit Standardized(const bench::NistSet& set) {
    const auto centred = [&](const std::vector<double>& values, Real middle) {
      Vector result;
      for (const double value : values) result.push_back(value - middle);
      return result;
    };
    y_mean = set.has_intercept ? mean_of(set.y) : 0;
    y = centred(set.y, y_mean);
    for (const std::vector<double>& column : set.columns) {
      mean.push_back(set.has_intercept ? mean_of(column) : 0);
      Vector values = centred(column, mean.back());
      scale.push_back(std::sqrt(dot(values, values) / static_cast<Real>(values.size())));
      for (Real& value : values) value /= scale.back();
      columns.push_back(std::move(values));
    }
  }

  /// Coefficients in the data's units, the intercept first if there is one.
  Vector in_data_units(const Vector& weights, bool has_intercept) const {
    Vector result;
    Real intercept = y_mean;
    for (std::size_t j = 0; j < weights.size(); ++j) {
      result.push_back(weights[j] / scale[j]);
      intercept -= result.back() * mean[j];
    }
    if (has_intercept) result.insert(result.begin(), intercept);
    return result;
  }
};

/// X^T X / n.
std::vector<Vector> gram_of(const Standardized& data) {
  std::vector<Vector> gram;
  for (const Vector& a : data.columns) {
    gram.emplace_back();
    for (const Vector& b : data.columns)
      gram.back().push_back(dot(a, b) / static_cast<Real>(a.size()));
  }
  return gram;
}

/// The largest eigenvalue of shift * identity + sign * matrix, by power iteration.
Real power_iteration(const std::vector<Vector>& matrix, Real shift, Real sign) {
  Vector v(matrix.size());
  for (std::size_t j = 0; j < v.size(); ++j)
    v[j] = 1 + std::fmod(Real(0.618) * static_cast<Real>(j), Real(1));
  Real eigenvalue = 0, checked = 0;
  for (std::int64_t i = 1; i <= 5'000'000; ++i) {
    const Real length = std::sqrt(dot(v, v));
    for (Real& value : v) value /= length;
    Vector next;
    for (std::size_t j = 0; j < v.size(); ++j)
      next.push_back(shift * v[j] + sign * dot(matrix[j], v));
    eigenvalue = dot(v, next);
    v = std::move(next);
    if (i % 1000 != 0 && matrix.size() > 1) continue;
    // What is left after the shift is small: it is what must have settled.
    if (std::abs(eigenvalue - checked) <= Real(1e-4) * std::abs(shift - eigenvalue)) break;
    checked = eigenvalue;
  }
  return eigenvalue;
}

struct Spectrum {
  Real largest = 1, smallest = 1;
  Real condition() const { return largest / smallest; }
};

Spectrum spectrum_of(const Standardized& data) {
  const std::vector<Vector> gram = gram_of(data);
  const Real largest = power_iteration(gram, 0, 1);
  if (gram.size() == 1) return {largest, largest};
  const Real smallest = largest - power_iteration(gram, largest, -1);
  return {largest, std::max(smallest, largest * Real(1e-17))};
}

/// Polyak's heavy ball (1964), best for curvatures between 2 * smallest and 2 * largest.
Sgd heavy_ball(const Spectrum& spectrum) {
  const Real high = std::sqrt(2 * spectrum.largest), low = std::sqrt(2 * spectrum.smallest);
  const Real ratio = (high - low) / (high + low);
  return {.learning_rate = static_cast<double>(4 / ((high + low) * (high + low))),
          .momentum = static_cast<double>(ratio * ratio)};
}

/// Steps after which the error of a round, which shrinks by sqrt(momentum) each, is a rounding
/// error.
std::int64_t steps_of_round(const Spectrum& spectrum, double momentum) {
  if (momentum == 0) return 10;
  const double decades = 16 + std::log10(static_cast<double>(spectrum.condition())) / 2;
  const double steps = decades * std::log(10.0) / (-0.5 * std::log(momentum));
  return std::max<std::int64_t>(
      100, static_cast<std::int64_t>(std::min(steps, double(most_steps_a_round))));
}

Tensor column_tensor(const Vector& values) {
  const std::vector<double> rounded(values.begin(), values.end());
  return tensor(std::span<const double>(rounded), {static_cast<std::int64_t>(rounded.size()), 1});
}

/// The training program: minimizes mean (X w - t)^2 + c^T w. For any target t that is the mean
/// squared error of what is left over, but for a constant, once c is the difference of the two
/// gradients at w = 0.
class Training {
 public:
  Training(const Standardized& data, const Sgd& recipe)
      : data_(data),
        rows_(static_cast<std::int64_t>(data.y.size())),
        size_(static_cast<std::int64_t>(data.columns.size())),
        x_(input("x", {rows_, size_}, DType::f64)),
        target_(input("target", {rows_, 1}, DType::f64)),
        linear_(input("linear", {size_, 1}, DType::f64)),
        weights_(parameter(zeros({size_, 1}, DType::f64), "weights")),
        optimizer_(recipe),
        program_(make_program()) {
    std::vector<double> cells;
    for (std::size_t i = 0; i < data.y.size(); ++i) {
      for (const Vector& column : data.columns) cells.push_back(static_cast<double>(column[i]));
    }
    rounded_ = tensor(std::span<const double>(cells), {rows_, size_});
  }

  /// Trains on what `weights` leave over and adds what was learned.
  void run_round(Vector& weights, std::int64_t steps) {
    Vector rest = data_.y;
    for (std::size_t i = 0; i < rest.size(); ++i) {
      for (std::size_t j = 0; j < weights.size(); ++j) {
        rest[i] -= data_.columns[j][i] * weights[j];
      }
    }
    // What no weights explain would drown the rest in rounding, so only the first round has it as
    // target.
    const bool is_first =
        std::all_of(weights.begin(), weights.end(), [](Real w) { return w == 0; });
    const Vector target = is_first ? rest : Vector(rest.size(), 0);
    Vector linear;
    for (const Vector& column : data_.columns) {
      Real given = 0;
      for (std::size_t i = 0; i < rest.size(); ++i) {
        given += Real(static_cast<double>(column[i])) * Real(static_cast<double>(target[i]));
      }
      linear.push_back(2 * (given - dot(column, rest)) / static_cast<Real>(rest.size()));
    }
    weights_.set_value(zeros(weights_.shape(), DType::f64));
    for (const Expr& state : optimizer_.states()) {
      if (state.rank() > 0) state.set_value(zeros(state.shape(), state.dtype()));
    }
    program_.run_many(
        steps,
        {{{x_, rounded_}, {target_, column_tensor(target)}, {linear_, column_tensor(linear)}}});
    const Tensor learned = weights_.value();
    for (std::size_t j = 0; j < weights.size(); ++j)
      weights[j] += learned.at(static_cast<std::int64_t>(j));
  }

 private:
  Program make_program() {
    const Loss loss = mse_loss(matmul(x_, weights_), target_) + penalty(sum(linear_ * weights_));
    return compile({}, minimize(optimizer_, loss));
  }

  const Standardized& data_;
  std::int64_t rows_, size_;
  Expr x_, target_, linear_, weights_;
  Optimizer optimizer_;
  Program program_;
  Tensor rounded_;
};

struct Score {
  double digits = 15;  // of the worst coefficient
  double condition = 1;
  std::int64_t steps = 0, rounds = 0;
};

Score score_of(const bench::NistSet& set) {
  const Standardized data(set);
  const Spectrum spectrum = spectrum_of(data);
  const Sgd recipe = heavy_ball(spectrum);
  const std::int64_t steps = steps_of_round(spectrum, recipe.momentum);
  Training training(data, recipe);
  Vector weights(data.columns.size(), 0);
  Score score;
  score.condition = static_cast<double>(spectrum.condition());
  constexpr std::int64_t most_rounds = 4;
  while (score.rounds < most_rounds && score.steps + steps <= most_steps) {
    training.run_round(weights, steps);
    score.steps += steps;
    ++score.rounds;
  }
  const Vector coefficients = data.in_data_units(weights, set.has_intercept);
  for (std::size_t j = 0; j < coefficients.size(); ++j) {
    const double digits =
        bench::correct_digits(static_cast<double>(coefficients[j]), set.parameters[j].certified);
    score.digits = std::min(score.digits, digits);
  }
  return score;
}

int run(int argc, char** argv) {
  bench::numbers_of(argc, argv, "bench_nist, which reads the folder BLOCKGRAD_DATA");
  const char* const variable = std::getenv("BLOCKGRAD_DATA");
  const std::filesystem::path root = variable ? variable : BG_SOURCE_DIR "/../shared/data";
  const std::filesystem::path folder = root / "nist-strd" / "linear";
  if (!std::filesystem::is_directory(folder)) {
    std::printf("skipped: %s is not there; set BLOCKGRAD_DATA to the data's folder\n",
                folder.c_str());
    return 0;
  }
  bool is_good = true;
  std::printf(
      "Correct digits of the worst coefficient, 15 at most; full-batch momentum descent in "
      "f64\n\n");
  std::printf("%-9s %6s %5s %12s %10s %7s %7s %9s\n", "set", "digits", "goal", "condition",
              "parameters", "rounds", "steps", "");
  try {
    for (const Goal& goal : goals) {
      const bench::NistSet set =
          bench::read_nist((folder / (std::string(goal.name) + ".dat")).string());
      const Score score = score_of(set);
      const bool is_reached = score.digits >= goal.digits;
      is_good = is_good && is_reached;
      std::printf("%-9s %6.1f %5s %12.2g %10zu %7lld %7lld %9s\n", goal.name, score.digits,
                  goal.digits > 0 ? std::to_string(static_cast<int>(goal.digits)).c_str() : "-",
                  score.condition, set.parameters.size(), static_cast<long long>(score.rounds),
                  static_cast<long long>(score.steps),
                  goal.digits > 0 ? (is_reached ? "reached" : "MISSED") : "no goal");
      std::fflush(stdout);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench nist: %s\n", error.what());
    return 1;
  }
  return is_good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) { return bench::run_main(run, argc, argv); }
