#include "backends/check_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/philox.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "graph/flow.h"

namespace blockgrad {

namespace {

DType widened(DType dtype) { return is_floating(dtype) ? DType::f64 : dtype; }

// A scalar program with f64 in place of all other floating dtypes.
ScalarFn widened(const ScalarFn& fn) {
  std::vector<DType> inputs;
  for (const DType dtype : fn.inputs()) inputs.push_back(widened(dtype));
  std::vector<ScalarInstr> code(fn.code().begin(), fn.code().end());
  for (ScalarInstr& instr : code) instr.dtype = widened(instr.dtype);
  return {std::move(inputs), std::move(code), {fn.results().begin(), fn.results().end()}};
}

Op widened(const Op& op) {
  const Map* map = op.as<Map>();
  return map ? Op(Map{widened(map->fn), map->short_name}) : op;
}

class Numbers {
 public:
  explicit Numbers(unsigned int stream) : stream_(stream) {}
  /// Evenly in [0, 1).
  double next() { return 0x1p-32 * philox({{drawn_++, 0, 0, stream_}}, 7, 0).word[0]; }

  Tensor tensor_of(const TensorType& type, double low, double high) {
    std::vector<double> values(static_cast<std::size_t>(type.shape.size()));
    for (double& value : values) value = low + (high - low) * next();
    return tensor(std::span<const double>(values), type.shape).astype(type.dtype);
  }

 private:
  unsigned int stream_;
  unsigned int drawn_ = 0;
};

struct Finding {
  bool is_wrong = false;
  bool is_checked = false;
  std::string text;
};

// One op at random inputs.
class OpCheck {
 public:
  OpCheck(const Node& node, bool is_wide) : is_wide_(is_wide) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      TensorType type = node.inputs[i].type();
      if (is_wide) type.dtype = widened(type.dtype);
      leaves_.push_back(input("x" + std::to_string(i), type.shape, type.dtype));
      const bool is_variable =
          is_floating(type.dtype) && !node.op->not_differentiable(static_cast<int>(i));
      if (is_variable && type.shape.size() > 0) variables_.push_back(i);
    }
    const OriginScope scope(node.origin);
    Numbers numbers(1);
    for (const Expr& result : make_all(is_wide ? widened(node.op) : node.op, leaves_)) {
      if (!is_floating(result.dtype())) continue;
      const Expr weights = constant(numbers.tensor_of(result.type(), 0.5, 1.5));
      const Expr term = sum(astype(result, DType::f64) * astype(weights, DType::f64));
      y_ = y_ ? y_ + term : term;
    }
  }

  /// Empty where the gradient agrees.
  std::string mistake(double low, double high, unsigned int draw) {
    const std::vector<Expr> wrt = variables();
    const std::vector<Expr> gradients = grad(y_, wrt);
    Numbers numbers(draw + 2);
    std::vector<Feed> feeds;
    for (const Expr& leaf : leaves_) {
      const bool is_bool = leaf.dtype() == DType::boolean;
      feeds.push_back({leaf, is_floating(leaf.dtype()) ? numbers.tensor_of(leaf.type(), low, high)
                             : is_bool ? numbers.tensor_of({DType::f64, leaf.shape()}, -1, 1)
                                             .astype(DType::i32)
                                             .astype(DType::boolean)
                                       : zeros(leaf.shape(), leaf.dtype())});
    }
    for (std::size_t k = 0; k < variables_.size(); ++k) {
      const Tensor direction = numbers.tensor_of(wrt[k].type(), -1, 1);
      const auto [along, scale] = product(value(gradients[k], feeds), direction);
      const double slope = difference(feeds, variables_[k], direction);
      const double tolerance = is_wide_ ? 1e-5 : 5e-2;
      if (std::abs(along - slope) <= tolerance * std::max(1.0, scale)) continue;
      return fmt::format(
          "input {}: along a random direction the gradient gives {:.6g}, differences {:.6g}",
          variables_[k], along, slope);
    }
    return {};
  }

  bool has_gradient() const { return y_ && !variables_.empty(); }

