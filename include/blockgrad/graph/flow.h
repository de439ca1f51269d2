#pragma once
// Ops that change no value and steer what flows back: stop_gradient, custom_gradient, checkpoint.

#include <concepts>
#include <type_traits>
#include <utility>
#include <vector>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// x, through which no gradient flows; audit() lists it.
Expr stop_gradient(const Arg& x);

/// x, at a point where memory may be traded for computing it again. Results never depend on it.
Expr checkpoint(const Arg& x);

/// A rule that keeps nothing of its own: a function, or a lambda or struct without members. A
/// closure's captures would dangle and cannot be compared; what a rule needs are inputs and
/// attributes.
template <class F>
concept WithoutCaptures = std::is_pointer_v<F> || (std::is_empty_v<F> && std::semiregular<F>);

namespace detail {

struct NoAttributes {
  bool operator==(const NoAttributes&) const = default;
};

inline constexpr std::string_view custom_gradient_name = "custom_gradient";

// Inputs: those of the rule, then y. A rule sees its own inputs by number, and y as the result.
template <class F, class Attributes>
struct CustomGradient {
  static constexpr std::string_view name = custom_gradient_name;
  int inputs = 0;
  Attributes attributes;
  F rule;

  bool operator==(const CustomGradient& other) const {
    if constexpr (std::is_pointer_v<F>) {
      if (rule != other.rule) return false;
    }
    return inputs == other.inputs && attributes == other.attributes;
  }
  TensorType infer(Types in) const { return in.back(); }
  std::vector<Expr> vjp(const Backward& b) const {
    std::vector<Expr> gradients = apply(b);
    require(static_cast<int>(gradients.size()) == inputs, "the rule gave ", gradients.size(),
            " gradients for ", inputs, " inputs");
    gradients.emplace_back();
    return gradients;
  }
  bool not_differentiable(int input) const { return input == inputs; }
  Expr expand(std::span<const Expr> in) const { return in.back(); }

 private:
  std::vector<Expr> apply(const Backward& b) const {
    if constexpr (std::is_same_v<Attributes, NoAttributes>) return rule(b);
    else return rule(b, attributes);
  }
};

}  // namespace detail

/// y, whose gradient with respect to `inputs` is what `rule` says instead of what follows from how
/// y was made. rule(const Backward& b) gives one gradient per input, each of its input's type;
/// b.input(i) are `inputs`, b.y() is y, b.dy() its adjoint. No other gradient flows into y. A wrong
/// number or type of gradients is an Error of grad that names this line. Example, a rounding whose
/// gradient passes: `custom_gradient(round(x), {x}, [](const Backward& b) { return
/// std::vector{b.dy()}; })`.
template <WithoutCaptures F>
Expr custom_gradient(const Expr& y, std::vector<Expr> inputs, F rule,
                     SourceLoc where = SourceLoc::here()) {
  const int count = static_cast<int>(inputs.size());
  inputs.push_back(y);
  return make(detail::CustomGradient<F, detail::NoAttributes>{count, {}, rule}, std::move(inputs),
              where);
}

/// The same with numbers for the rule, rule(b, attributes): a struct with ==.
template <std::equality_comparable Attributes, WithoutCaptures F>
Expr custom_gradient(const Expr& y, std::vector<Expr> inputs, Attributes attributes, F rule,
                     SourceLoc where = SourceLoc::here()) {
  const int count = static_cast<int>(inputs.size());
  inputs.push_back(y);
  return make(detail::CustomGradient<F, Attributes>{count, std::move(attributes), rule},
              std::move(inputs), where);
}

}  // namespace blockgrad
