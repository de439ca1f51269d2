#pragma once
// What other parts of the graph layer ask about ops that steer gradients.

#include "blockgrad/graph/op.h"

namespace blockgrad {

bool is_stop_gradient(const Node& node);

/// Identity whose rule says what flows back; its last input is the value itself.
bool is_custom_gradient(const Node& node);

/// The logarithm that `node` takes of another op's result, in the form which that op knows to be
/// stable: log_softmax for log(softmax(x)). Empty where node is anything else.
Expr stable_log(const Node& node);

}  // namespace blockgrad
