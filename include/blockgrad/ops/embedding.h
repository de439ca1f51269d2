#pragma once
// Tables of vectors by number.

#include <optional>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// Rows of a table [n, ..] by number: indices [k..] -> [k.., ..]. Indices i32 or i64 in [0, n); one
/// outside is an Error of the run with its value and position. The gradient adds repeated rows in
/// order of position.
Expr embedding(Arg table, Arg indices);

struct EmbeddingBagOptions {
  bool mean = false;                               // of the bag's rows instead of their sum
  std::optional<std::int64_t> padding_index = {};  // entries that stand for no row
};

/// The sum of the rows in each bag, or their mean: table [n, d], indices [.., L] -> [.., d]; a bag
/// has up to L rows. An empty one (L = 0, or padding alone) gives zeros, mean too.
Expr embedding_bag(Arg table, Arg indices, const EmbeddingBagOptions& options = {});

}  // namespace blockgrad
