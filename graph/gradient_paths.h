#pragma once
// GradientPaths: between the nodes behind a value, where gradients may flow as far as is known
// before any rule is asked.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "blockgrad/graph/op.h"
#include "graph/order.h"

namespace blockgrad {

class GradientPaths {
 public:
  /// `order` is of the nodes behind `root` and outlives this.
  GradientPaths(const Order& order, const Expr& root);

  /// The number of all results, and that of a value among them.
  std::size_t results() const { return is_read_.size(); }
  std::size_t number(std::size_t node, std::size_t result) const { return first_[node] + result; }
  std::size_t number(const Expr& e) const {
    return number(static_cast<std::size_t>(order_.index.find(e.node())),
                  static_cast<std::size_t>(e.result()));
  }
  /// The node that makes input n of a node.
  std::size_t input(std::size_t node, std::size_t n) const {
    return static_cast<std::size_t>(inputs_[first_input_[node] + n]);
  }
  /// Whether a result is read by a node, or is the root.
  bool is_read(std::size_t node, std::size_t result) const {
    return is_read_[number(node, result)] != 0;
  }
  /// Whether nothing can flow from a node to its input n.
  bool is_closed(std::size_t node, std::size_t n) const;

  /// Adds to each node the marks of those that it may send a gradient to.
  template <class Mark>
  void spread(std::vector<Mark>& marks) const {
    for (std::size_t i = 0; i < order_.nodes.size(); ++i) {
      for (std::size_t n = 0; n < order_.nodes[i]->inputs.size(); ++n) {
        if (marks[input(i, n)] != 0 && !is_closed(i, n)) marks[i] |= marks[input(i, n)];
      }
    }
  }

  /// Wanted values that a custom_gradient's value depends on and its rule's inputs do not.
  struct LeftOut {
    std::size_t first = 0;  // among those wanted
    std::size_t count = 0;
  };
  /// By node, for those that leave something out.
  std::map<std::size_t, LeftOut> left_out(std::span<const Expr> wanted) const;

 private:
  const Order& order_;
  std::vector<std::int32_t> inputs_;      // of all nodes, one after the other
  std::vector<std::size_t> first_input_;  // per node: where its inputs begin
  std::vector<std::size_t> first_;        // per node: the number of its first result
  std::vector<char> is_read_;             // per result
};

}  // namespace blockgrad
