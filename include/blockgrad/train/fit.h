#pragma once
// fit: the training loop. Stochastic, mini-batch and batch descent differ in `batch_size` alone.

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "blockgrad/backends/program.h"
#include "blockgrad/data/dataset.h"
#include "blockgrad/optim/optimizer.h"
#include "blockgrad/train/inputs.h"

namespace blockgrad::train {

struct Averages {
  double loss = 0;
  std::vector<std::pair<std::string, double>> metrics;
};

/// A point of the training curve: means over the samples since the record before, measured before
/// each update.
struct Record {
  std::int64_t epoch = 0;    // epochs done
  std::int64_t updates = 0;  // updates done
  double seconds = 0;        // since the start
  Averages training;
  std::vector<Averages> validation;  // one entry if there is validation data
};

struct Progress {
  std::int64_t epoch = 0, epochs = 0;
  std::int64_t updates = 0;
  double loss = 0;  // of the latest record
  double seconds = 0;
};

struct FitOptions {
  std::int64_t epochs = 10;
  std::int64_t batch_size = 32;  // 1: stochastic; 0 or at least the number of rows: batch
  std::uint64_t seed = 0;        // of the shuffle and of the model's random streams
  bool shuffle = true;           // a new order of rows each epoch; batch descent keeps the order
  std::int64_t micro_batch = 0;  // rows that the program takes at once; 0: the whole batch. The
                                 // update stays that of the batch, see fit
  std::int64_t accumulate = 1;   // batches that make one update together; the last update of an
                                 // epoch is that of the batches that are left
  double clip_norm =             // of the gradient: see clip_by_global_norm
      std::numeric_limits<double>::infinity();
  double tolerance = 0;  // ends once no parameter moves by more than this, relative to max(1, its
                         // size), over 100 updates (or one epoch, if that is more); 0: never
  Device device = cpu();
  CompileOptions compile = {};
  const data::Dataset* validation = nullptr;
  const StopToken* stop = nullptr;                        // ends after the current update
  std::function<void(const Progress&)> on_progress = {};  // called about ten times a second
};

enum class FitEnd { all_epochs, converged, stopped };

struct FitResult {
  FitEnd end = FitEnd::all_epochs;
  std::int64_t epochs = 0, updates = 0;
  double seconds = 0;
  std::vector<Record>
      history;  // each of the first 50 epochs, then at epochs 2 % apart, and the last
};

/// Training met a loss or gradient that is not finite. Parameters are as before that update.
class DivergenceError : public Error {
 public:
  DivergenceError(const std::string& what, std::int64_t update) : Error(what), update_(update) {}
  std::int64_t update() const { return update_; }  // counted from 1

 private:
  std::int64_t update_;
};

/// Trains the parameters that the model's loss depends on. The last, smaller batch of an epoch is
/// averaged over its own rows. What an Optimizer holds goes on in the next fit with it: slots, and
/// the updates that its schedules count; the order of rows and the model's random streams begin
/// anew from `seed`, so another fit wants another one. A stop within an accumulated update leaves
/// its sums among the optimizer's states, and the next fit goes on from them. Equal data, options
/// and seed give equal bits, whatever the number of threads. Throws Error if the data lacks a
/// column or a parameter is made inside the model function, or an option is outside its range;
/// DivergenceError, naming the update and the node that went wrong first, if a step is not finite;
/// DeviceError, naming the batch_size or micro_batch that would fit, if memory does not suffice.
///
/// With micro_batch, sums and weights of the pieces of a batch are added up and divided once, as
/// with `accumulate`: equal to the undivided batch but for the rounding of those sums, for losses
/// that add up over rows. Memory for values follows micro_batch instead of batch_size; a sum of
/// gradients per parameter comes on top. Every piece draws random numbers of its own, so that with
/// dropout the masks are others than those of the undivided batch. A layer that looks at all rows
/// together sees those of its piece: Error if one is a batch norm in training, or changes states
/// itself. What else couples rows (a statistic of the batch in a formula, a contrastive loss) is
/// not found.
FitResult fit(const Model& model, const data::Dataset& data, Optimizer& optimizer,
              const FitOptions& options = {}, SourceLoc where = SourceLoc::here());

template <OptimizerRecipe Recipe>
FitResult fit(const Model& model, const data::Dataset& data, const Recipe& recipe,
              const FitOptions& options = {}, SourceLoc where = SourceLoc::here()) {
  Optimizer optimizer(recipe, "optimizer", where);
  return fit(model, data, optimizer, options, where);
}

/// Loss and metrics over all rows, without training.
Averages evaluate(const Model& model, const data::Dataset& data, std::int64_t batch_size = 0,
                  const Device& device = cpu(), const CompileOptions& compile_options = {},
                  SourceLoc where = SourceLoc::here());

/// Writes parameters and states to a safetensors file: a temporary file, then a rename.
void save(const std::string& path, std::span<const Expr> leaves);
inline void save(const std::string& path, std::initializer_list<Expr> leaves) {
  save(path, std::span(leaves.begin(), leaves.size()));
}
/// Reads them back by name. Throws Error that lists all missing, unexpected and mis-shaped names;
/// nothing has changed then.
void load(const std::string& path, std::span<const Expr> leaves);
inline void load(const std::string& path, std::initializer_list<Expr> leaves) {
  load(path, std::span(leaves.begin(), leaves.size()));
}

}  // namespace blockgrad::train
