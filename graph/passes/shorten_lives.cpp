// The order of nodes decides how long values live: the gradient of a weight that is made right
// after its inputs lets go of them, one that waits for all other gradients keeps them.
#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>
#include <utility>

#include "blockgrad/graph/view.h"
#include "graph/memory_values.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"

namespace blockgrad {

namespace {

// Which values are still to be read while nodes are put in order, and what each node changes.
class Readers {
 public:
  explicit Readers(const MemoryValues& values)
      : values_(values),
        count_(static_cast<std::size_t>(values.values())),
        change_(static_cast<std::size_t>(values.nodes()), 0),
        has_run_(change_.size(), 0) {
    for (std::int32_t v = 0; v < values.values(); ++v)
      count_[static_cast<std::size_t>(v)] = static_cast<std::int32_t>(values.readers(v).size());
    for (std::int32_t v = 0; v < values.values(); ++v) {
      if (of(v) == 1) free_by_last(v);
    }
    for (std::int32_t node = 0; node < values.nodes(); ++node) {
      for (std::int32_t v = values.first(node); v < values.first(node + 1); ++v) {
        if (of(v) > 0 || values.is_kept(v))
          change_[static_cast<std::size_t>(node)] += static_cast<double>(values.bytes(v));
      }
    }
  }

  /// Nodes that read the value and have not run.
  std::int32_t of(std::int32_t value) const { return count_[static_cast<std::size_t>(value)]; }
  /// The bytes live after a node that has not run less those before.
  double change(std::int32_t node) const { return change_[static_cast<std::size_t>(node)]; }
  void run(std::int32_t node) {
    has_run_[static_cast<std::size_t>(node)] = 1;
    for (const std::int32_t value : values_.reads(node)) {
      if (--count_[static_cast<std::size_t>(value)] == 1) free_by_last(value);
    }
  }

 private:
  // Counted once per value, so that nobody adds up what a node with many inputs frees.
  void free_by_last(std::int32_t value) {
    if (values_.is_kept(value)) return;
    for (const std::int32_t reader : values_.readers(value)) {
      if (!has_run_[static_cast<std::size_t>(reader)])
        change_[static_cast<std::size_t>(reader)] -= static_cast<double>(values_.bytes(value));
    }
  }

  const MemoryValues& values_;
  std::vector<std::int32_t> count_;
  std::vector<double> change_;  // sums of sizes that may be absurd
  std::vector<char> has_run_;
};

// Next comes what frees memory, then what makes values that stay to the end anyway, then the node
// whose inputs were there first. A node that reads leaves alone waits until somebody wants it.
class Schedule {
 public:
  explicit Schedule(const MemoryValues& values)
      : values_(values),
        readers_(values),
        missing_(static_cast<std::size_t>(values.nodes()), 0),
        missing_sources_(missing_.size(), 0),
        since_(missing_.size(), -1),
        is_done_(missing_.size(), 0),
        wants_sources_(missing_.size(), 0) {
    for (std::int32_t i = 0; i < values.nodes(); ++i) {
      if (!is_moved(i)) continue;
      for (const std::int32_t v : values.reads(i)) {
        ++missing_[static_cast<std::size_t>(i)];
        missing_sources_[static_cast<std::size_t>(i)] += is_source(values.maker(v));
      }
    }
  }

  /// All nodes that run, in the new order.
  std::vector<std::int32_t> order() {
    for (std::int32_t i = 0; i < values_.nodes(); ++i) {
      if (!is_moved(i) || !is_source(i) || is_done_[static_cast<std::size_t>(i)]) continue;
      offer(i);
      run_ready();
    }
    for (std::int32_t i = 0; i < values_.nodes(); ++i) {
      if (values_.is_work(i) && values_.is_last(i)) order_.push_back(i);
    }
    return std::move(order_);
  }

 private:
  enum Rank { frees, stays, follows };
  using Entry = std::tuple<int, std::int32_t, std::int32_t>;  // rank, since when, node

  bool is_moved(std::int32_t i) const { return values_.is_work(i) && !values_.is_last(i); }
  bool is_source(std::int32_t i) const { return values_.reads(i).empty(); }

