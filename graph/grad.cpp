#include "blockgrad/graph/grad.h"

#include <unordered_map>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace {

struct StopGradient {
  static constexpr std::string_view name = "stop_gradient";
  bool operator==(const StopGradient&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  Expr expand(std::span<const Expr> inputs) const { return inputs[0]; }
  bool not_differentiable(int) const { return true; }
};

}  // namespace

namespace detail {

std::vector<const Node*> in_order(std::span<const Expr> roots) {
  struct Visit {
    const Node* node;
    std::size_t next;
  };
  std::vector<const Node*> order;
  std::unordered_map<const Node*, bool> seen;
  std::vector<Visit> stack;
  for (const Expr& root : roots) {
    if (!root || !seen.emplace(root.node(), true).second) continue;
    stack.push_back({root.node(), 0});
    while (!stack.empty()) {
      Visit& top = stack.back();
      if (top.next < top.node->inputs.size()) {
        const Node* input = top.node->inputs[top.next++].node();
        if (seen.emplace(input, true).second) stack.push_back({input, 0});
      } else {
        order.push_back(top.node);
        stack.pop_back();
      }
    }
  }
  return order;
}

}  // namespace detail

namespace {

class Differentiation {
 public:
  Differentiation(const Expr& y, const Expr& dy, std::span<const Expr> wrt)
      : roots_{y}, order_(detail::in_order(roots_)), wrt_(wrt) {
    index_.reserve(order_.size());
    std::size_t results = 0;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      index_.emplace(order_[i], i);
      first_.push_back(results);
      results += order_[i]->results.size();
    }
    adjoints_.resize(results);
    mark_dependent();
    adjoints_[slot(y)].push_back(dy);
  }

  std::vector<Expr> run(SourceLoc where) {
    std::string missing;
    for (const Expr& w : wrt_) {
      const auto at = index_.find(w.node());
      if (at == index_.end()) missing += "\n  it does not depend on " + describe(w);
    }
    for (std::size_t i = order_.size(); i-- > 0;) {
      if (dependent_[i]) send_back(i, missing);
    }
    std::vector<Expr> gradients;
    for (const Expr& w : wrt_) {
      if (index_.count(w.node()) == 0) continue;
      Expr& total = totals_[w];
      if (!total)
        missing += "\n  no gradient reaches " + describe(w) +
                   ": every path is cut by an op without gradient";
      gradients.push_back(total);
    }
    require(missing.empty(), "gradient of ", describe(roots_[0]), " asked for at ",
            to_string(where), ":", missing);
    return gradients;
  }

 private:
  std::size_t slot(const Expr& e) const {
    return first_[index_.at(e.node())] + static_cast<std::size_t>(e.result());
  }

  void mark_dependent() {
    dependent_.assign(order_.size(), 0);
    for (const Expr& w : wrt_) {
      if (const auto at = index_.find(w.node()); at != index_.end()) dependent_[at->second] = 1;
      totals_.emplace(w, Expr());
    }
    for (std::size_t i = 0; i < order_.size(); ++i) {
      for (const Expr& in : order_[i]->inputs) {
        if (dependent_[index_.at(in.node())]) dependent_[i] = 1;
      }
    }
  }

