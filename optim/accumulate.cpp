#include <algorithm>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/ops/elementwise.h"
#include "optim/core.h"
#include "optim/reached.h"

namespace blockgrad {

namespace {

// total / weight, or 0 where nothing has weight, as the mean of a Loss.
Expr divided(const Expr& total, const Expr& weight) {
  return map("mean", {total, astype(weight, total.dtype())},
             [](std::span<const Scalar> s) { return where(equal(s[1], 0), 0, s[0] / s[1]); });
}

// Throws Error unless these are gradients of their loss, which are differentiated again as sums.
void require_plain(const Gradients& gradients, const std::string& call) {
  const std::string wanted = call + ": wants the gradients that gradients(loss) gave";
  require(gradients.plain != nullptr, wanted);
  const std::vector<Gradient>& list = gradients.plain->list;
  for (const Gradient& g : gradients.list) {
    require(std::find(list.begin(), list.end(), g) != list.end(), call, ": the gradient of ",
            describe(g.parameter),
            " is not the one that gradients(loss) gave; accumulation comes before clipping and "
            "scaling, which need the mean gradient");
  }
  const Loss &now = gradients.loss, &loss = gradients.plain->loss;
  require(now.sum == loss.sum && now.weight == loss.weight && now.penalties == loss.penalties,
          wanted, ", and their loss");
}

// What tells the slots of these parameters' sums from those of other sets: "", ".2", ".3", …
std::string suffix_of(std::vector<std::vector<Expr>>& sets, std::span<const Expr> parameters) {
  const auto same = [&](const std::vector<Expr>& set) {
    return std::is_permutation(set.begin(), set.end(), parameters.begin(), parameters.end());
  };
  const auto known = std::find_if(sets.begin(), sets.end(), same);
  const auto number = known - sets.begin() + 1;
  if (known == sets.end()) sets.emplace_back(parameters.begin(), parameters.end());
  return number == 1 ? "" : "." + std::to_string(number);
}

}  // namespace

Gradients accumulate(Optimizer& optimizer, const Gradients& gradients, std::int64_t batches,
                     const Expr& flush, SourceLoc where) {
  const std::string call = "accumulate at " + to_string(where);
  require(batches >= 1, call, ": wants at least 1 batch, got ", batches);
  require(!gradients.list.empty(), call, ": there are no gradients");
  require(!flush || flush.type() == TensorType{DType::boolean, {}}, call,
          ": flush must be a bool scalar, got ", flush ? to_string(flush.type()) : "");
  detail::require_trainable(gradients, call);
  require_plain(gradients, call);
  if (batches == 1) return gradients;
  const Loss& loss = gradients.loss;
  std::vector<Expr> parameters;
  for (const Gradient& g : gradients.list) parameters.push_back(g.parameter);
  for (const Expr& p : detail::reached(loss.weight, parameters)) {
    fail({call, ": the weight of the loss depends on ", describe(p),
          ", so sums of its gradients are not the gradient of the sum"});
  }
  detail::OptimizerChange change(optimizer);
  const std::string suffix = suffix_of(change.core().accumulated, parameters);
  const Origin origin{where, std::make_shared<const std::string>("accumulate"), {}, {}};
  const OriginScope scope(origin);
  const std::vector<Expr> sums = detail::reached_gradients(loss.sum, parameters, where);
  std::vector<Expr> penalties(parameters.size());
  if (!loss.penalties.empty())
    penalties = detail::reached_gradients(sum_of(loss.penalties), parameters, where);

  const TensorType number{DType::f64, {}};
  const Expr weight_slot = change.core().slot({}, "accumulated_weight" + suffix, number, where);
  const Expr count_slot = change.core().slot({}, "accumulated_batches" + suffix, number, where);
  const Expr weight = weight_slot + astype(loss.weight, DType::f64);
  Expr is_last = count_slot >= static_cast<double>(batches - 1);
  if (flush) is_last = logical_or(is_last, flush);
  std::vector<std::pair<Expr, Expr>> kept = {{weight_slot, weight}, {count_slot, count_slot + 1.0}};
  Gradients result{{}, loss, {mean(loss, where)}, {}, gradients.updates};
  const std::vector<Expr>& replaced = gradients.plain->checked;
  for (const Expr& own : gradients.checked) {
    if (std::find(replaced.begin(), replaced.end(), own) == replaced.end())
      result.checked.push_back(own);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Expr value = penalties[i];
    if (value) result.checked.push_back(value);
    if (sums[i]) {
      const Expr slot =
          optimizer.slot(parameters[i], "accumulated" + suffix, sums[i].type(), where);
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
  change.keep();
  return result;
}

}  // namespace blockgrad
