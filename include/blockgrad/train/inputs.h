#pragma once
// What a model function gets and gives: inputs by name, and a loss with metrics.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blockgrad/ops/context.h"
#include "blockgrad/ops/losses.h"
#include "blockgrad/optim/optimizer.h"

namespace blockgrad::train {

/// The columns of the current batch as expressions, [batch, ..], and the context of the graph: give
/// it to dropout, batch_norm and random numbers.
class Inputs : public Context {
 public:
  Inputs(std::vector<std::pair<std::string, Expr>> columns, std::int64_t batch_size,
         ContextOptions context)
      : Context(std::move(context)), columns_(std::move(columns)), batch_size_(batch_size) {}

  /// Throws Error, with the line and listing the names, if the data has no such column.
  const Expr& operator[](Located<std::string_view> name) const;
  std::int64_t batch_size() const { return batch_size_; }

 private:
  std::vector<std::pair<std::string, Expr>> columns_;
  std::int64_t batch_size_;
};

/// A loss to minimize and sums to report, each averaged over all samples of an epoch.
struct Outcome {
  Loss loss;
  std::vector<std::pair<std::string, Loss>> metrics;

  Outcome(Loss l, std::vector<std::pair<std::string, Loss>> m = {})
      : loss(std::move(l)), metrics(std::move(m)) {}
};

/// Builds the graph of one batch. It is called again for every batch size, so parameters are made
/// outside of it.
using Model = std::function<Outcome(Inputs&)>;

}  // namespace blockgrad::train
