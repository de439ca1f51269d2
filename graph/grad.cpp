#include "blockgrad/graph/grad.h"

#include <algorithm>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/contributions.h"
#include "graph/flow.h"
#include "graph/stable_logs.h"

namespace blockgrad {

namespace {

using Kind = AuditEntry::Kind;

// Gradients of gradients keep naming the op the user wrote.
Origin gradient_origin(const Node& node) {
  Origin origin = node.origin;
  if (origin.role.empty()) {
    origin.role = gradient_role;
    origin.of = node.op->name();
  }
  return origin;
}

// A scalar 0, also where it is spread over a shape.
bool is_zero(const Expr& e) {
  const Node* node = e.node();
  while (node->op.as<View>()) node = node->inputs[0].node();
  const Constant* constant = node->op.as<Constant>();
  return constant && constant->tensor.size() == 1 && constant->tensor.at(0) == 0;
}

std::string type_names(const Node& node) {
  std::string text;
  for (const TensorType& type : node.results)
    text += (text.empty() ? "" : ", ") + std::string(name(type.dtype));
  return text;
}

class Differentiation {
 public:
  Differentiation(const Expr& y, const Expr& dy, std::span<const Expr> wrt)
      : y_(y), wrt_(wrt), root_(y), wanted_(wrt.begin(), wrt.end()), order_({&y, 1}) {
    take_stable_logs();
    number_values();
    mark_dependent();
    adjoints_[slot(root_)].push_back(dy);
    for (std::size_t i = order_.nodes.size(); i-- > 0;) {
      if (dependent_[i]) send_back(i);
    }
    for (std::size_t w = 0; w < wanted_.size(); ++w) gradients_.push_back(total(w));
  }

  const std::vector<Expr>& gradients() const { return gradients_; }

  Audit audit() const {
    Audit audit{errors_};
    audit.entries.insert(audit.entries.end(), flats_.begin(), flats_.end());
    audit.entries.insert(audit.entries.end(), rest_.begin(), rest_.end());
    return audit;
  }

 private:
  struct Cut {
    std::size_t node = 0;
    bool is_flat = false;
  };

  void take_stable_logs() {
    const StableLogs stable(order_, wrt_);
    if (stable.entries().empty()) return;
    rest_ = stable.entries();
    root_ = stable(root_);
    for (Expr& w : wanted_) w = stable(w);
    order_ = Order({&root_, 1});
  }

  void number_values() {
    first_.reserve(order_.nodes.size() + 1);
    first_input_.reserve(order_.nodes.size() + 1);
    std::size_t results = 0;
    for (const Node* node : order_.nodes) {
      first_.push_back(results);
      results += node->results.size();
      first_input_.push_back(inputs_.size());
      for (const Expr& in : node->inputs) inputs_.push_back(order_.index.find(in.node()));
    }
    adjoints_.resize(results);
    totals_.resize(results);
    is_wanted_.assign(results, 0);
  }

  std::size_t slot(const Expr& e) const {
    return first_[static_cast<std::size_t>(order_.index.find(e.node()))] +
           static_cast<std::size_t>(e.result());
  }
  std::size_t input_node(std::size_t i, std::size_t n) const {
    return static_cast<std::size_t>(inputs_[first_input_[i] + n]);
  }

  void mark_dependent() {
    dependent_.assign(order_.nodes.size(), 0);
    for (const Expr& w : wanted_) {
      const std::int32_t at = order_.index.find(w.node());
      if (at == NodeIndex::none) continue;
      dependent_[static_cast<std::size_t>(at)] = 1;
      is_wanted_[slot(w)] = 1;
    }
    spread(dependent_);
  }

  // Marks every node that depends on a marked one.
  void spread(std::vector<char>& marks) const {
    for (std::size_t i = 0; i < order_.nodes.size(); ++i) {
      for (std::size_t n = 0; n < order_.nodes[i]->inputs.size(); ++n) {
        if (marks[input_node(i, n)]) marks[i] = 1;
      }
    }
  }

