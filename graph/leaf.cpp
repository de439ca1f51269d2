#include "blockgrad/graph/leaf.h"

namespace blockgrad {

namespace {

Expr make_stored(const Tensor& initial, std::string name, bool trainable, SourceLoc where) {
  require(!name.empty(), trainable ? "a parameter" : "a state", " needs a name (", to_string(where),
          ")");
  return make(StoredLeaf{std::make_shared<Stored>(initial, std::move(name)), trainable}, {}, where);
}

}  // namespace

Expr input(std::string name, const Shape& shape, DType dtype, SourceLoc where) {
  require(!name.empty(), "an input needs a name (", to_string(where), ")");
  return make(Input{std::move(name), {dtype, shape}}, {}, where);
}

Expr constant(const Tensor& tensor, SourceLoc where) { return make(Constant{tensor}, {}, where); }

Expr parameter(const Tensor& initial, std::string name, SourceLoc where) {
  require(is_floating(initial.dtype()), "parameter '", name, "' (", to_string(where),
          ") must be floating, got ", initial.dtype());
  return make_stored(initial, std::move(name), true, where);
}

Expr state(const Tensor& initial, std::string name, SourceLoc where) {
  return make_stored(initial, std::move(name), false, where);
}

bool is_parameter(const Expr& expr) {
  if (!expr) return false;
  const auto* leaf = expr.op().as<StoredLeaf>();
  return leaf && leaf->trainable;
}

std::shared_ptr<Stored> stored(const Expr& expr) {
  if (!expr) return nullptr;
  const auto* leaf = expr.op().as<StoredLeaf>();
  return leaf ? leaf->storage : nullptr;
}

std::string leaf_name(const Expr& expr) {
  if (!expr) return {};
  if (const auto* leaf = expr.op().as<Input>()) return leaf->label_name;
  if (const auto* leaf = expr.op().as<StoredLeaf>()) return leaf->storage->name();
  return {};
}

Expr as_expr(const Arg& arg, DType dtype) {
  if (!arg.is_number() && !arg.expr())
    fail({"an operand is an empty Expr (", to_string(arg.where()), ")"});
  return arg.is_number() ? constant(full({}, arg.number(), dtype), arg.where()) : arg.expr();
}

}  // namespace blockgrad