 private:
  std::vector<Expr> variables() const {
    std::vector<Expr> all;
    for (const std::size_t v : variables_) all.push_back(leaves_[v]);
    return all;
  }

  static Tensor value(const Expr& e, std::span<const Feed> feeds) { return evaluate(e, feeds); }

  // The product and the sum of the sizes of its terms.
  static std::pair<double, double> product(const Tensor& a, const Tensor& b) {
    double sum = 0, sizes = 0;
    for (std::int64_t i = 0; i < a.size(); ++i) {
      sum += a.at(i) * b.at(i);
      sizes += std::abs(a.at(i) * b.at(i));
    }
    return {sum, sizes};
  }

  double difference(std::vector<Feed> feeds, std::size_t variable, const Tensor& direction) const {
    const double step = is_wide_ ? 1e-6 : 1e-2;
    const Tensor at = feeds[variable].value;
    const auto moved = [&](double by) {
      std::vector<double> values;
      for (std::int64_t i = 0; i < at.size(); ++i)
        values.push_back(at.at(i) + by * direction.at(i));
      feeds[variable].value =
          tensor(std::span<const double>(values), at.shape()).astype(at.dtype());
      return value(y_, feeds).at(0);
    };
    const double above = moved(step);
    return (above - moved(-step)) / (2 * step);
  }

  bool is_wide_;
  std::vector<Expr> leaves_;
  std::vector<std::size_t> variables_;
  Expr y_;
};

Finding checked(const Node& node, bool is_wide) {
  OpCheck check(node, is_wide);
  Finding finding;
  if (!check.has_gradient()) return finding;
  finding.is_checked = true;
  // Away from 0 on both sides; a point near a kink is drawn again.
  const std::pair<double, double> ranges[] = {{0.3, 1.7}, {-1.7, -0.3}};
  for (const auto& [low, high] : ranges) {
    std::string mistake;
    bool is_number = true;
    for (unsigned int draw = 0; draw < 3; ++draw) {
      mistake = check.mistake(low, high, draw);
      is_number = mistake.find("nan") == std::string::npos;
      if (mistake.empty() || !is_number) break;
    }
    // Outside of the op's domain there is nothing to compare.
    if (mistake.empty() || (!is_number && low < 0)) continue;
    finding.is_wrong = true;
    finding.text = mistake;
    return finding;
  }
  return finding;
}

struct Kind {
  const Node* node;
  bool operator==(const Kind& other) const {
    if (!(node->op == other.node->op) || node->inputs.size() != other.node->inputs.size())
      return false;
    for (std::size_t i = 0; i < node->inputs.size(); ++i) {
      if (!(node->inputs[i].type() == other.node->inputs[i].type())) return false;
    }
    return true;
  }
};

struct KindHash {
  std::size_t operator()(const Kind& kind) const { return kind.node->op->hash(); }
};

}  // namespace

void check_gradients(std::span<const Expr> roots, Report& report) {
  std::unordered_map<Kind, bool, KindHash> seen;  // looked up only
  std::string wrong;
  std::size_t mistakes = 0;
  for (const Node* node : detail::in_order(roots)) {
    if (node->inputs.empty() || is_stop_gradient(*node) || is_custom_gradient(*node)) continue;
    if (!seen.emplace(Kind{node}, true).second) continue;
    const std::string who = describe(Expr(node, 0));
    Finding finding;
    try {
      finding = checked(*node, true);
    } catch (const Error& first) {
      try {
        finding = checked(*node, false);
      } catch (const Error& error) {
        const bool is_missing = std::string_view(error.what()).starts_with("gradient of ");
        if (is_missing) finding = {true, false, error.what()};
        else report.gradients_not_checked.push_back(who + ": " + error.what());
      }
    }
    report.gradients_checked += finding.is_checked;
    if (!finding.is_wrong) continue;
    ++mistakes;
    wrong += "\n  " + who + ": " + finding.text;
  }
  require(mistakes == 0, "check_gradients: ", mistakes, " of the ops here ",
          mistakes == 1 ? "has" : "have", " a wrong gradient", wrong);
}

}  // namespace blockgrad
