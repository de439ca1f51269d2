#pragma once
// The ops without inputs: what a run is fed, what never changes, and storage.

#include "blockgrad/graph/op.h"
#include "blockgrad/graph/stored.h"

namespace blockgrad {

struct Input {
  static constexpr std::string_view name = "input";
  std::string label_name;
  TensorType type;
  bool operator==(const Input&) const = default;
  TensorType infer(Types) const { return type; }
  std::vector<Expr> vjp(const Backward&) const { return {}; }
  std::string print() const { return label_name; }
  std::size_t hash() const { return std::hash<std::string>{}(label_name); }
};

/// Equal by identity of the data.
struct Constant {
  static constexpr std::string_view name = "constant";
  Tensor tensor;
  bool operator==(const Constant& other) const {
    return tensor.bytes() == other.tensor.bytes() && tensor.type() == other.tensor.type();
  }
  std::size_t hash() const { return std::hash<const void*>{}(tensor.bytes()); }
  TensorType infer(Types) const { return tensor.type(); }
  std::vector<Expr> vjp(const Backward&) const { return {}; }
};

/// A parameter or a state; equal by identity of the storage.
struct StoredLeaf {
  static constexpr std::string_view name = "stored";
  std::shared_ptr<Stored> storage;
  bool trainable = true;
  bool operator==(const StoredLeaf&) const = default;
  TensorType infer(Types) const { return storage->type(); }
  std::vector<Expr> vjp(const Backward&) const { return {}; }
  std::string_view title() const { return trainable ? "parameter" : "state"; }
  std::string print() const { return storage->name(); }
  std::size_t hash() const { return std::hash<const void*>{}(storage.get()); }
};

}  // namespace blockgrad
