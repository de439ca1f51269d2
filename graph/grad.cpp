#include "blockgrad/graph/grad.h"

#include <algorithm>
#include <functional>
#include <map>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/contributions.h"
#include "graph/flow.h"
#include "graph/gradient_paths.h"
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

class Differentiation {
 public:
  Differentiation(const Expr& y, const Expr& dy, std::span<const Expr> wrt)
      : Differentiation(y, dy, wrt, with_stable_logs(y, wrt)) {}

  const std::vector<Expr>& gradients() const { return gradients_; }

  Audit audit() const {
    Audit audit{errors_};
    audit.entries.insert(audit.entries.end(), flats_.begin(), flats_.end());
    audit.entries.insert(audit.entries.end(), rest_.begin(), rest_.end());
    return audit;
  }

 private:
  // Where a gradient ends though its op does not say so beforehand.
  struct Cut {
    std::size_t node = 0;
    std::size_t input = 0;
    bool is_flat = false;
  };

  Differentiation(const Expr& y, const Expr& dy, std::span<const Expr> wrt, GradientQuestion asked)
      : y_(y),
        wrt_(wrt),
        root_(std::move(asked.root)),
        wanted_(std::move(asked.wanted)),
        order_(std::move(asked.order)),
        paths_(order_, root_),
        left_out_(paths_.left_out(wanted_)),
        adjoints_(paths_.results()),
        totals_(paths_.results()),
        is_wanted_(paths_.results(), 0),
        rest_(std::move(asked.rewritten)) {
    mark_dependent();
    adjoints_[paths_.number(root_)].push_back(dy);
    for (std::size_t i = order_.nodes.size(); i-- > 0;) {
      if (dependent_[i]) send_back(i);
    }
    for (std::size_t w = 0; w < wanted_.size(); ++w) gradients_.push_back(total(w));
  }

  void mark_dependent() {
    dependent_.assign(order_.nodes.size(), 0);
    for (const Expr& w : wanted_) {
      const std::int32_t at = order_.index.find(w.node());
      if (at == NodeIndex::none) continue;
      dependent_[static_cast<std::size_t>(at)] = 1;
      is_wanted_[paths_.number(w)] = 1;
    }
    for (std::size_t i = 0; i < order_.nodes.size(); ++i) {
      for (std::size_t n = 0; n < order_.nodes[i]->inputs.size(); ++n) {
        if (dependent_[paths_.input(i, n)]) dependent_[i] = 1;
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
      std::vector<Expr>& parts = adjoints_[paths_.number(i, r)];
      if (parts.empty()) continue;
      joined_[r] = sum_of_contributions(std::move(parts));
      parts = {};
      any = true;
      if (is_wanted_[paths_.number(i, r)]) totals_[paths_.number(i, r)] = joined_[r];
    }
    if (!any || node.inputs.empty()) return;
    wants_.clear();
    bool wanted = false;
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      wants_.push_back(dependent_[paths_.input(i, n)] && is_floating(node.inputs[n].dtype()));
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
    } catch (const InternalError&) {
      throw;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {  // a user's rule may throw anything
      const std::string context = to_string(gradient_origin(node), node.op->name());
      const std::string why = error.what();
      errors_.push_back(
          {Kind::missing, self, -1,
           why.starts_with(context) ? why : "gradient of " + describe(self) + ": " + why});
      for (std::size_t n = 0; n < node.inputs.size(); ++n) {
        if (wants_[n]) cuts_.push_back({i, n, false});
      }
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
        cuts_.push_back({i, n, false});
      } else if (is_zero(gradients[n])) {
        cuts_.push_back({i, n, true});
        rest_.push_back(
            {Kind::level, self, static_cast<int>(n),
             describe(self) + ": slope 0 everywhere, the gradient by " + describe(in) + " is 0"});
      } else {
        adjoints_[paths_.number(in)].push_back(std::move(gradients[n]));
      }
    }
  }

