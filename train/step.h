#pragma once
// One training step of a model for one batch size, and the counters that all steps of a fit share.

#include <functional>

#include "blockgrad/train/fit.h"

namespace blockgrad::train {

/// How the rows of a batch reach the program.
enum class Feeding {
  whole,     // bound where they lie: row ranges of the data
  gathered,  // copied by the program from the resident data, by row numbers
};

/// Sums since they were last read, kept in the graph so that many steps run without the host
/// looking.
struct Counters {
  Expr updates;  // f64: good updates
  Expr pieces;   // f64: good pieces of batches, some of which make one update together
  Expr is_bad;   // bool: a step was not finite; all later ones update nothing
  Expr loss_sum, loss_weight;
  Expr penalty_sum, penalty_count;             // a penalty counts once per update
  std::vector<std::pair<Expr, Expr>> metrics;  // sum, weight
  std::vector<std::string> names;

  Counters(const Expr& piece_counter, const Outcome& outcome, SourceLoc where);
  /// Means since the last call, which starts them anew.
  Averages take() const;
  std::int64_t updates_done() const;
  std::int64_t pieces_done() const;
  bool has_failed() const;
};

/// "row 17 (of rows from 0) of column 'x' holds nan", or "" where every value of the row is finite.
std::string not_finite_in(const data::Dataset& data, std::int64_t row);

/// The state that counts good pieces; random streams take their steps from it.
Expr piece_counter(SourceLoc where);

/// The graph of one batch.
struct Batch {
  std::vector<Expr> columns;  // inputs to feed, in the data's order; empty when gathered
  Expr rows;                  // input of row numbers when gathered
  Outcome outcome;
  Updates updates;  // that layers make themselves
};
Batch build_batch(const Model& model, const data::Dataset& data, std::int64_t size, Feeding feeding,
                  ContextOptions context, SourceLoc where);

/// The feed of rows [first, last), or of the given row numbers.
Feeds feed_of(const Batch& batch, const data::Dataset& data, std::int64_t first, std::int64_t last,
              const Tensor& order);

/// Training, with random streams that follow the number of pieces.
ContextOptions context_of(const Expr& pieces, const FitOptions& options);

/// One training step, not yet compiled.
struct StepGraph {
  Batch batch;
  std::vector<Expr> parameters;
  std::vector<Expr> checked;  // what must be finite: gradients and loss
  Updates updates;
};
struct TrainingStep {
  StepGraph graph;
  Program program;
};
/// The pieces that make one update together, unless the epoch ends before, and those of an epoch.
struct PieceCounts {
  std::int64_t update = 1, epoch = 1;
};
/// What all steps of a fit have in common.
struct StepMaker {
  const Model& model;
  const data::Dataset& data;
  Feeding feeding;
  Optimizer& optimizer;
  const Counters& counters;
  PieceCounts pieces;
  const FitOptions& options;
  SourceLoc where;

  /// The step of pieces of `rows` rows.
  StepGraph graph(std::int64_t rows) const;
  TrainingStep step(std::int64_t rows) const;
  /// What the compiled step would take for values and scratch, without taking it.
  std::int64_t bytes(std::int64_t rows) const;
};

}  // namespace blockgrad::train
