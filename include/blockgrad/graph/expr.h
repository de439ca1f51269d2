#pragma once
// Expr: a cheap handle to one result of an immutable node. A node keeps what it points to alive;
// handles may be shared between threads. Nothing here is computed before a Program runs.

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/error.h"
#include "blockgrad/graph/shape.h"
#include "blockgrad/graph/tensor.h"

namespace blockgrad {

class Op;
class Stored;
struct Node;

namespace detail {
void retain(const Node* node) noexcept;
void release(const Node* node) noexcept;
}  // namespace detail

class Expr {
 public:
  /// Refers to nothing; as a gradient: there is none.
  Expr() = default;
  Expr(const Node* node, int result) : node_(node), result_(result) {
    if (node_) detail::retain(node_);
  }
  Expr(const Expr& other) : Expr(other.node_, other.result_) {}
  Expr(Expr&& other) noexcept
      : node_(std::exchange(other.node_, nullptr)), result_(other.result_) {}
  Expr& operator=(Expr other) noexcept {
    std::swap(node_, other.node_);
    std::swap(result_, other.result_);
    return *this;
  }
  ~Expr() {
    if (node_) detail::release(node_);
  }

  explicit operator bool() const { return node_ != nullptr; }
  /// Identity, for containers; values are compared with equal(a, b).
  bool operator==(const Expr& other) const {
    return node_ == other.node_ && result_ == other.result_;
  }

  const Node* node() const { return node_; }
  int result() const { return result_; }
  const Op& op() const;
  const TensorType& type() const;
  const Shape& shape() const { return type().shape; }
  DType dtype() const { return type().dtype; }
  int rank() const { return shape().rank(); }

  /// The current value of a parameter or state, or the value of a constant, copied. Throws Error
  /// for other nodes.
  Tensor value() const;
  /// Writes a parameter or state between runs. Throws Error if the type differs or the leaf has no
  /// storage.
  void set_value(const Tensor& value) const;

 private:
  const Node* node_ = nullptr;
  int result_ = 0;
};

/// The parameter type of every op: an Expr or a plain number, with the caller's line.
class Arg {
 public:
  Arg(const Expr& expr, SourceLoc where = SourceLoc::here()) : expr_(expr), where_(where) {}
  Arg(double number, SourceLoc where = SourceLoc::here())
      : number_(number), is_number_(true), where_(where) {}
  template <std::same_as<bool> B>
  Arg(B) = delete;  // `==` on Expr is identity; compare values with equal(a, b)

  bool is_number() const { return is_number_; }
  const Expr& expr() const { return expr_; }
  double number() const { return number_; }
  SourceLoc where() const { return where_; }

 private:
  Expr expr_;
  double number_ = 0;
  bool is_number_ = false;
  SourceLoc where_;
};

/// The Expr of an argument; a number becomes a scalar constant of `dtype`. Throws Error for an
/// empty Expr.
Expr as_expr(const Arg& arg, DType dtype);

/// A value fed in each run.
Expr input(std::string name, const Shape& shape, DType dtype = DType::f32,
           SourceLoc where = SourceLoc::here());
/// A value that never changes. Constants are equal by identity of the tensor.
Expr constant(const Tensor& tensor, SourceLoc where = SourceLoc::here());
/// Storage that an optimizer changes; found by `minimize` from the loss. Named, so that it can be
/// saved.
Expr parameter(const Tensor& initial, std::string name, SourceLoc where = SourceLoc::here());
/// Storage that updates or the host change: moments, settings, counters.
Expr state(const Tensor& initial, std::string name, SourceLoc where = SourceLoc::here());

bool is_parameter(const Expr& expr);
/// The storage of a parameter or state, else null.
std::shared_ptr<Stored> stored(const Expr& expr);
/// The name of an input, parameter or state, else "".
std::string leaf_name(const Expr& expr);

/// "matmul fc1 (train.cpp:41)": op, scope and line of the node behind an Expr.
std::string describe(const Expr& expr);

}  // namespace blockgrad

template <>
struct std::hash<blockgrad::Expr> {
  std::size_t operator()(const blockgrad::Expr& e) const noexcept {
    return std::hash<const void*>{}(e.node()) * 31 + static_cast<std::size_t>(e.result());
  }
};