  void send_back(std::size_t i) {
    const Node& node = *order_.nodes[i];
    note_change_of_type(i);
    bool any = false;
    const Origin origin = gradient_origin(node);
    const OriginScope scope(origin);
    joined_.assign(node.results.size(), Expr());
    for (std::size_t r = 0; r < node.results.size(); ++r) {
      std::vector<Expr>& parts = adjoints_[first_[i] + r];
      if (parts.empty()) continue;
      joined_[r] = sum_of_contributions(std::move(parts));
      parts = {};
      any = true;
      if (is_wanted_[first_[i] + r]) totals_[first_[i] + r] = joined_[r];
    }
    if (!any || node.inputs.empty()) return;
    wants_.clear();
    bool wanted = false;
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      wants_.push_back(dependent_[input_node(i, n)] && is_floating(node.inputs[n].dtype()));
      wanted = wanted || wants_.back();
    }
    if (wanted) differentiate(i);
  }

  void differentiate(std::size_t i) {
    const Node& node = *order_.nodes[i];
    const Expr self(&node, 0);
    std::vector<Expr> gradients;
    try {
      gradients = node.op->vjp(Backward(node, joined_, wants_));
      require(gradients.size() == node.inputs.size(), "the op gave ", gradients.size(),
              " gradients for ", node.inputs.size(), " inputs");
    } catch (const Error& error) {
      errors_.push_back(
          {Kind::missing, self, -1, "gradient of " + describe(self) + ": " + error.what()});
      cuts_.push_back({i, false});
      return;
    }
    for (std::size_t n = 0; n < gradients.size(); ++n) {
      if (!wants_[n]) continue;
      const Expr& in = node.inputs[n];
      if (!gradients[n]) {
        note_missing(i, n);
      } else if (!(gradients[n].type() == in.type())) {
        errors_.push_back({Kind::missing, self, static_cast<int>(n),
                           "the gradient of " + describe(self) +
                               join({" for input ", n, ", ", describe(in), ", has type "}) +
                               to_string(gradients[n].type()) + ", expected " +
                               to_string(in.type())});
        cuts_.push_back({i, false});
      } else if (is_zero(gradients[n])) {
        cuts_.push_back({i, true});
        rest_.push_back(
            {Kind::level, self, static_cast<int>(n),
             describe(self) + ": slope 0 everywhere, the gradient by " + describe(in) + " is 0"});
      } else {
        adjoints_[first_[input_node(i, n)] + static_cast<std::size_t>(in.result())].push_back(
            std::move(gradients[n]));
      }
    }
  }

  void note_missing(std::size_t i, std::size_t n) {
    const Node& node = *order_.nodes[i];
    const Expr self(&node, 0);
    const std::string input = describe(node.inputs[n]);
    cuts_.push_back({i, false});
    if (!node.op->not_differentiable(static_cast<int>(n))) {
      errors_.push_back({Kind::missing, self, static_cast<int>(n),
                         describe(self) + join({" has no gradient for input ", n, ", "}) + input +
                             ", and does not declare that"});
    } else if (is_stop_gradient(node)) {
      rest_.push_back({Kind::stopped, self, static_cast<int>(n),
                       describe(self) + ": no gradient flows to " + input});
    } else if (!is_custom_gradient(node)) {
      rest_.push_back({Kind::cut, self, static_cast<int>(n),
                       describe(self) + " declares no gradient: none flows to " + input});
    }
  }

  // Floating values that others depend on become integers or truth values here.
  void note_change_of_type(std::size_t i) {
    const Node& node = *order_.nodes[i];
    for (const TensorType& type : node.results) {
      if (is_floating(type.dtype)) return;
    }
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      if (!dependent_[input_node(i, n)] || !is_floating(node.inputs[n].dtype())) continue;
      cuts_.push_back({i, false});
      rest_.push_back({Kind::cut, Expr(&node, 0), static_cast<int>(n),
                       describe(Expr(&node, 0)) + " gives " + type_names(node) +
                           ": no gradient flows to " + describe(node.inputs[n])});
      return;
    }
  }

