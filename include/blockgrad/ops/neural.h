#pragma once
// Softmax and its relatives.

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// Softmax along `axis`: y_i = exp(x_i - max x) / sum_j exp(x_j - max x); floating, same shape.
/// Entries of 1e4 stay finite; a line of -inf gives NaN. Source: Goodfellow, Bengio, Courville
/// 2016, section 4.1.
Expr softmax(Arg x, int axis = -1);

/// log(softmax(x)) without its rounding: x - logsumexp(x).
Expr log_softmax(Arg x, int axis = -1);

}  // namespace blockgrad