  void send_back(std::size_t i, std::string& missing) {
    const Node& node = *order_[i];
    std::vector<Expr> joined(node.results.size());
    bool any = false;
    const Origin origin = gradient_origin(node);
    const OriginScope scope(origin);
    for (std::size_t r = 0; r < node.results.size(); ++r) {
      std::vector<Expr>& parts = adjoints_[first_[i] + r];
      if (parts.empty()) continue;
      joined[r] = sum_of(parts);
      parts = {};
      any = true;
      const auto total = totals_.find(Expr(&node, static_cast<int>(r)));
      if (total != totals_.end()) total->second = joined[r];
    }
    if (!any || node.inputs.empty()) return;
    std::vector<char> wants;
    bool wanted = false;
    for (const Expr& in : node.inputs) {
      wants.push_back(dependent_[index_.at(in.node())] && is_floating(in.dtype()));
      wanted = wanted || wants.back();
    }
    if (!wanted) return;
    const std::vector<Expr> gradients = gradients_of(node, joined, wants);
    check_internal(gradients.size() == node.inputs.size(), node.op->name(), " gave ",
                   gradients.size(), " gradients for ", node.inputs.size(), " inputs");
    for (std::size_t n = 0; n < gradients.size(); ++n) {
      if (!wants[n]) continue;
      const Expr& in = node.inputs[n];
      if (gradients[n]) {
        if (!(gradients[n].type() == in.type())) {
          missing += "\n  the gradient of " + describe(Expr(&node, 0)) +
                     join({" for input ", n, " has type "}) + to_string(gradients[n].type()) +
                     ", expected " + to_string(in.type());
          continue;
        }
        adjoints_[slot(in)].push_back(gradients[n]);
      } else if (!node.op->not_differentiable(static_cast<int>(n))) {
        missing += "\n  " + describe(Expr(&node, 0)) + join({" has no gradient for input ", n});
      }
    }
  }

  static std::vector<Expr> gradients_of(const Node& node, std::span<const Expr> dy,
                                        std::span<const char> wants) {
    try {
      return node.op->vjp(Backward(node, dy, wants));
    } catch (const Error& error) {
      throw Error("gradient of " + describe(Expr(&node, 0)) + ": " + error.what());
    }
  }

  // Gradients of gradients keep naming the op the user wrote.
  static Origin gradient_origin(const Node& node) {
    Origin origin = node.origin;
    if (origin.role.empty()) {
      origin.role = "gradient of";
      origin.of = node.op->name();
    }
    return origin;
  }

  std::vector<Expr> roots_;
  std::vector<const Node*> order_;
  std::span<const Expr> wrt_;
  std::unordered_map<const Node*, std::size_t> index_;
  std::vector<std::size_t> first_;
  std::vector<std::vector<Expr>> adjoints_;
  std::vector<char> dependent_;
  std::unordered_map<Expr, Expr> totals_;
};

}  // namespace

std::vector<Expr> vjp(const Expr& y, const Expr& dy, std::span<const Expr> wrt, SourceLoc where) {
  require(y && dy, "the gradient of an empty Expr (", to_string(where), ")");
  require(is_floating(y.dtype()), "gradient of ", describe(y), " asked for at ", to_string(where),
          ": it must be floating, it is ", to_string(y.type()));
  require(dy.type() == y.type(), "the adjoint of ", describe(y), " must be ", to_string(y.type()),
          ", got ", to_string(dy.type()));
  for (const Expr& w : wrt)
    require(static_cast<bool>(w), "the gradient by an empty Expr (", to_string(where), ")");
  return Differentiation(y, dy, wrt).run(where);
}

std::vector<Expr> grad(const Expr& y, std::span<const Expr> wrt, SourceLoc where) {
  require(static_cast<bool>(y), "the gradient of an empty Expr (", to_string(where), ")");
  require(y.shape().size() == 1, "gradient of ", describe(y), " asked for at ", to_string(where),
          ": it must be a scalar, it has shape ", y.shape(), "; use mean or sum");
  return vjp(y, constant(ones(y.shape(), y.dtype())), wrt, where);
}

std::vector<Expr> grad(const Expr& y, std::initializer_list<Expr> wrt, SourceLoc where) {
  return grad(y, std::span(wrt.begin(), wrt.size()), where);
}

Expr stop_gradient(const Arg& x) {
  return make(StopGradient{}, {as_expr(x, DType::f32)}, x.where());
}

std::vector<Expr> parameters_of(std::span<const Expr> ys) {
  std::vector<Expr> found;
  for (const Node* node : detail::in_order(ys)) {
    const Expr expr(node, 0);
    if (is_parameter(expr)) found.push_back(expr);
  }
  return found;
}

}  // namespace blockgrad