  int rank(std::int32_t node) {
    if (readers_.change(node) <= 0) return frees;
    for (std::int32_t v = values_.first(node); v < values_.first(node + 1); ++v) {
      if (!values_.is_kept(v)) return follows;
    }
    return stays;
  }

  void offer(std::int32_t node) {
    std::int32_t& since = since_[static_cast<std::size_t>(node)];
    if (since < 0) since = static_cast<std::int32_t>(order_.size());
    ready_.emplace(rank(node), since, node);
  }

  void run_ready() {
    while (!ready_.empty()) {
      const auto [known, since, node] = ready_.top();
      ready_.pop();
      if (is_done_[static_cast<std::size_t>(node)]) continue;
      if (rank(node) > known) offer(node);
      else finish(node);
    }
  }

  void finish(std::int32_t node) {
    readers_.run(node);
    order_.push_back(node);
    is_done_[static_cast<std::size_t>(node)] = 1;
    // A value with one reader left makes that reader free it.
    for (const std::int32_t v : values_.reads(node)) {
      if (readers_.of(v) == 1) offer_readers(v);
    }
    for (std::int32_t v = values_.first(node); v < values_.first(node + 1); ++v) {
      for (const std::int32_t reader : values_.readers(v)) {
        if (is_moved(reader)) count_down(reader, is_source(node));
      }
    }
  }

  void count_down(std::int32_t reader, bool by_source) {
    const auto r = static_cast<std::size_t>(reader);
    --missing_[r];
    missing_sources_[r] -= by_source;
    if (missing_[r] == 0) offer(reader);
    else if (missing_[r] == missing_sources_[r] && !std::exchange(wants_sources_[r], char{1}))
      offer_sources(reader);
  }

  void offer_readers(std::int32_t value) {
    for (const std::int32_t reader : values_.readers(value)) {
      const auto r = static_cast<std::size_t>(reader);
      if (is_moved(reader) && missing_[r] == 0 && !is_done_[r]) offer(reader);
    }
  }

  void offer_sources(std::int32_t reader) {
    for (const std::int32_t v : values_.reads(reader)) {
      const std::int32_t maker = values_.maker(v);
      if (!is_done_[static_cast<std::size_t>(maker)]) offer(maker);
    }
  }

  const MemoryValues& values_;
  Readers readers_;
  std::vector<std::int32_t> missing_, missing_sources_;  // values that are not there yet
  std::vector<std::int32_t> since_;
  std::vector<char> is_done_;
  std::vector<char> wants_sources_;  // those that it waits for alone have been offered
  std::vector<std::int32_t> order_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready_;
};

// The same nodes, those that run in this order: leaves first, Views where they are wanted.
Graph reordered(const Graph& graph, const MemoryValues& values,
                const std::vector<std::int32_t>& order) {
  Rewrite rewrite(graph);
  std::vector<char> is_kept(graph.nodes.size(), 0);
  const auto keep = [&](std::int32_t i) {
    if (!is_kept[static_cast<std::size_t>(i)]) rewrite.keep(i);
    is_kept[static_cast<std::size_t>(i)] = 1;
  };
  const auto keep_views = [&](Value v) {
    std::vector<std::int32_t> views;
    for (; graph.node(v).op.as<View>(); v = graph.node(v).inputs[0]) views.push_back(v.node);
    std::for_each(views.rbegin(), views.rend(), keep);
  };
  for (std::int32_t i = 0; i < values.nodes(); ++i) {
    if (is_leaf(graph.nodes[static_cast<std::size_t>(i)])) keep(i);
  }
  for (const std::int32_t i : order) {
    for (const Value v : graph.nodes[static_cast<std::size_t>(i)].inputs) keep_views(v);
    keep(i);
  }
  for (const Value v : graph.outputs) keep_views(v);
  for (const GraphUpdate& u : graph.updates) {
    keep_views(u.value);
    if (u.guard) keep_views(u.guard);
  }
  return rewrite.finish();
}

}  // namespace

Graph shorten_lives(const Graph& graph) {
  const MemoryValues values(graph);
  Graph other = reordered(graph, values, Schedule(values).order());
  const Live before = live(graph), after = live(other);
  const bool is_better = after.most < before.most ||
                         (after.most == before.most && after.byte_steps < before.byte_steps);
  return is_better ? other : graph;
}

}  // namespace blockgrad
