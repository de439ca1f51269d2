#pragma once
// Gradients of rows that an update can make itself: a formula of values that are there anyway takes
// the place of one that would be stored for it.

#include <map>
#include <optional>

#include "graph/graph.h"
#include "graph/row_program.h"

namespace blockgrad {

/// What stands for a value: a formula of inputs, and of values per line, of the node that makes it.
struct RowTerms {
  ScalarFn fn;
  std::int32_t source = -1;      // a Map or RowProgram
  std::vector<RowValue> inputs;  // of a RowProgram; of a Map all are of step -1
};

/// The terms of a value of `rows` rows of `inner` elements, if it is made from few rows by little
/// arithmetic, none of whose operands only exists inside the node that makes it.
std::optional<RowTerms> find_terms(const Graph& graph, Value value, std::int64_t rows,
                                   std::int64_t inner);

/// The nodes whose results became terms, without them.
class TermSources {
 public:
  /// `value` is not needed any more, for its terms are.
  void drop(const Graph& graph, Value value, const RowTerms& terms);
  bool has(std::int32_t node) const { return cuts_.count(node) > 0; }
  /// Adds what is left of the node.
  void emit(const Graph& graph, Rewrite& rewrite, std::int32_t node);
  /// The inputs of emitted terms, in the new graph.
  std::vector<Value> inputs(const Graph& graph, const Rewrite& rewrite,
                            const RowTerms& terms) const;

 private:
  struct Cut {
    std::vector<std::int32_t> dropped;           // results
    std::vector<RowValue> lines;                 // values per line that terms read
    std::vector<std::pair<RowValue, Value>> at;  // where these are
  };
  std::map<std::int32_t, Cut> cuts_;
};

}  // namespace blockgrad
