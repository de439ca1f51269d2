#include "blockgrad/optim/gradients.h"

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"

namespace blockgrad {

namespace {

// Nodes made for one call of the user carry its line and this name.
class Call {
 public:
  Call(const char* name, SourceLoc where)
      : origin_{where, std::make_shared<const std::string>(name), {}, {}}, scope_(origin_) {}

 private:
  Origin origin_;
  OriginScope scope_;
};

}  // namespace

Gradients gradients(const Loss& loss, std::span<const Expr> only, SourceLoc where) {
  const Expr average = mean(loss);
  std::vector<Expr> roots = loss.penalties;
  roots.push_back(loss.sum);
  const std::vector<Expr> parameters =
      only.empty() ? parameters_of(roots) : std::vector<Expr>(only.begin(), only.end());
  require(!parameters.empty(), "gradients asked for at ", to_string(where),
          ": the loss depends on no parameter");
  const std::vector<Expr> values = grad(average, parameters, where);
  Gradients result{{}, loss, {average}, {}, {}, false};
  result.checked.insert(result.checked.end(), values.begin(), values.end());
  for (std::size_t i = 0; i < parameters.size(); ++i)
    result.list.push_back({parameters[i], values[i]});
  return result;
}

Gradients clip_by_value(const Gradients& gradients, double limit, SourceLoc where) {
  require(limit >= 0, "clip_by_value at ", to_string(where),
          ": the limit must not be negative, got ", limit);
  const Call call("clip_by_value", where);
  Gradients result = gradients;
  result.is_transformed = true;
  for (Gradient& g : result.list) g.value = minimum(maximum(g.value, -limit), limit);
  return result;
}

// Squares in f64 do not overflow for f32.
Expr global_norm(const Gradients& gradients, SourceLoc where) {
  const Call call("global_norm", where);
  std::vector<Expr> squares;
  for (const Gradient& g : gradients.list)
    squares.push_back(sum(square(astype(g.value, DType::f64))));
  return squares.empty() ? constant(zeros({}, DType::f64)) : sqrt(sum_of(squares));
}

Gradients clip_by_global_norm(const Gradients& gradients, double limit, SourceLoc where) {
  require(limit > 0, "clip_by_global_norm at ", to_string(where),
          ": the limit must be above 0, got ", limit);
  const Expr norm = global_norm(gradients, where);
  const Call call("clip_by_global_norm", where);
  const Expr factor = minimum(limit / norm, 1.0);
  Gradients result = gradients;
  result.is_transformed = true;
  for (Gradient& g : result.list) g.value = g.value * astype(factor, g.value.dtype());
  return result;
}

Expr all_finite(std::span<const Expr> values, SourceLoc where) {
  const Call call("all_finite", where);
  Expr result;
  for (const Expr& value : values) {
    const bool is_one = value.shape().size() == 1;
    const Expr finite = is_one ? isfinite(reshape(value, Shape{})) : all(isfinite(value));
    result = result ? logical_and(result, finite) : finite;
  }
  return result ? result : constant(full({}, 1, DType::boolean));
}

}  // namespace blockgrad
