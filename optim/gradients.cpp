#include "blockgrad/optim/gradients.h"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "blockgrad/ops/rows.h"
#include "optim/reached.h"

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

// Which parameters the value only takes rows of, and where.
class RowUses {
 public:
  RowUses(const Expr& value, std::span<const Expr> parameters) {
    for (const Expr& p : parameters) uses_.emplace(p.node(), Use{});
    const Expr roots[] = {value};
    for (const Node* node : detail::in_order(roots)) {
      for (std::size_t n = 0; n < node->inputs.size(); ++n) {
        const auto use = uses_.find(node->inputs[n].node());
        if (use == uses_.end()) continue;
        if (node->op.as<Gather>() && n == 0) use->second.takes.emplace_back(node, 0);
        else use->second.is_dense = true;
      }
    }
    for (auto& [parameter, use] : uses_) {
      std::int64_t named = 0;
      for (const Expr& take : use.takes) named += take.node()->inputs[1].shape().size();
      // As many rows as there are: nothing is saved.
      const bool is_half = !use.takes.empty() && blockgrad::is_half(use.takes[0].dtype());
      if (use.takes.empty() || is_half || named >= Expr(parameter, 0).shape()[0])
        use.is_dense = true;
      use.takes = use.is_dense ? std::vector<Expr>() : detail::reached(value, use.takes);
    }
  }

  /// Empty for a parameter that is used in another way too.
  std::span<const Expr> takes_of(const Expr& parameter) const {
    return uses_.at(parameter.node()).takes;
  }

 private:
  struct Use {
    std::vector<Expr> takes;
    bool is_dense = false;
  };
  std::unordered_map<const Node*, Use> uses_;  // looked up, never listed in a result
};

// The rows of all takes, one after the other, each row once.
Gradient merged(const Expr& parameter, std::span<const Expr> takes,
                std::span<const Expr> adjoints) {
  std::vector<Expr> indices, values;
  const std::span<const std::int64_t> sizes = parameter.shape().sizes();
  for (std::size_t t = 0; t < takes.size(); ++t) {
    const Expr& i = takes[t].node()->inputs[1];
    std::vector<std::int64_t> flat(sizes.begin(), sizes.end());
    flat[0] = i.shape().size();
    indices.push_back(reshape(takes.size() > 1 ? astype(i, DType::i64) : i, Shape{flat[0]}));
    values.push_back(reshape(adjoints[t], Shape(flat)));
  }
  const std::vector<Expr> rows =
      make_all(MergeRows{sizes[0]}, {concat(indices, 0), concat(values, 0)});
  return {parameter, rows[1], rows[0], rows[2]};
}

// The norm of all gradients times a power of two, for which no square overflows or vanishes
// (Blue 1978). Squares of f32 need none.
struct ScaledNorm {
  Expr scale;  // empty: 1
  Expr norm;

  explicit ScaledNorm(const Gradients& gradients) {
    Expr largest;
    for (const Gradient& g : gradients.list) {
      if (g.value.dtype() != DType::f64 || g.value.shape().size() == 0) continue;
      const Expr own = max(abs(g.value));
      largest = largest ? maximum(largest, own) : own;
    }
    if (largest) {
      scale = map("scale", {largest}, [](std::span<const Scalar> s) {
        return where(s[0] > 0x1p480, 0x1p-600, where(s[0] < 0x1p-480, 0x1p600, 1));
      });
    }
    std::vector<Expr> squares;
    for (const Gradient& g : gradients.list) squares.push_back(sum(square(scaled(g.value))));
    norm = squares.empty() ? constant(zeros({}, DType::f64)) : sqrt(sum_of(squares));
  }

  /// A gradient in f64, times the scale.
  Expr scaled(const Expr& g) const {
    return scale ? astype(g, DType::f64) * scale : astype(g, DType::f64);
  }
};

}  // namespace

namespace detail {
Gradient dense(const Gradient& g) {
  if (!g.rows) return g;
  const Expr zero = broadcast_to(constant(zeros({}, g.parameter.dtype())), g.parameter.shape());
  return {g.parameter, make(PutRows{}, {zero, g.rows, g.value, g.count})};
}
}  // namespace detail

Gradients gradients(const Loss& loss, std::span<const Expr> only, SourceLoc where) {
  const Expr average = mean(loss, where);
  std::vector<Expr> roots = loss.penalties;
  roots.push_back(loss.sum);
  const std::vector<Expr> parameters =
      only.empty() ? parameters_of(roots) : std::vector<Expr>(only.begin(), only.end());
  require(!parameters.empty(), "gradients asked for at ", to_string(where),
          ": the loss depends on no parameter");
  const RowUses uses(average, parameters);
  std::vector<Expr> wrt;
  for (const Expr& p : parameters) {
    const std::span<const Expr> takes = uses.takes_of(p);
    if (takes.empty()) wrt.push_back(p);
    wrt.insert(wrt.end(), takes.begin(), takes.end());
  }
  const std::vector<Expr> values = grad(average, wrt, where);
  const Call call("gradients", where);
  Gradients result{{}, loss, {average}, {}, {}};
  std::size_t next = 0;
  for (const Expr& p : parameters) {
    const std::span<const Expr> takes = uses.takes_of(p);
    const auto count = std::max<std::size_t>(takes.size(), 1);
    const std::span<const Expr> mine = std::span(values).subspan(next, count);
    result.list.push_back(takes.empty() ? Gradient{p, mine[0]} : merged(p, takes, mine));
    result.checked.push_back(result.list.back().value);
    next += count;
  }
  result.plain = std::make_shared<const Gradients>(result);
  return result;
}

Gradients dense(const Gradients& gradients, SourceLoc where) {
  const Call call("dense", where);
  Gradients result = gradients;
  Gradients plain = gradients.plain ? *gradients.plain : Gradients();
  for (Gradient& g : result.list) {
    const Gradient whole = detail::dense(g);
    const auto known = std::find(plain.list.begin(), plain.list.end(), g);
    if (known != plain.list.end()) *known = whole;
    g = whole;
  }
  if (gradients.plain) result.plain = std::make_shared<const Gradients>(std::move(plain));
  return result;
}

Gradients clip_by_value(const Gradients& gradients, double limit, SourceLoc where) {
  require(limit >= 0, "clip_by_value at ", to_string(where),
          ": the limit must not be negative, got ", limit);
  const Call call("clip_by_value", where);
  Gradients result = gradients;
  for (Gradient& g : result.list) g.value = minimum(maximum(g.value, -limit), limit);
  return result;
}

Expr global_norm(const Gradients& gradients, SourceLoc where) {
  const Call call("global_norm", where);
  const ScaledNorm scaled(gradients);
  return scaled.scale ? scaled.norm / scaled.scale : scaled.norm;
}

Gradients clip_by_global_norm(const Gradients& gradients, double limit, SourceLoc where) {
  require(limit > 0, "clip_by_global_norm at ", to_string(where),
          ": the limit must be above 0, got ", limit);
  if (limit == std::numeric_limits<double>::infinity()) return gradients;
  const Call call("clip_by_global_norm", where);
  const ScaledNorm scaled(gradients);
  const Expr is_within = (scaled.scale ? scaled.norm / scaled.scale : scaled.norm) <= limit;
  Gradients result = gradients;
  for (Gradient& g : result.list) {
    const Expr shrunk = scaled.scaled(g.value) / scaled.norm * limit;
    g.value = blockgrad::where(is_within, g.value, astype(shrunk, g.value.dtype()));
  }
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
