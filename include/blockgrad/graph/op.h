#pragma once
// What an op is: a plain struct with a name, a type rule and a gradient. Op holds any such struct
// by value; a user's op is the same thing as a built-in one.

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

#include "blockgrad/graph/expr.h"

namespace blockgrad {

/// The types of an op's inputs.
using Types = std::span<const TensorType>;

/// What a gradient rule sees: the node's inputs, results and the adjoints of its results.
class Backward {
 public:
  Backward(const Node& node, std::span<const Expr> adjoints, std::span<const char> wants)
      : node_(node), adjoints_(adjoints), wants_(wants) {}

  const Expr& input(int i) const;
  int input_count() const;
  Expr y(int result = 0) const;
  /// The adjoint of a result; zeros if nothing flows into it.
  Expr dy(int result = 0) const;
  bool has_dy(int result = 0) const {
    return static_cast<bool>(adjoints_[static_cast<std::size_t>(result)]);
  }
  /// Whether the gradient of this input is used; others may stay empty.
  bool wants(int input) const { return wants_[static_cast<std::size_t>(input)] != 0; }

 private:
  const Node& node_;
  std::span<const Expr> adjoints_;
  std::span<const char> wants_;
};

/// A fraction as an attribute: equal by bits (0.0 and -0.0 differ, NaN equals itself).
struct Number {
  double value = 0;
  Number() = default;
  Number(double v) : value(v) {}
  bool operator==(const Number& other) const;
};

/// FLOPs and bytes moved by one evaluation.
struct Cost {
  double flops = 0;
  double bytes = 0;
};

/// Required of an op: `name`, `infer(Types)` giving a TensorType or a vector of them (throws
/// Error), `vjp(Backward)` giving one gradient per input (empty: none), and `==` over its
/// attributes. Optional members, each on a line of its own:
///
/// * `expand(span<const Expr>)` gives an Expr or a vector: the op written with other ops.
/// * `log(span<const Expr>)` gives the logarithm of the result in a form that cannot overflow; an
///   empty Expr where there is none. It replaces log(y) before gradients are taken, and in
///   programs.
/// * `not_differentiable(int)` declares that an input has no gradient.
/// * `title()` is what users call it, where that is not `name`; a literal.
/// * `hash()` spreads ops of one name while equal nodes are merged.
/// * `print()` gives the attributes for dumps.
/// * `cost(Types inputs, Types results)` where elements and bytes of all operands are wrong.
/// * `accepts(int input, const Layout&)` says which layouts an input may have; default: dense only.
/// * `makes(int result, const Layout&)` says which layouts a result may be written in; default:
///   dense only.
template <class T>
concept OpLike = requires(const T& op, Types in, const Backward& b) {
  // First, so that the question is settled for Op itself before it asks whether an Op can be
  // copied.
  { T::name } -> std::convertible_to<std::string_view>;
  op.infer(in);
  { op.vjp(b) } -> std::same_as<std::vector<Expr>>;
} && std::copyable<T> && std::equality_comparable<T>;

namespace detail {

struct OpModel {
  const std::string_view key;  // T::name: settles most questions for another type at once

  explicit OpModel(std::string_view k) : key(k) {}
  virtual ~OpModel() = default;
  virtual std::string_view name() const = 0;
  virtual std::string print() const = 0;
  virtual std::vector<TensorType> infer(Types in) const = 0;
  virtual std::vector<Expr> vjp(const Backward& b) const = 0;
  virtual bool has_expand() const = 0;
  virtual std::vector<Expr> expand(std::span<const Expr> inputs) const = 0;
  virtual bool has_log() const = 0;
  virtual Expr log(std::span<const Expr> inputs) const = 0;
  virtual bool not_differentiable(int input) const = 0;
  virtual bool accepts(int input, const Layout& layout) const = 0;
  virtual bool makes(int result, const Layout& layout) const = 0;
  virtual Cost cost(Types in, Types out) const = 0;
  virtual bool equals(const OpModel& other) const = 0;
  virtual std::size_t hash() const = 0;
  virtual const std::type_info& type() const = 0;
};

/// One element operation per element of the results; all operands move once.
Cost default_cost(Types in, Types out);

template <class T>
std::vector<T> as_vector(T value) {
  std::vector<T> all;
  all.push_back(std::move(value));
  return all;
}
template <class T>
std::vector<T> as_vector(std::vector<T> values) {
  return values;
}

template <OpLike T>
struct OpHolder final : OpModel {
  T op;
  explicit OpHolder(T o) : OpModel(T::name), op(std::move(o)) {}

