#include "blockgrad/ops/losses.h"

#include <algorithm>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"

namespace blockgrad {

namespace {

// The weight as a number where it is known when the graph is built.
const Constant* fixed(const Expr& weight) { return weight.op().as<Constant>(); }

// Every Loss that comes in is checked: its fields are the user's to fill.
const Loss& checked(const Loss& loss, SourceLoc where = {}) {
  const auto context = [&] {
    return where.line > 0 ? to_string(where) + ": "
           : loss.sum     ? describe(loss.sum) + ": "
                          : std::string();
  };
  const bool has_penalties = std::all_of(loss.penalties.begin(), loss.penalties.end(),
                                         [](const Expr& p) { return static_cast<bool>(p); });
  if (!loss.sum || !loss.weight) fail({context(), "a Loss needs a sum and a weight"});
  if (!has_penalties) fail({context(), "a penalty of a Loss is an empty Expr"});
  if (!is_floating(loss.sum.dtype()) || loss.sum.rank() != 0) {
    fail({context(), "the sum of a Loss must be a floating scalar, it is ",
          to_string(loss.sum.type())});
  }
  if (!(loss.weight.type() == loss.sum.type())) {
    fail({context(), "the weight of a Loss must be ", to_string(loss.sum.type()),
          " like its sum, it is ", to_string(loss.weight.type())});
  }
  return loss;
}

bool same_weight(const Expr& a, const Expr& b) {
  return a == b || (fixed(a) && fixed(b) && a.type() == b.type() &&
                    fixed(a)->tensor.at(0) == fixed(b)->tensor.at(0));
}

}  // namespace

Penalty penalty(Arg value) {
  const Expr e = as_expr(value, DType::f32);
  require(is_floating(e.dtype()) && e.shape().size() == 1,
          to_string(current_origin(value.where()), "penalty"), ": wants a floating scalar, got ",
          to_string(e.type()));
  return {reshape(e, Shape{}, value.where())};
}

Loss operator*(double factor, const Loss& loss) {
  const OriginScope scope(checked(loss).sum.node()->origin);
  Loss scaled{loss.sum * factor, loss.weight, {}};
  for (const Expr& p : loss.penalties) scaled.penalties.push_back(p * factor);
  return scaled;
}

Loss operator+(const Loss& loss, const Penalty& term) {
  Loss result = loss;
  result.penalties.push_back(term.value);
  return result;
}

Loss operator+(const Loss& a, const Loss& b) {
  checked(b);
  const OriginScope scope(checked(a).sum.node()->origin);
  require(same_weight(a.weight, b.weight),
          "losses of different weights cannot be added: ", describe(a.sum), " and ",
          describe(b.sum), "; add mean(a) and mean(b)");
  Loss result{a.sum + b.sum, a.weight, a.penalties};
  result.penalties.insert(result.penalties.end(), b.penalties.begin(), b.penalties.end());
  return result;
}

Expr mean(const Loss& loss, SourceLoc line) {
  const OriginScope scope(checked(loss, line).sum.node()->origin);
  Expr average;
  if (const Constant* weight = fixed(loss.weight)) {
    const double w = weight->tensor.at(0);
    average = w == 0 ? loss.sum * 0.0 : loss.sum / w;
  } else {
    average = map("mean", {loss.sum, loss.weight},
                  [](std::span<const Scalar> s) { return where(equal(s[1], 0), 0, s[0] / s[1]); });
  }
  for (const Expr& p : loss.penalties) average = average + p;
  return average;
}

std::vector<Expr> grad(const Loss& loss, std::span<const Expr> wrt, SourceLoc where) {
  return grad(mean(loss, where), wrt, where);
}

std::vector<Expr> grad(const Loss& loss, std::initializer_list<Expr> wrt, SourceLoc where) {
  return grad(mean(loss, where), wrt, where);
}

Audit audit(const Loss& loss, std::span<const Expr> wrt, SourceLoc where) {
  return audit(mean(loss, where), wrt, where);
}

Expr perplexity(const Loss& loss) { return exp(mean(Loss{checked(loss).sum, loss.weight, {}})); }

}  // namespace blockgrad