  void note_missing(std::size_t i, std::size_t n) {
    const Node& node = *order_.nodes[i];
    const Expr self(&node, 0);
    const std::string input = describe(node.inputs[n]);
    if (!node.op->not_differentiable(static_cast<int>(n))) {
      cuts_.push_back({i, n, false});
      errors_.push_back({Kind::missing, self, static_cast<int>(n),
                         describe(self) + join({" has no gradient for input ", n, ", "}) + input +
                             ", and does not declare that"});
    } else if (is_stop_gradient(node)) {
      rest_.push_back({Kind::stopped, self, static_cast<int>(n),
                       describe(self) + ": no gradient flows to " + input});
    } else if (is_custom_gradient(node)) {
      note_left_out(i);
    } else {
      rest_.push_back({Kind::cut, self, static_cast<int>(n),
                       describe(self) + " declares no gradient: none flows to " + input});
    }
  }

  void note_left_out(std::size_t i) {
    const auto found = left_out_.find(i);
    if (found == left_out_.end()) return;
    const auto [first, count] = found->second;
    const Expr self(order_.nodes[i], 0);
    std::string text = describe(self) + ": no gradient flows to " + describe(wrt_[first]);
    if (count > 1) text += join({" and ", count - 1, " more"});
    rest_.push_back({Kind::cut, self, static_cast<int>(self.node()->inputs.size()) - 1,
                     text + ", which its value depends on and its rule's inputs do not"});
  }

  // Floating values that others depend on become integers or truth values here, and are read.
  void note_change_of_type(std::size_t i) {
    const Node& node = *order_.nodes[i];
    std::string types;
    for (std::size_t r = 0; r < node.results.size(); ++r) {
      const DType dtype = node.results[r].dtype;
      if (!is_floating(dtype) && paths_.is_read(i, r))
        types += (types.empty() ? "" : ", ") + std::string(name(dtype));
    }
    if (types.empty()) return;
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      if (!dependent_[paths_.input(i, n)] || !is_floating(node.inputs[n].dtype())) continue;
      cuts_.push_back({i, n, false});
      rest_.push_back({Kind::cut, Expr(&node, 0), static_cast<int>(n),
                       describe(Expr(&node, 0)) + " gives " + types + ": no gradient flows to " +
                           describe(node.inputs[n])});
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
    if (const Expr& sum = totals_[paths_.number(value)]) return sum;
    if (!is_floating(value.dtype())) {
      return refuse("it is " + std::string(name(value.dtype())) +
                    ", and only floating values have gradients");
    }
    std::vector<char> behind(order_.nodes.size(), 0);
    behind[static_cast<std::size_t>(at)] = 1;
    paths_.spread(behind);
    bool is_flat = false;
    const std::string places = ends_behind(behind, is_flat);
    if (places.empty()) return refuse(describe(y_) + " does not depend on it");
    if (!is_flat) return refuse("every path is cut, at " + places);
    flats_.push_back(
        {Kind::flat, wrt_[w], -1,
         "the gradient of " + describe(wrt_[w]) + " is 0: every path goes through " + places});
    return broadcast_to(constant(zeros({}, value.dtype())), value.shape());
  }

  // The nodes where the paths from marked ones end, the first few from the output on, and whether
  // one of them is of slope 0.
  std::string ends_behind(const std::vector<char>& behind, bool& is_flat) const {
    std::vector<std::size_t> ends;
    for (const Cut& cut : cuts_) {
      if (!behind[paths_.input(cut.node, cut.input)]) continue;
      ends.push_back(cut.node);
      is_flat = is_flat || cut.is_flat;
    }
    for (std::size_t i = 0; i < order_.nodes.size(); ++i) {
      const std::vector<Expr>& inputs = order_.nodes[i]->inputs;
      for (std::size_t n = 0; n < inputs.size(); ++n) {
        if (behind[paths_.input(i, n)] && is_floating(inputs[n].dtype()) && paths_.is_closed(i, n))
          ends.push_back(i);
      }
    }
    std::sort(ends.begin(), ends.end(), std::greater());
    constexpr std::size_t most = 4;
    std::vector<std::string> places;
    for (const std::size_t end : ends) {
      std::string place = describe(Expr(order_.nodes[end], 0));
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
  GradientPaths paths_;
  std::map<std::size_t, GradientPaths::LeftOut> left_out_;
  std::vector<std::vector<Expr>> adjoints_;  // per result: contributions not yet added
  std::vector<Expr> totals_;                 // per result that is wanted
  std::vector<char> is_wanted_;              // per result
  std::vector<char> dependent_;              // per node
  std::vector<Expr> joined_;                 // of the node at hand
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
