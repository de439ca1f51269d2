#include "blockgrad/ops/losses.h"

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"

namespace blockgrad {

namespace {

// The weight as a number where it is known when the graph is built.
const Constant* fixed(const Expr& weight) { return weight.op().as<Constant>(); }

// Every Loss that comes in is checked: its fields are the user's to fill.
const Loss& checked(const Loss& loss) {
  require(loss.sum && loss.weight, "a Loss needs a sum and a weight");
  require(is_floating(loss.sum.dtype()) && loss.sum.rank() == 0,
          "the sum of a Loss must be a floating scalar, ", "it is ", to_string(loss.sum.type()));
  require(loss.weight.type() == loss.sum.type(), "the weight of a Loss must be ",
          to_string(loss.sum.type()), " like its sum, it is ", to_string(loss.weight.type()));
  return loss;
}

bool same_weight(const Expr& a, const Expr& b) {
  return a == b || (fixed(a) && fixed(b) && a.type() == b.type() &&
                    fixed(a)->tensor.at(0) == fixed(b)->tensor.at(0));
}

// bf16 and f16 are added up, counted and divided as f32.
Loss averaged(const Expr& terms, SourceLoc where) {
  const DType dtype = working_dtype(terms.dtype());
  return {sum({cast(terms, dtype, where), where}),
          constant(full({}, static_cast<double>(terms.shape().size()), dtype), where),
          {}};
}

void require_equal_shapes(const Expr& y, const Expr& t, std::string_view op, SourceLoc where) {
  require(y.shape() == t.shape(), to_string(current_origin(where), op),
          ": shapes must be equal, got ", y.shape(), " and ", t.shape());
}

// bf16 and f16 are computed with as f32 from the start: a square may leave the range of f16.
Arg widened(const Arg& a) {
  if (a.is_number()) return a;
  return {cast(a.expr(), working_dtype(a.expr().dtype()), a.where()), a.where()};
}

Loss over_pairs(std::string_view op, const Arg& y, const Arg& t, Scalar (*term)(Scalar, Scalar)) {
  require_equal_shapes(as_expr(y, DType::f32), as_expr(t, DType::f32), op, y.where());
  require(y.is_number() || t.is_number() || y.expr().dtype() == t.expr().dtype(),
          to_string(current_origin(y.where()), op), ": wants one dtype, got ",
          y.is_number() ? DType::f32 : y.expr().dtype(), " and ",
          t.is_number() ? DType::f32 : t.expr().dtype(), "; convert one with astype");
  const Expr terms = map(op, {widened(y), widened(t)},
                         [term](std::span<const Scalar> s) { return term(s[0], s[1]); });
  return averaged(terms, y.where());
}

// Per label: logsumexp(x) - x[label]; its gradient is dy * (softmax(x) - one_hot(label)).
struct CrossEntropy {
  static constexpr std::string_view name = "cross_entropy";
  bool operator==(const CrossEntropy&) const = default;

  TensorType infer(Types in) const {
    const Shape& x = in[0].shape;
    require(is_floating(in[0].dtype), "logits must be floating, got ", in[0].dtype);
    require(in[1].dtype == DType::i32 || in[1].dtype == DType::i64,
            "labels must be i32 or i64, got ", in[1].dtype);
    require(x.rank() >= 1 && x[x.rank() - 1] > 0, "logits need at least one class, got ", x);
    const Shape labels(x.sizes().first(static_cast<std::size_t>(x.rank() - 1)));
    require(in[1].shape == labels, "logits ", x, " want labels of shape ", labels, ", got ",
            in[1].shape);
    return {in[0].dtype, labels};
  }
  static Expr is_label(const Expr& x, const Expr& labels) {
    const Expr place = coordinate(x.shape(), -1);
    return map("equal", {place, expand_dims(labels, -1)}, [&](std::span<const Scalar> s) {
      return equal(astype(s[0], labels.dtype()), s[1]);
    });
  }
  std::vector<Expr> vjp(const Backward& b) const {
    const Expr& x = b.input(0);
    return {map("cross_entropy",
                {x, logsumexp(x, -1, true), is_label(x, b.input(1)), expand_dims(b.dy(), -1)},
                [](std::span<const Scalar> s) {
                  const Scalar p = exp(s[0] - s[1]);
                  return s[3] * where(s[2], p - 1, p);
                }),
            Expr()};
  }
  bool not_differentiable(int input) const { return input == 1; }
  Expr expand(std::span<const Expr> in) const {
    const Expr picked = sum(where(is_label(in[0], in[1]), in[0], 0.0), -1);
    return logsumexp(in[0], -1) - picked;
  }
};

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

Expr mean(const Loss& loss) {
  const OriginScope scope(checked(loss).sum.node()->origin);
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
  return grad(mean(loss), wrt, where);
}

std::vector<Expr> grad(const Loss& loss, std::initializer_list<Expr> wrt, SourceLoc where) {
  return grad(mean(loss), wrt, where);
}

Audit audit(const Loss& loss, std::span<const Expr> wrt, SourceLoc where) {
  return audit(mean(loss), wrt, where);
}

Loss mse_loss(Arg y, Arg t) {
  return over_pairs("mse_loss", y, t, [](Scalar a, Scalar b) { return square(a - b); });
}

Loss l1_loss(Arg y, Arg t) {
  return over_pairs("l1_loss", y, t, [](Scalar a, Scalar b) { return abs(a - b); });
}

Loss binary_cross_entropy_with_logits(Arg logits, Arg targets) {
  return over_pairs("binary_cross_entropy_with_logits", logits, targets,
                    [](Scalar x, Scalar t) { return softplus(x) - t * x; });
}

Loss cross_entropy(Arg logits, Arg labels) {
  const Expr x = as_expr(logits, DType::f32);
  const Expr i = as_expr(labels, DType::i32);
  const std::int64_t classes = x.rank() > 0 ? x.shape()[x.rank() - 1] : 0;
  return averaged(make(CrossEntropy{},
                       {x, detail::checked_index(i, classes, CrossEntropy::name, logits.where())},
                       logits.where()),
                  logits.where());
}

Loss accuracy(Arg logits, Arg labels) {
  const Expr x = as_expr(logits, DType::f32);
  const Expr i = as_expr(labels, DType::i32);
  const Expr best = argmax(logits, -1);
  require_equal_shapes(best, i, "accuracy", logits.where());
  return averaged(map("accuracy", {{best, logits.where()}, {i, logits.where()}},
                      [&](std::span<const Scalar> s) {
                        return astype(equal(astype(s[0], i.dtype()), s[1]), x.dtype());
                      }),
                  logits.where());
}

}  // namespace blockgrad