  // The gradient by a wanted value; where there is none, an entry says why.
  Expr total(std::size_t w) {
    const Expr& value = wanted_[w];
    const auto refuse = [&](const std::string& why) {
      errors_.push_back(
          {Kind::unreached, wrt_[w], -1, "no gradient reaches " + describe(wrt_[w]) + ": " + why});
      return Expr();
    };
    const std::int32_t at = order_.index.find(value.node());
    if (at == NodeIndex::none) return refuse(describe(y_) + " does not depend on it");
    if (const Expr& sum = totals_[slot(value)]) return sum;
    if (!is_floating(value.dtype())) {
      return refuse("it is " + std::string(name(value.dtype())) +
                    ", and only floating values have gradients");
    }
    std::vector<char> behind(order_.nodes.size(), 0);
    behind[static_cast<std::size_t>(at)] = 1;
    spread(behind);
    const bool is_flat = std::any_of(cuts_.begin(), cuts_.end(),
                                     [&](const Cut& c) { return c.is_flat && behind[c.node]; });
    const std::string places = cuts_behind(behind);
    if (!is_flat) return refuse("every path is cut, at " + places);
    flats_.push_back(
        {Kind::flat, wrt_[w], -1,
         "the gradient of " + describe(wrt_[w]) + " is 0: every path goes through " + places});
    return broadcast_to(constant(zeros({}, value.dtype())), value.shape());
  }

  std::string cuts_behind(const std::vector<char>& behind) const {
    constexpr std::size_t most = 4;
    std::vector<std::string> places;
    for (const Cut& cut : cuts_) {
      if (!behind[cut.node]) continue;
      std::string place = describe(Expr(order_.nodes[cut.node], 0));
      if (std::find(places.begin(), places.end(), place) == places.end())
        places.push_back(std::move(place));
    }
    std::string text;
    for (std::size_t k = 0; k < std::min(places.size(), most); ++k)
      text += (k == 0 ? "" : ", ") + places[k];
    return places.size() > most ? text + join({" and ", places.size() - most, " more"}) : text;
  }

  const Expr& y_;
  std::span<const Expr> wrt_;
  Expr root_;                 // y in the graph that is differentiated
  std::vector<Expr> wanted_;  // wrt in that graph
  Order order_;
  std::vector<std::int32_t> inputs_;         // numbers of all nodes' inputs, one after the other
  std::vector<std::size_t> first_input_;     // per node: where its inputs begin
  std::vector<std::size_t> first_;           // per node: the number of its first result
  std::vector<std::vector<Expr>> adjoints_;  // per result: contributions not yet added
  std::vector<Expr> totals_;                 // per result that is wanted
  std::vector<char> is_wanted_, dependent_;
  std::vector<Expr> joined_;  // of the node at hand
  std::vector<char> wants_;
  std::vector<Cut> cuts_;
  std::vector<AuditEntry> errors_, flats_, rest_;
  std::vector<Expr> gradients_;
};

void check_question(const Expr& y, std::span<const Expr> wrt, SourceLoc where) {
  require(static_cast<bool>(y), "the gradient of an empty Expr (", to_string(where), ")");
  require(is_floating(y.dtype()), "gradient of ", describe(y), " asked for at ", to_string(where),
          ": it must be floating, it is ", to_string(y.type()));
  for (const Expr& w : wrt)
    require(static_cast<bool>(w), "the gradient by an empty Expr (", to_string(where), ")");
}

}  // namespace

std::vector<Expr> vjp(const Expr& y, const Expr& dy, std::span<const Expr> wrt, SourceLoc where) {
  check_question(y, wrt, where);
  require(static_cast<bool>(dy), "the adjoint of ", describe(y), " is an empty Expr (",
          to_string(where), ")");
  require(dy.type() == y.type(), "the adjoint of ", describe(y), " must be ", to_string(y.type()),
          ", got ", to_string(dy.type()));
  const Differentiation backwards(y, dy, wrt);
  std::string wrong;
  for (const AuditEntry& entry : backwards.audit().entries) {
    if (entry.is_error()) wrong += "\n  " + entry.text;
  }
  require(wrong.empty(), "gradient of ", describe(y), " asked for at ", to_string(where), ":",
          wrong);
  return backwards.gradients();
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

Audit audit(const Expr& y, std::span<const Expr> wrt, SourceLoc where) {
  check_question(y, wrt, where);
  const std::vector<Expr> parameters =
      wrt.empty() ? parameters_of({&y, 1}) : std::vector<Expr>(wrt.begin(), wrt.end());
  const Expr dy = broadcast_to(constant(ones({}, y.dtype())), y.shape());
  return Differentiation(y, dy, parameters).audit();
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
