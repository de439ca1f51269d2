#pragma once
// What the user can choose, and the defaults.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ad_spend {

struct Options {
  std::string data;                 // CSV file; the shipped one at first
  std::vector<std::string> inputs;  // empty: all named columns but the target
  std::string target;               // empty: the last column
  std::string strategy = "all";
  std::optional<std::int64_t> batch_size;  // of mini-batch; see default_batch_size
  std::optional<std::int64_t> epochs;      // see default_epochs
  std::optional<double> tolerance;         // see default_tolerance
  std::optional<double> learning_rate;     // see LearningRates
  double momentum = 0;
  bool standardize = true;
  bool intercept = true;
  std::string dtype = "f64";
  std::uint64_t seed = 1;
  int threads = 0;
  std::string device = "cpu";
  std::vector<double> predict;
  std::string report, weights;  // empty: none
  std::string plot;
};

/// Fills `options` from the command line; a value if the program is to end at once with this exit
/// code.
std::optional<int> read_options(int argc, const char* const* argv, Options& options);

/// Half the rows, at least 2, at most 32; never more than there are.
std::int64_t default_batch_size(std::int64_t rows);
/// As many as give 10,000 updates, at least 20. Converged training ends earlier.
std::int64_t default_epochs(std::int64_t updates_per_epoch);
/// f64: 1e-13, f32: 2e-7, a little above the spacing of numbers there.
double default_tolerance(const std::string& dtype);

}  // namespace ad_spend
