#include "blockgrad/optim/loss_scale.h"

#include "blockgrad/graph/map.h"
#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace {

constexpr double largest = 0x1p100, smallest = 0x1p-100;

}  // namespace

LossScale::LossScale(double initial, std::int64_t grow_after, std::string name, SourceLoc where)
    : grow_after_(grow_after) {
  require(initial >= smallest && initial <= largest, "LossScale at ", to_string(where),
          ": the scale must lie in [2^-100, 2^100], got ", initial);
  require(grow_after >= 1, "LossScale at ", to_string(where),
          ": grow_after must be at least 1, got ", grow_after);
  scale_ = state(full({}, initial, DType::f64), name, where);
  clean_steps_ = state(zeros({}, DType::f64), name + ".clean_steps", where);
}

Gradients LossScale::gradients(const Loss& loss, std::span<const Expr> only,
                               SourceLoc where) const {
  mean(loss);  // its checks come first
  const Expr scale = astype(scale_, loss.sum.dtype());
  Loss scaled{loss.sum * scale, loss.weight, {}};
  for (const Expr& p : loss.penalties) scaled.penalties.push_back(p * scale);
  Gradients all = blockgrad::gradients(scaled, only, where);
  const Origin origin{where, std::make_shared<const std::string>("loss_scale"), {}, {}};
  const OriginScope scope(origin);
  all.loss = loss;
  all.checked[0] = mean(loss);
  all.guard = all_finite(all.checked, where);
  for (Gradient& g : all.list) g.value = g.value * astype(1.0 / scale_, g.value.dtype());
  const Expr clean = clean_steps_ + 1.0;
  const Expr grows = clean >= static_cast<double>(grow_after_);
  all.updates.set(
      scale_,
      blockgrad::where(all.guard, blockgrad::where(grows, minimum(scale_ * 2.0, largest), scale_),
                       maximum(scale_ * 0.5, smallest)));
  all.updates.set(clean_steps_,
                  blockgrad::where(logical_and(all.guard, logical_not(grows)), clean, 0.0));
  return all;
}

}  // namespace blockgrad
