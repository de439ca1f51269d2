#pragma once
// All installed peers of a run: each framework in each of its modes at each number of threads.

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "ladder/contest.h"
#include "ladder/peer_process.h"

namespace bench {

class Peers {
 public:
  /// Starts those that `python` has; the others are named on standard error.
  Peers(const std::string& python, std::span<const int> threads);

  /// Each peer that can train the model in the file, with its loss. They live no longer than this,
  /// and train it until the next call. Those that cannot are named on standard error.
  std::vector<Contestant> contestants(const std::string& model_file);
  /// {"torch": "2.1.0"}
  const nlohmann::json& versions() const { return versions_; }

 private:
  std::vector<std::unique_ptr<PeerProcess>> processes_;
  nlohmann::json versions_ = nlohmann::json::object();
};

/// Losses after loss_steps steps are equal if they differ by no more than this share: sums in f32
/// are taken in another order, and steps let that grow.
constexpr double loss_tolerance = 1e-3;

}  // namespace bench
