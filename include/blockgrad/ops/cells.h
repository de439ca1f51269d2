#pragma once
// Recurrent cells, and cells unrolled over time. x [.., I], states [.., H] with the same leading
// axes; sequences x [.., T, I] -> y [.., T, H], time last but one as in attention (PyTorch: first).
// The products of all gates are one, and for a sequence those with x are one over all times; the
// rest of a step is elementwise. Floating; bf16 and f16 are computed in f32. Throws Error if shapes
// do not fit.

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// `gates` is 1 for rnn, 3 for gru, 4 for lstm. Columns [g H, (g + 1) H) belong to gate g; their
/// order is part of what a file of weights means.
struct CellWeights {
  Expr input;             // [I, gates * H]
  Expr hidden;            // [H, gates * H]
  Expr bias = {};         // [gates * H], or empty
  Expr hidden_bias = {};  // [gates * H], or empty; another one, which gru adds inside its reset
};

/// h' = tanh(x W + h U + b) (Elman 1990).
Expr rnn_cell(Arg x, Arg h, const CellWeights& weights);

/// Gates in the order reset, update, new: r = sigmoid(x W_r + h U_r + ..), z alike, n = tanh(x W_n
/// + b_n + r (h U_n + c_n)), h' = (1 - z) n + z h, where b is `bias` and c is `hidden_bias` (Cho et
/// al. 2014; the reset after the product, as in PyTorch).
Expr gru_cell(Arg x, Arg h, const CellWeights& weights);

struct LstmState {
  Expr h, c;  // [.., H]
};

/// Gates in the order input, forget, cell, output: c' = sigmoid(f) c + sigmoid(i) tanh(g), h' =
/// sigmoid(o) tanh(c') (Hochreiter and Schmidhuber 1997; Gers et al. 2000).
LstmState lstm_cell(Arg x, Arg h, Arg c, const CellWeights& weights);

/// y [.., T, H]: the states after each step; h [.., H]: the last one.
struct RnnResult {
  Expr y, h;
};
struct LstmResult {
  Expr y, h, c;
};

/// The cell applied to x_0, x_1, …, starting from the given state. Nodes grow linearly in T. Throws
/// Error for T = 0.
RnnResult rnn(Arg x, Arg h0, const CellWeights& weights);
RnnResult gru(Arg x, Arg h0, const CellWeights& weights);
LstmResult lstm(Arg x, Arg h0, Arg c0, const CellWeights& weights);

}  // namespace blockgrad
