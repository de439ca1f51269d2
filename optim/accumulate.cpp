#include <algorithm>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/optim/optimizer.h"
#include "optim/reached.h"

namespace blockgrad {

namespace {

// total / weight, or 0 where nothing has weight, as the mean of a Loss.
Expr divided(const Expr& total, const Expr& weight) {
  return map("mean", {total, astype(weight, total.dtype())},
             [](std::span<const Scalar> s) { return where(equal(s[1], 0), 0, s[0] / s[1]); });
}

}  // namespace

Gradients accumulate(Optimizer& optimizer, const Gradients& gradients, std::int64_t batches,
                     SourceLoc where) {
  const std::string call = "accumulate at " + to_string(where);
  require(batches >= 1, call, ": wants at least 1 batch, got ", batches);
  require(!gradients.list.empty(), call, ": there are no gradients");
  require(!gradients.is_transformed, call,
          ": comes before clipping and scaling, which need the mean gradient");
  if (batches == 1) return gradients;
  const Loss& loss = gradients.loss;
  std::vector<Expr> parameters;
  for (const Gradient& g : gradients.list) parameters.push_back(g.parameter);
  for (const Expr& p : detail::reached(loss.weight, parameters)) {
    fail({call, ": the weight of the loss depends on ", describe(p),
          ", so sums of its gradients are not the gradient of the sum"});
  }
  const Origin origin{where, std::make_shared<const std::string>("accumulate"), {}, {}};
  const OriginScope scope(origin);
  const std::vector<Expr> sums = detail::reached_gradients(loss.sum, parameters, where);
  std::vector<Expr> penalties(parameters.size());
  if (!loss.penalties.empty())
    penalties = detail::reached_gradients(sum_of(loss.penalties), parameters, where);

  const TensorType number{DType::f64, {}};
  const Expr weight_slot = optimizer.slot(parameters[0], "accumulated_weight", number);
  const Expr count_slot = optimizer.slot(parameters[0], "accumulated_batches", number);
  const Expr weight = weight_slot + astype(loss.weight, DType::f64);
  const Expr is_last = count_slot >= static_cast<double>(batches - 1);
  std::vector<std::pair<Expr, Expr>> kept = {{weight_slot, weight}, {count_slot, count_slot + 1.0}};
  Gradients result{{}, loss, {mean(loss, where)}, {}, {}, true};
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Expr value = penalties[i];
    if (value) result.checked.push_back(value);
    if (sums[i]) {
      const Expr slot = optimizer.slot(parameters[i], "accumulated", sums[i].type());
      const Expr total = slot + sums[i];
      kept.emplace_back(slot, total);
      result.checked.push_back(total);
      value = value ? divided(total, weight) + value : divided(total, weight);
    }
    result.list.push_back({parameters[i], value});
  }
  Expr good = all_finite(result.checked, where);
  if (gradients.guard) good = logical_and(gradients.guard, good);
  for (const auto& [slot, value] : kept)
    result.updates.set(slot, blockgrad::where(is_last, 0.0, value), good);
  result.guard = logical_and(good, is_last);
  return result;
}

}  // namespace blockgrad
