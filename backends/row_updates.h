#pragma once
// The pass that makes one node of what an optimizer does with the rows of a table.

#include "graph/graph.h"

namespace blockgrad {

/// Rows that Gathers take from storage, a Map of them, and PutRows that write its results back as
/// the new values of that storage become one RowUpdate: each row is read and written once, while it
/// is in the cache. Its rows are those of a MergeRows, so they are distinct. What a row alone reads
/// of its MergeRows is added up there, too, and so is the formula of a cheap gradient made
/// (row_terms.h). Equal bits.
Graph fuse_row_updates(const Graph& graph);

}  // namespace blockgrad
