#pragma once
// All installed peers of a run: each framework in each of its modes at each number of threads.

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ladder/contest.h"
#include "ladder/peer_process.h"

namespace bench {

struct PeersOptions {
  std::string python;              // the interpreter that has them
  std::vector<std::string> names;  // "torch eager", "torch compile", "jax jit", "jax scan", …
  std::vector<int> threads;
  std::string log;        // file for what they print
  double patience = 120;  // seconds for all together to make one model ready, or for one answer
  std::string device = "cpu", math = "exact";  // as of the engine
  std::string worker = PeerCommand{}.worker;
};

/// Names of all that can be asked for.
std::vector<std::string> peer_names();

/// Who takes no part in a row, and why.
struct LeftOut {
  std::string name;
  int threads = 1;
  std::string why;
};

class Peers {
 public:
  /// Starts those that `python` has; the others are named on standard error and in `left_out`.
  explicit Peers(PeersOptions options);

  /// Each peer that can train the model in the file, with its loss. They live no longer than this,
  /// and train it until the next call. Who is not ready in time is killed, and started anew for the
  /// next model.
  std::vector<Contestant> contestants(const std::string& model_file);
  /// Of the last call, and those that are not installed.
  const std::vector<LeftOut>& left_out() const { return left_out_; }
  /// {"torch": "2.1.0"}
  const nlohmann::json& versions() const { return versions_; }

 private:
  PeersOptions options_;
  std::vector<std::unique_ptr<PeerProcess>> processes_;
  std::vector<LeftOut> missing_, left_out_;
  nlohmann::json versions_ = nlohmann::json::object();
};

/// Losses after loss_steps steps are equal if they differ by no more than this share: sums in f32
/// are taken in another order, and steps let that grow.
constexpr double loss_tolerance = 1e-3;

}  // namespace bench
