#include <algorithm>

#include "blockgrad/graph/grad.h"
#include "train/step.h"

namespace blockgrad::train {

Averages evaluate(const Model& model, const data::Dataset& data, std::int64_t batch_size,
                  const Device& device, const CompileOptions& compile_options, SourceLoc where) {
  const std::int64_t rows = data.rows();
  require(static_cast<bool>(model), "evaluate: the model function is empty");
  require(rows > 0, "evaluate: the data has no rows");
  require(batch_size >= 0, "evaluate: batch_size must not be negative, got ", batch_size);
  const std::int64_t size = batch_size == 0 ? rows : std::min(batch_size, rows);
  double loss_sum = 0, loss_weight = 0, penalty = 0;
  std::vector<std::pair<double, double>> sums;
  std::vector<std::string> names;
  // Random numbers differ from batch to batch and are the same in every evaluation.
  const Expr number = input("evaluate.batch", {}, DType::i64, where);
  const ContextOptions still{.is_training = false, .step = number};
  std::int64_t first = 0;
  while (first < rows) {
    const std::int64_t now = std::min(size, rows - first);
    const Batch batch = build_batch(model, data, now, Feeding::whole, still, where);
    std::vector<Output> outputs{batch.outcome.loss.sum, batch.outcome.loss.weight};
    for (const auto& [name, metric] : batch.outcome.metrics) {
      outputs.emplace_back(metric.sum);
      outputs.emplace_back(metric.weight);
      if (first == 0) names.push_back(name);
    }
    for (const Expr& p : batch.outcome.loss.penalties) outputs.emplace_back(p);
    require(batch.outcome.metrics.size() == names.size(),
            "evaluate: the model must give the same metrics for every batch size");
    sums.resize(names.size());
    Program program = compile(outputs, {}, device, compile_options);
    // All batches of this size; a smaller last one gets a program of its own.
    for (; first < rows && std::min(size, rows - first) == now; first += now) {
      Feeds feeds = feed_of(batch, data, first, first + now, {});
      feeds.push_back({number, tensor<std::int64_t>({first / size}, Shape{})});
      const Results results = program.run(feeds);
      loss_sum += results.number(0);
      loss_weight += results.number(1);
      int at = 2;
      for (auto& [sum, weight] : sums) {
        sum += results.number(at++);
        weight += results.number(at++);
      }
      penalty = 0;
      for (std::size_t p = 0; p < batch.outcome.loss.penalties.size(); ++p)
        penalty += results.number(at++);
    }
  }
  Averages averages;
  averages.loss = (loss_weight == 0 ? 0 : loss_sum / loss_weight) + penalty;
  for (std::size_t m = 0; m < names.size(); ++m) {
    averages.metrics.emplace_back(names[m],
                                  sums[m].second == 0 ? 0 : sums[m].first / sums[m].second);
  }
  return averages;
}

}  // namespace blockgrad::train
