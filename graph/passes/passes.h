#pragma once
// The passes of compile. Each is a pure function from graph to graph that keeps the meaning of
// outputs and updates; the pipeline runs, prints, times, skips and verifies them.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.h"

namespace blockgrad {

struct Pass {
  std::string_view name;
  std::function<Graph(const Graph&)> run;
  bool skippable = true;
  bool runs = true;  // false: left out here, but a name that may be asked for
};

struct PassRecord {
  std::string name;
  double seconds = 0;
  std::int64_t nodes = 0;  // after the pass
};

/// Runs the passes in order and verifies each result, which is the last record. `skip` leaves
/// passes out, `print` writes the graph after them to standard output, or that they were left out.
/// Throws Error for a name that no pass has, or a pass that cannot be left out.
Graph run_passes(Graph graph, std::span<const Pass> passes, std::span<const std::string> skip,
                 std::span<const std::string> print, std::vector<PassRecord>& records);

/// Views of views become one View, Views that change nothing go, and what an Unview puts together
/// it takes from behind permutations and reshapes; constant scalars move into the Maps that read
/// them, and reductions over axes of size 1 become Views. No value changes, signed zeros and NaN
/// included.
Graph simplify(const Graph& graph);

/// Equal ops on equal inputs become one node.
Graph merge_equal(const Graph& graph);

/// Puts an explicit Copy (a Map that changes nothing) where a reader refuses a View's layout, where
/// two Views do not compose, and in front of outputs and updates that would otherwise alias other
/// storage. Afterwards every View reads a value that is not a View.
Graph insert_copies(const Graph& graph);

/// What fuse_rows or fuse_maps did and why not more; nodes are those of the graph before.
struct FusionLog {
  struct Refusal {
    std::int32_t reader = -1, source = -1;
    std::string_view why;  // a literal
  };
  std::vector<std::vector<std::int32_t>> groups;  // of each "fused map", in order of the new graph
  std::vector<Refusal>
      refusals;  // Maps or Reduces that read another one, if only through a View, and stayed apart
};

/// Reduces whose results are spread over their lines again, with the Maps that go with them, become
/// RowPrograms: softmax, norms and their gradients read their lines once. Equal bits.
Graph fuse_rows(const Graph& graph, FusionLog* log = nullptr);

/// Maps over the same elements become one Map with several results when one reads the other or both
/// read the same values: fewer sweeps over memory, equal bits.
Graph fuse_maps(const Graph& graph, FusionLog* log = nullptr);

/// A Map does not compute a function (exp, tanh, ...) again that an earlier Map has computed from
/// the same values, but reads it, where the values that it then no longer reads are at least as
/// many, and dead: a gradient keeps what its activations gave instead of what they were given.
/// Nothing is shared where the step would need more memory. Equal bits.
Graph share_functions(const Graph& graph);

/// Reductions of whole values to a number become ReduceGroups if there is enough to reduce, with
/// the Map that nothing else reads as their formula: a large value alone, small ones that last to
/// the end of the step together, as in the check that all gradients are finite. Equal bits.
Graph group_reductions(const Graph& graph);

/// Updates with one formula and guard over different storage become one MapGroup: one instruction
/// for an optimizer's step, equal bits.
Graph group_updates(const Graph& graph);

/// The shape of a product's result as [.., rows, columns]; none for other ops.
using ProductSpace = std::function<std::optional<Shape>(const Op&, Types in, Types out)>;

/// Which products a device makes with a Map behind them, and how.
struct ProductFormulas {
  ProductSpace space;
  bool is_in_place = false;  // the Map's one result takes the product's place, and has its dtype
};

/// A Map behind a product joins it as a ProductMap: the product is not written and read again, or,
/// where others read it, not read again. For devices where a Map of its own costs a start and a way
/// through memory. At most one Map a product, none that is an update in place; the formula is of
/// moderate length and reads and writes a few values, which lie in the product's rows. Equal bits.
Graph fuse_epilogues(const Graph& graph, const ProductFormulas& formulas, FusionLog* log = nullptr);

/// Maps of one formula over a few elements each that do not wait for each other become one
/// MapGroup: for devices that start each kernel at a price. Equal bits.
Graph group_small_maps(const Graph& graph);

/// The same nodes in an order in which less memory is needed, at most or else on average, where one
/// is found: what frees memory or must stay anyway comes as soon as it can, new values of storage
/// last. Leaves come first.
Graph shorten_lives(const Graph& graph);

/// The graph with nodes in it a second time, so that live_bytes is at most `limit`, or as small as
/// is found. A value that is not read where most is live goes, and what makes it runs again in
/// front of its next reader: first where most bytes go for the least work. Equal bits; the order of
/// nodes is kept.
Graph recompute(const Graph& graph, std::int64_t limit);

}  // namespace blockgrad
