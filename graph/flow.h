#pragma once
// What other parts of the graph layer ask about ops that steer gradients.

#include "blockgrad/graph/op.h"

namespace blockgrad {

bool is_stop_gradient(const Node& node);

/// Identity whose rule says what flows back; its last input is the value itself.
bool is_custom_gradient(const Node& node);

bool is_checkpoint(const Node& node);

/// What `node` takes the logarithm of, behind checkpoints, where an op that may know a stable form
/// of it made that alone: softmax(x) for log(softmax(x)). Empty where node is anything else.
Expr log_argument(const Node& node);

/// The logarithm of that argument in its stable form, log_softmax(x), with `inputs` in place of
/// those of the argument's op. Empty where there is none.
Expr stable_log(const Node& node, std::span<const Expr> inputs);

}  // namespace blockgrad
