#include "blockgrad/backends/check_gradient.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/philox.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"

namespace blockgrad {

namespace {

// Weights that differ, so that no two elements of a result can stand in for each other.
Expr weighted_sum(const Expr& y, unsigned int stream) {
  std::vector<double> weights;
  for (std::int64_t i = 0; i < y.shape().size(); ++i) {
    const PhiloxBlock bits = philox({{static_cast<unsigned int>(i), 0, 0, stream}}, 1, 0);
    weights.push_back(0.5 + 0x1p-32 * bits.word[0]);
  }
  return sum(y * constant(tensor(std::span<const double>(weights), y.shape())));
}

double error_of(double gradient, double slope) {
  const double error = std::abs(gradient - slope) / std::max(1.0, std::abs(slope));
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

class Check {
 public:
  Check(std::vector<Expr> leaves, std::span<const Tensor> values, double step)
      : leaves_(std::move(leaves)), step_(step) {
    for (std::size_t i = 0; i < leaves_.size(); ++i) {
      feeds_.push_back({leaves_[i], values[i]});
      if (is_floating(leaves_[i].dtype())) variables_.push_back(static_cast<int>(i));
    }
  }

  std::vector<Expr> variables() const {
    std::vector<Expr> all;
    for (const int v : variables_) all.push_back(leaves_[static_cast<std::size_t>(v)]);
    return all;
  }

  void compare(const Expr& y, std::span<const Expr> gradients, int order, GradientReport& report) {
    Program program = compile(std::vector<Output>(gradients.begin(), gradients.end()), {}, cpu());
    std::vector<Tensor> found;
    const Results results = program.run(read_by(gradients));
    for (std::size_t i = 0; i < gradients.size(); ++i)
      found.push_back(results.tensor(static_cast<int>(i)));
    Program value = compile({y});
    Feeds feeds = read_by({&y, 1});
    for (std::size_t i = 0; i < variables_.size(); ++i) {
      const auto fed = std::find_if(feeds.begin(), feeds.end(), [&](const Feed& feed) {
        return feed.leaf == leaves_[static_cast<std::size_t>(variables_[i])];
      });
      report.checks.push_back(by_input(value, feeds, fed->value, found[i]));
      report.checks.back().input = variables_[i];
      report.checks.back().order = order;
    }
  }

 private:
  // The feeds that some expressions read: a gradient need not read all of them.
  Feeds read_by(std::span<const Expr> roots) const {
    const std::vector<const Node*> nodes = detail::in_order(roots);
    Feeds read;
    for (const Feed& feed : feeds_) {
      if (std::find(nodes.begin(), nodes.end(), feed.leaf.node()) != nodes.end())
        read.push_back(feed);
    }
    return read;
  }

  InputCheck by_input(Program& value, const Feeds& feeds, Tensor& fed, const Tensor& gradient) {
    const Tensor start = fed;
    const std::span<const double> x = start.span<double>();
    const std::span<const double> g = gradient.span<double>();
    std::vector<double> moved(x.begin(), x.end());
    fed = borrow(std::span<const double>(moved), start.shape());
    InputCheck check;
    check.elements = start.size();
    check.error = -1;
    for (std::size_t e = 0; e < moved.size(); ++e) {
      const double h = step_ * std::max(1.0, std::abs(x[e]));
      const volatile double up = x[e] + h, down = x[e] - h;
      moved[e] = up;
      const double above = value.run(feeds).number(0);
      moved[e] = down;
      const double below = value.run(feeds).number(0);
      moved[e] = x[e];
      const double slope = (above - below) / (up - down);
      if (const double error = error_of(g[e], slope); error > check.error) {
        check.worst = static_cast<std::int64_t>(e);
        check.gradient = g[e];
        check.slope = slope;
        check.error = error;
      }
    }
    check.error = std::max(check.error, 0.0);
    fed = start;
    return check;
  }

  std::vector<Expr> leaves_;
  double step_;
  Feeds feeds_;
  std::vector<int> variables_;
};

}  // namespace

bool GradientReport::passed() const { return error() <= tolerance; }

double GradientReport::error() const {
  double worst = 0;
  for (const InputCheck& check : checks) worst = std::max(worst, check.error);
  return worst;
}

std::int64_t GradientReport::comparisons() const {
  std::int64_t total = 0;
  for (const InputCheck& check : checks) total += check.elements;
  return total;
}

std::string to_string(const GradientReport& report) {
  std::string text;
  for (const InputCheck& check : report.checks) {
    text += fmt::format("{}input {}: {} element{}", check.order == 1 ? "" : "second order, ",
                        check.input, check.elements, check.elements == 1 ? "" : "s");
    if (check.elements > 0) {
      text += fmt::format(
          ", the worst is {}: gradient {}, slope {}, error {:.3g}{}", check.worst, check.gradient,
          check.slope, check.error,
          check.error <= report.tolerance ? "" : fmt::format(" exceeds {:.3g}", report.tolerance));
    }
    text += "\n";
  }
  return text;
}

GradientReport check_gradient(const std::function<Expr(std::span<const Expr>)>& fn,
                              std::span<const Tensor> inputs, const GradientCheckOptions& options,
                              SourceLoc where) {
  const Origin origin = current_origin(where);
  const std::string context = to_string(origin, "check_gradient");
  std::vector<Expr> leaves;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    require(!is_floating(inputs[i].dtype()) || inputs[i].dtype() == DType::f64, context, ": input ",
            i, " is ", inputs[i].dtype(), "; differences need f64");
    leaves.push_back(input("x" + std::to_string(i), inputs[i].shape(), inputs[i].dtype(), where));
  }
  const Expr result = fn(leaves);
  require(static_cast<bool>(result), context, ": the function gave an empty Expr");
  require(result.dtype() == DType::f64, context, ": the function gave ", to_string(result.type()),
          "; differences need f64");
  Check check(leaves, inputs, options.step);
  const std::vector<Expr> variables = check.variables();
  require(!variables.empty(), context, ": no input is f64, so there is no gradient to check");

  const OriginScope scope(origin);  // what is built from here on is not the function's
  GradientReport report{{}, options.tolerance};
  const Expr y = weighted_sum(result, 0);
  const std::vector<Expr> gradients = grad(y, variables, where);
  check.compare(y, gradients, 1, report);
  if (options.second_order) {
    // The plain sums have slope 1: so the gradient of a linear function, which reads no input, has
    // a gradient too.
    Expr z;
    for (std::size_t i = 0; i < variables.size(); ++i) {
      const Expr term = weighted_sum(gradients[i], static_cast<unsigned int>(i) + 1);
      z = (z ? z + term : term) + sum(variables[i]);
    }
    check.compare(z, grad(z, variables, where), 2, report);
  }
  require(!options.throws || report.passed(), context, ": the gradient is wrong\n",
          to_string(report));
  return report;
}

}  // namespace blockgrad
