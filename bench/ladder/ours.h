#pragma once
// The engine as a contestant.

#include <memory>
#include <string>

#include "ladder/contest.h"
#include "models/rows.h"

namespace bench {

/// A row's model trained by a compiled program.
class Ours {
 public:
  struct Options {
    int threads = 1;  // 0: all that this process may use
    bool guard_finite = false;
    std::string isa = {};
    blockgrad::Device device = blockgrad::cpu();
    blockgrad::MathMode math = blockgrad::MathMode::exact;
  };
  /// Compiles, and trains a while for the loss.
  Ours(const std::function<Model()>& make, const Options& options);

  /// Lives no longer than this.
  Contestant contestant(const std::string& name);
  const Training& training() const { return training_; }
  blockgrad::Program& program() { return program_; }
  bool guards_finite() const { return guards_finite_; }

 private:
  Training training_;
  blockgrad::Program program_;
  std::vector<blockgrad::Feeds> feeds_;
  int threads_;
  bool guards_finite_;
  double loss_ = 0;
};

/// Parameters as they are now and the batch, under the names that they have in the graph; what
/// somebody else has to know of the model is in the metadata.
void write_model(const Model& model, const std::string& path);

/// A number that differs if a bit of the parameters does, after so many steps from their first
/// values.
std::uint64_t bits_after(const std::function<Model()>& make, std::int64_t steps,
                         const Ours::Options& options);

/// The loss after each of `steps` steps, from 0 steps on.
std::vector<double> losses(const Training& training, std::int64_t steps);

}  // namespace bench