  std::string_view name() const override {
    if constexpr (requires { op.title(); }) return op.title();
    else return T::name;
  }
  std::string print() const override {
    if constexpr (requires { op.print(); }) return op.print();
    else return {};
  }
  std::vector<TensorType> infer(Types in) const override { return as_vector(op.infer(in)); }
  std::vector<Expr> vjp(const Backward& b) const override { return op.vjp(b); }
  bool has_expand() const override {
    return requires(std::span<const Expr> in) { op.expand(in); };
  }
  std::vector<Expr> expand([[maybe_unused]] std::span<const Expr> inputs) const override {
    if constexpr (requires { op.expand(inputs); }) return as_vector(op.expand(inputs));
    else return {};
  }
  bool has_log() const override {
    return requires(std::span<const Expr> in) { op.log(in); };
  }
  Expr log([[maybe_unused]] std::span<const Expr> inputs) const override {
    if constexpr (requires { op.log(inputs); }) return op.log(inputs);
    else return {};
  }
  bool not_differentiable([[maybe_unused]] int input) const override {
    if constexpr (requires { op.not_differentiable(input); }) return op.not_differentiable(input);
    else return false;
  }
  bool accepts([[maybe_unused]] int input, const Layout& layout) const override {
    if constexpr (requires { op.accepts(input, layout); }) return op.accepts(input, layout);
    else return layout.is_dense();
  }
  bool makes([[maybe_unused]] int result, const Layout& layout) const override {
    if constexpr (requires { op.makes(result, layout); }) return op.makes(result, layout);
    else return layout.is_dense();
  }
  Cost cost(Types in, Types out) const override {
    if constexpr (requires { op.cost(in, out); }) return op.cost(in, out);
    else return default_cost(in, out);
  }
  bool equals(const OpModel& other) const override {
    return other.type() == typeid(T) && static_cast<const OpHolder&>(other).op == op;
  }
  std::size_t hash() const override {
    if constexpr (requires { op.hash(); }) return typeid(T).hash_code() ^ op.hash();
    else return typeid(T).hash_code();
  }
  const std::type_info& type() const override { return typeid(T); }
};

}  // namespace detail

/// Any op, by value. Immutable; copies share.
class Op {
 public:
  template <OpLike T>
  Op(T op) : model_(std::make_shared<const detail::OpHolder<T>>(std::move(op))) {}

  const detail::OpModel* operator->() const { return model_.get(); }
  const std::type_info& type() const { return model_->type(); }
  bool operator==(const Op& other) const {
    return model_ == other.model_ || model_->equals(*other.model_);
  }

  /// The struct inside if it is a T, else null.
  template <OpLike T>
  const T* as() const {
    const bool is_one = model_->key == std::string_view(T::name) && model_->type() == typeid(T);
    return is_one ? &static_cast<const detail::OpHolder<T>&>(*model_).op : nullptr;
  }

 private:
  std::shared_ptr<const detail::OpModel> model_;
};

/// One operation of the graph. Never changes after make().
struct Node {
  Op op;
  std::vector<Expr> inputs;
  std::vector<TensorType> results;
  Origin origin;

  Node(Op o, std::vector<Expr> in, std::vector<TensorType> out, Origin from);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

 private:
  friend void detail::retain(const Node*) noexcept;
  friend void detail::release(const Node*) noexcept;
  mutable std::int64_t references_ = 0;
  mutable const Node* next_dead_ = nullptr;
};

/// Makes a node: runs the type rule once; its Error gets op, scope and line in front.
Expr make(Op op, std::vector<Expr> inputs, SourceLoc where = SourceLoc::here());
/// The same for ops with several results.
std::vector<Expr> make_all(Op op, std::vector<Expr> inputs, SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
