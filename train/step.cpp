#include "train/step.h"

#include <algorithm>

#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"

namespace blockgrad::train {

namespace {

Expr counter(std::string name, DType dtype = DType::f64) {
  return state(zeros({}, dtype), "fit." + std::move(name));
}

double take_number(const Expr& leaf) {
  const double value = leaf.value().at(0);
  leaf.set_value(zeros({}, leaf.dtype()));
  return value;
}

double ratio(double sum, double weight) { return weight == 0 ? 0 : sum / weight; }

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  sizes[0] = rows;
  return Shape(sizes);
}

}  // namespace

const Expr& Inputs::operator[](std::string_view name) const {
  for (const auto& [own, expr] : columns_) {
    if (own == name) return expr;
  }
  std::string all;
  for (const auto& [own, expr] : columns_) all += (all.empty() ? "" : ", ") + own;
  fail({"the data has no column '", name, "'; it has ", all});
}

Counters::Counters(const Outcome& outcome)
    : updates(counter("updates")),
      is_bad(counter("is_bad", DType::boolean)),
      loss_sum(counter("loss_sum")),
      loss_weight(counter("loss_weight")),
      penalty_sum(counter("penalty_sum")) {
  for (const auto& [name, metric] : outcome.metrics) {
    metrics.emplace_back(counter(name + ".sum"), counter(name + ".weight"));
    names.push_back(name);
  }
}

Averages Counters::take() const {
  Averages averages;
  const double sum = take_number(loss_sum);
  const double weight = take_number(loss_weight);
  averages.loss = ratio(sum, weight) + take_number(penalty_sum);
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    const double metric_sum = take_number(metrics[m].first);
    averages.metrics.emplace_back(names[m], ratio(metric_sum, take_number(metrics[m].second)));
  }
  return averages;
}

std::int64_t Counters::updates_done() const {
  return static_cast<std::int64_t>(updates.value().at(0));
}
bool Counters::has_failed() const { return is_bad.value().at(0) != 0; }

Batch build_batch(const Model& model, const data::Dataset& data, std::int64_t size, Feeding feeding,
                  bool is_training) {
  std::vector<Expr> fed;
  std::vector<std::pair<std::string, Expr>> columns;
  const Expr rows = feeding == Feeding::gathered ? input("fit.rows", {size}, DType::i32) : Expr();
  for (const data::Column& column : data.columns()) {
    if (feeding == Feeding::gathered) {
      columns.emplace_back(column.name, make(Gather{}, {constant(column.tensor), rows}));
    } else {
      fed.push_back(
          input(column.name, with_rows(column.tensor.shape(), size), column.tensor.dtype()));
      columns.emplace_back(column.name, fed.back());
    }
  }
  Inputs inputs(std::move(columns), size, is_training);
  return {std::move(fed), rows, model(inputs)};
}

Feeds feed_of(const Batch& batch, const data::Dataset& data, std::int64_t first, std::int64_t last,
              const Tensor& order) {
  if (batch.rows) return {{batch.rows, order.rows(first, last)}};
  Feeds feeds;
  for (std::size_t c = 0; c < batch.columns.size(); ++c) {
    feeds.push_back({batch.columns[c], data.columns()[c].tensor.rows(first, last)});
  }
  return feeds;
}

TrainingStep make_step(const Model& model, const data::Dataset& data, std::int64_t size,
                       Feeding feeding, Optimizer& optimizer, const Counters& counters,
                       const FitOptions& options) {
  Batch batch = build_batch(model, data, size, feeding, true);
  const Loss& loss = batch.outcome.loss;
  std::vector<Expr> roots = loss.penalties;
  roots.push_back(loss.sum);
  std::vector<Expr> parameters = parameters_of(roots);
  require(!parameters.empty(), "fit: the loss depends on no parameter");
  const Expr average = mean(loss);
  std::vector<Expr> gradients = grad(average, parameters);
  std::vector<Expr> checked = gradients;
  checked.push_back(average);
  const Expr good = logical_and(all_finite(checked), logical_not(counters.is_bad));
  Updates updates = optimizer.apply(parameters, gradients, good);
  const auto add = [&](const Expr& to, const Expr& value) {
    updates.set(to, to + astype(value, DType::f64), good);
  };
  updates.set(counters.is_bad, logical_not(good));
  updates.set(counters.updates, counters.updates + 1.0, good);
  add(counters.loss_sum, loss.sum);
  add(counters.loss_weight, loss.weight);
  // A penalty counts once per update; weighted like the samples, so that the mean over an epoch is
  // that of the loss.
  Expr penalties;
  for (const Expr& p : loss.penalties) penalties = penalties ? penalties + p : p;
  if (penalties) updates.set(counters.penalty_sum, astype(penalties, DType::f64), good);
  for (std::size_t m = 0; m < counters.metrics.size(); ++m) {
    add(counters.metrics[m].first, batch.outcome.metrics[m].second.sum);
    add(counters.metrics[m].second, batch.outcome.metrics[m].second.weight);
  }
  Program program = compile({}, updates, options.device, options.compile);
  return {std::move(batch), std::move(parameters), std::move(gradients), std::move(program)};
}

}  // namespace blockgrad::train
