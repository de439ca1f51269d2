#include "train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/fit_memory.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"

namespace blockgrad::train {

namespace {

Expr counter(std::string name, SourceLoc where, DType dtype = DType::f64) {
  return state(zeros({}, dtype), "fit." + std::move(name), where);
}

double take_number(const Expr& leaf) {
  const double value = leaf.value().at(0);
  leaf.set_value(zeros({}, leaf.dtype()));
  return value;
}

double ratio(double sum, double weight) { return weight == 0 ? 0 : sum / weight; }

void require_metrics(const Outcome& outcome, std::span<const std::string> names, SourceLoc where) {
  bool same = outcome.metrics.size() == names.size();
  for (std::size_t m = 0; same && m < names.size(); ++m)
    same = outcome.metrics[m].first == names[m];
  require(same, "fit at ", to_string(where),
          ": the model must give the same metrics for every batch size");
}

Shape with_rows(const Shape& shape, std::int64_t rows) {
  std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  sizes[0] = rows;
  return Shape(sizes);
}

}  // namespace

const Expr& Inputs::operator[](Located<std::string_view> name) const {
  for (const auto& [own, expr] : columns_) {
    if (own == name.value) return expr;
  }
  std::string all;
  for (const auto& [own, expr] : columns_) all += (all.empty() ? "" : ", ") + own;
  fail({to_string(name.where), ": the data has no column '", name.value, "'; it has ", all});
}

std::string not_finite_in(const data::Dataset& data, std::int64_t row) {
  for (const data::Column& column : data.columns()) {
    if (!is_floating(column.tensor.dtype())) continue;
    const std::int64_t width = column.tensor.size() / data.rows();
    for (std::int64_t i = row * width; i < (row + 1) * width; ++i) {
      const double value = column.tensor.at(i);
      if (!std::isfinite(value))
        return join({"row ", row, " (of rows from 0) of column '", column.name, "' holds ", value});
    }
  }
  return "";
}

Expr piece_counter(SourceLoc where) { return counter("pieces", where); }

Counters::Counters(const Expr& piece_counter, const Outcome& outcome, SourceLoc where)
    : updates(counter("updates", where)),
      pieces(piece_counter),
      is_bad(counter("is_bad", where, DType::boolean)),
      loss_sum(counter("loss_sum", where)),
      loss_weight(counter("loss_weight", where)),
      penalty_sum(counter("penalty_sum", where)),
      penalty_count(counter("penalty_count", where)) {
  for (const auto& [name, metric] : outcome.metrics) {
    metrics.emplace_back(counter(name + ".sum", where), counter(name + ".weight", where));
    names.push_back(name);
  }
}

Averages Counters::take() const {
  Averages averages;
  const double sum = take_number(loss_sum);
  const double weight = take_number(loss_weight);
  const double penalties = take_number(penalty_sum);
  averages.loss = ratio(sum, weight) + ratio(penalties, take_number(penalty_count));
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    const double metric_sum = take_number(metrics[m].first);
    averages.metrics.emplace_back(names[m], ratio(metric_sum, take_number(metrics[m].second)));
  }
  return averages;
}

std::int64_t Counters::updates_done() const {
  return static_cast<std::int64_t>(updates.value().at(0));
}
std::int64_t Counters::pieces_done() const {
  return static_cast<std::int64_t>(pieces.value().at(0));
}
bool Counters::has_failed() const { return is_bad.value().at(0) != 0; }

Batch build_batch(const Model& model, const data::Dataset& data, std::int64_t size, Feeding feeding,
                  ContextOptions context, SourceLoc where) {
  std::vector<Expr> fed;
  std::vector<std::pair<std::string, Expr>> columns;
  Expr rows;
  if (feeding == Feeding::gathered) rows = input("fit.rows", {size}, DType::i32, where);
  for (const data::Column& column : data.columns()) {
    if (feeding == Feeding::gathered) {
      columns.emplace_back(column.name,
                           make(Gather{}, {constant(column.tensor, where), rows}, where));
    } else {
      fed.push_back(
          input(column.name, with_rows(column.tensor.shape(), size), column.tensor.dtype(), where));
      columns.emplace_back(column.name, fed.back());
    }
  }
  Inputs inputs(std::move(columns), size, std::move(context));
  Outcome outcome = model(inputs);
  return {std::move(fed), rows, std::move(outcome), inputs.updates()};
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

ContextOptions context_of(const Expr& pieces, const FitOptions& options) {
  return {.is_training = true, .seed = options.seed, .step = astype(pieces, DType::i64)};
}

StepGraph StepMaker::graph(std::int64_t rows) const {
  Batch batch =
      build_batch(model, data, rows, feeding, context_of(counters.pieces, options), where);
  const Loss& loss = batch.outcome.loss;
  require_metrics(batch.outcome, counters.names, where);
  std::vector<Expr> roots = loss.penalties;
  roots.push_back(loss.sum);
  std::vector<Expr> parameters = parameters_of(roots);
  require(!parameters.empty(), "fit at ", to_string(where), ": the loss depends on no parameter");
  Gradients all = gradients(loss, parameters, where);
  const Origin origin{where, std::make_shared<const std::string>("fit"), {}, {}};
  const OriginScope scope(origin);
  all.guard = logical_not(counters.is_bad);
  const Expr ends_epoch =
      equal(remainder(counters.pieces + 1.0, static_cast<double>(pieces.epoch)), 0.0);
  all = accumulate(optimizer, all, pieces.update, ends_epoch, where);
  const Expr good = logical_and(logical_not(counters.is_bad), all_finite(all.checked, where));
  if (pieces.update == 1) all.guard = good;
  const Expr updates_now = all.guard;
  if (options.clip_norm < std::numeric_limits<double>::infinity())
    all = clip_by_global_norm(all, options.clip_norm, where);
  Updates updates = optimizer.apply(all, false, where);
  for (const Update& own : batch.updates.all())
    updates.set(own.leaf, own.value, own.guard ? logical_and(own.guard, good) : good);
  const auto add = [&](const Expr& to, const Expr& value) {
    updates.set(to, to + astype(value, DType::f64), good);
  };
  updates.set(counters.is_bad, logical_not(good));
  updates.set(counters.updates, counters.updates + 1.0, updates_now);
  updates.set(counters.pieces, counters.pieces + 1.0, good);
  add(counters.loss_sum, loss.sum);
  add(counters.loss_weight, loss.weight);
  for (const Expr& p : loss.penalties)
    updates.chain(counters.penalty_sum,
                  updates.latest(counters.penalty_sum) + astype(p, DType::f64), updates_now);
  if (!loss.penalties.empty())
    updates.set(counters.penalty_count, counters.penalty_count + 1.0, updates_now);
  for (std::size_t m = 0; m < counters.metrics.size(); ++m) {
    add(counters.metrics[m].first, batch.outcome.metrics[m].second.sum);
    add(counters.metrics[m].second, batch.outcome.metrics[m].second.weight);
  }
  return {std::move(batch), std::move(parameters), std::move(all.checked), std::move(updates)};
}

TrainingStep StepMaker::step(std::int64_t rows) const {
  StepGraph made = graph(rows);
  Program program = compile({}, made.updates, options.device, options.compile, where);
  return {std::move(made), std::move(program)};
}

std::int64_t StepMaker::bytes(std::int64_t rows) const {
  return planned_bytes({}, graph(rows).updates, options.device, options.compile);
}

}  // namespace blockgrad::train
