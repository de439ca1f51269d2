// Where a program needs more memory than it may, a value that waits long for its next reader is let
// go of and made again in front of it. Chen et al. 2016 keep every k-th layer; here the choice is
// made value by value, by the bytes it frees at the peak for the time it takes to make it again.
#include <algorithm>
#include <map>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/put_rows.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "graph/row_update.h"
#include "graph/timeline.h"

namespace blockgrad {

namespace {

constexpr std::size_t longest_chain = 12;  // nodes that run again for one value
constexpr int most_idle = 64;              // rounds that may bring nothing

// Estimates for one core: only their ratio decides which value goes first.
constexpr double flops_per_ns = 64, bytes_per_ns = 16;

// A node whose results, live at the peak without being read there, are made again.
struct Candidate {
  std::int32_t node = -1;
  std::int32_t at = 0;               // the time of the first reader behind the peak
  std::vector<std::int32_t> freed;   // values
  std::vector<std::int32_t> chain;   // nodes that run again, in order, `node` last
  std::vector<std::int32_t> held;    // values that live on until then
  std::int64_t saved = 0, made = 0;  // bytes: less at the peak, results of the chain
  double cost = 0;
};

class Search {
 public:
  Search(const Graph& graph, std::int64_t limit)
      : graph_(graph), timeline_(graph), values_(timeline_.values()), limit_(limit) {
    const auto& live = timeline_.live();
    peak_ = static_cast<std::int32_t>(std::max_element(live.begin(), live.end()) - live.begin());
    most_ = live.empty() ? 0 : live[static_cast<std::size_t>(peak_)];
  }

  bool fits() const { return most_ <= limit_; }

  /// What to make again so that less is live at the peak and nowhere more than there; none if
  /// nothing helps.
  std::vector<Candidate> choose() {
    std::vector<Candidate> all = candidates(), chosen;
    std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
      const double x = static_cast<double>(a.saved) * b.cost;
      const double y = static_cast<double>(b.saved) * a.cost;
      return x != y ? x > y : a.node < b.node;
    });
    for (Candidate& c : all) {
      if (timeline_.live()[static_cast<std::size_t>(peak_)] <= limit_) break;
      if (is_touched(c) || !is_room_for(c)) continue;
      apply(c);
      chosen.push_back(std::move(c));
    }
    return chosen;
  }

  /// The graph with those nodes again in front of their readers.
  Graph rewritten(const std::vector<Candidate>& chosen) const;

 private:
  const GraphNode& node(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }

  bool is_waiting(std::int32_t v) const {
    return !values_.is_kept(v) && timeline_.birth(v) < peak_ && timeline_.death(v) > peak_ &&
           !timeline_.is_used_at(v, peak_) && values_.bytes(v) > 0;
  }

  std::vector<Candidate> candidates() const {
    std::vector<Candidate> all;
    for (std::int32_t t = 0; t < peak_; ++t) {
      Candidate c;
      c.node = timeline_.node_at(t);
      c.at = timeline_.end();
      for (std::int32_t v = values_.first(c.node); v < values_.first(c.node + 1); ++v) {
        if (!is_waiting(v)) continue;
        c.freed.push_back(v);
        c.saved += values_.bytes(v);
        c.at = std::min(c.at, timeline_.after(v, peak_));
      }
      if (c.freed.empty()) continue;
      // Alone, from inputs that live on, or with what makes these too: less work, or fewer bytes.
      for (const bool is_alone : {true, false}) {
        Candidate choice = c;
        if (find_chain(choice, is_alone) && choice.saved > 0) all.push_back(std::move(choice));
      }
    }
    return all;
  }

  // What must run again so that the node can: inputs that are gone by then either live on, if they
  // are small or the node is to run alone, or are made again too.
  bool find_chain(Candidate& c, bool is_alone) const {
    std::vector<std::int32_t> open{c.node};
    const std::int64_t freed = c.saved;
    while (!open.empty()) {
      const std::int32_t i = open.back();
      open.pop_back();
      if (std::find(c.chain.begin(), c.chain.end(), i) != c.chain.end()) continue;
      if (c.chain.size() == longest_chain || node(i).op.as<PutRows>() || node(i).op.as<RowUpdate>())
        return false;
      c.chain.push_back(i);
      for (const std::int32_t v : values_.reads(i)) {
        if (timeline_.death(v) >= c.at ||
            std::find(c.held.begin(), c.held.end(), v) != c.held.end())
          continue;
        const bool lives_on = is_alone || values_.bytes(v) * 8 <= freed;
        if (timeline_.death(v) >= peak_ || lives_on) {
          c.held.push_back(v);
          if (timeline_.death(v) < peak_) c.saved -= values_.bytes(v);
        } else {
          open.push_back(values_.maker(v));
        }
      }
    }
    std::sort(c.chain.begin(), c.chain.end());
    for (const std::int32_t i : c.chain) {
      std::vector<TensorType> in;
      for (const Value v : node(i).inputs) in.push_back(graph_.type(v));
      const Cost cost = node(i).op->cost(in, node(i).types);
      c.cost += cost.flops / flops_per_ns + cost.bytes / bytes_per_ns;
      for (std::int32_t v = values_.first(i); v < values_.first(i + 1); ++v)
        c.made += values_.bytes(v);
    }
    return true;
  }

  // Choices of one round must not build on what another one changes.
  bool is_touched(const Candidate& c) const {
    const auto has = [](const std::vector<std::int32_t>& list, std::int32_t x) {
      return std::find(list.begin(), list.end(), x) != list.end();
    };
    for (const std::int32_t i : c.chain) {
      if (has(made_again_, i)) return true;
      for (const std::int32_t v : values_.reads(i)) {
        if (has(gone_, v)) return true;
      }
    }
    return std::any_of(c.freed.begin(), c.freed.end(),
                       [&](std::int32_t v) { return has(relied_on_, v); });
  }

  template <class Change>
  void each_change(const Candidate& c, Change change) const {
    for (const std::int32_t v : c.held) {
      for (std::int32_t t = timeline_.death(v) + 1; t <= std::min(c.at, timeline_.end() - 1); ++t)
        change(t, values_.bytes(v));
    }
    for (const std::int32_t v : c.freed) {
      for (std::int32_t t = timeline_.before(v, peak_) + 1; t < c.at; ++t)
        change(t, -values_.bytes(v));
    }
  }

  bool is_room_for(const Candidate& c) {
    std::vector<std::int64_t>& live = timeline_.live();
    change_.assign(live.size(), 0);
    each_change(c, [&](std::int32_t t, std::int64_t bytes) {
      change_[static_cast<std::size_t>(t)] += bytes;
    });
    for (std::size_t t = 0; t < live.size(); ++t) {
      if (change_[t] > 0 && live[t] + change_[t] >= most_) return false;
    }
    // While the chain runs, all that waits for the reader is live, and what the chain makes.
    const auto at = static_cast<std::size_t>(c.at);
    const std::int64_t waiting = at < live.size() ? live[at] : live.back();
    std::int64_t now = waiting + change_[std::min(at, live.size() - 1)] + c.made;
    for (const std::int32_t v : c.freed) now -= values_.bytes(v);
    if (at < live.size()) now -= own_results(timeline_.node_at(c.at));
    return now < most_ && change_[static_cast<std::size_t>(peak_)] < 0;
  }

  std::int64_t own_results(std::int32_t i) const {
    std::int64_t sum = 0;
    for (std::int32_t v = values_.first(i); v < values_.first(i + 1); ++v) sum += values_.bytes(v);
    return sum;
  }

  void apply(const Candidate& c) {
    std::vector<std::int64_t>& live = timeline_.live();
    for (std::size_t t = 0; t < live.size(); ++t) live[t] += change_[t];
    made_again_.insert(made_again_.end(), c.chain.begin(), c.chain.end());
    gone_.insert(gone_.end(), c.freed.begin(), c.freed.end());
    for (const std::int32_t i : c.chain) {
      const auto read = values_.reads(i);
      relied_on_.insert(relied_on_.end(), read.begin(), read.end());
    }
  }

  const Graph& graph_;
  Timeline timeline_;
  const MemoryValues& values_;
  const std::int64_t limit_;
  std::int32_t peak_ = 0;
  std::int64_t most_ = 0;
  std::vector<std::int64_t> change_;
  std::vector<std::int32_t> made_again_, gone_, relied_on_;  // of this round: nodes, values, values
};

// A node again, with those of its results that are wanted; a Map leaves the others out.
GraphNode again(const GraphNode& node, const std::vector<std::int32_t>& results,
                std::vector<std::int32_t>& kept_results) {
  GraphNode made = node;
  made.is_repeat = true;
  kept_results.clear();
  const Map* map = node.op.as<Map>();
  if (!map || results.size() == node.types.size()) {
    for (std::size_t r = 0; r < node.types.size(); ++r)
      kept_results.push_back(static_cast<std::int32_t>(r));
    return made;
  }
  std::vector<std::int32_t> numbers;
  made.types.clear();
  for (const std::int32_t r : results) {
    numbers.push_back(map->fn.results()[static_cast<std::size_t>(r)]);
    made.types.push_back(node.types[static_cast<std::size_t>(r)]);
    kept_results.push_back(r);
  }
  const ScalarFn part({map->fn.inputs().begin(), map->fn.inputs().end()},
                      {map->fn.code().begin(), map->fn.code().end()}, numbers);
  std::vector<int> read;
  made.op = Map{without_unused_inputs(part, read), map->short_name};
  made.inputs.clear();
  for (const int i : read) made.inputs.push_back(node.inputs[static_cast<std::size_t>(i)]);
  return made;
}

Graph Search::rewritten(const std::vector<Candidate>& chosen) const {
  // By the node in front of which they run; results that somebody wants.
  std::map<std::int32_t, std::map<std::int32_t, std::vector<std::int32_t>>> before;
  const auto want = [&](std::int32_t reader, std::int32_t v) {
    const std::int32_t maker = values_.maker(v);
    std::vector<std::int32_t>& results = before[reader][maker];
    const std::int32_t result = v - values_.first(maker);
    if (std::find(results.begin(), results.end(), result) == results.end())
      results.insert(std::lower_bound(results.begin(), results.end(), result), result);
  };
  for (const Candidate& c : chosen) {
    const std::int32_t reader = timeline_.node_at(c.at);
    for (const std::int32_t v : c.freed) want(reader, v);
    for (const std::int32_t i : c.chain) {
      for (const std::int32_t v : values_.reads(i)) {
        const bool in_chain =
            std::find(c.chain.begin(), c.chain.end(), values_.maker(v)) != c.chain.end();
        if (in_chain) want(reader, v);
      }
    }
  }
  Rewrite rewrite(graph_);
  std::vector<std::vector<std::int32_t>> views(graph_.nodes.size());  // of each node, made so far
  for (std::int32_t i = 0; i < values_.nodes(); ++i) {
    if (const auto chain = before.find(i); chain != before.end()) {
      for (const auto& [repeated, results] : chain->second) {
        std::vector<std::int32_t> kept;
        GraphNode made = again(node(repeated), results, kept);
        for (Value& v : made.inputs) v = rewrite.renamed(v);
        const std::int32_t number = rewrite.add(std::move(made));
        for (const std::int32_t r : results) {
          const auto at = std::find(kept.begin(), kept.end(), r) - kept.begin();
          rewrite.rename({repeated, r}, {number, static_cast<std::int32_t>(at)});
        }
        for (const std::int32_t view : views[static_cast<std::size_t>(repeated)])
          rewrite.keep(view);
      }
    }
    rewrite.keep(i);
    if (node(i).op.as<View>()) views[static_cast<std::size_t>(node(i).inputs[0].node)].push_back(i);
  }
  return rewrite.finish();
}

}  // namespace

namespace {

// Down to `target`, or as far as it goes; the best graph on the way.
Graph lowered(const Graph& graph, std::int64_t limit, std::int64_t target) {
  Graph now = graph, best = graph;
  std::int64_t least = live_bytes(graph);
  for (int idle = 0; idle < most_idle && least > limit; ++idle) {
    Search search(now, target);
    if (search.fits()) {
      // What is live was estimated: aim lower by what the estimate was short of.
      target -= live_bytes(now) - limit;
      continue;
    }
    const std::vector<Candidate> chosen = search.choose();
    if (chosen.empty()) break;
    now = search.rewritten(chosen);
    const std::int64_t bytes = live_bytes(now);
    if (bytes >= least) continue;
    least = bytes;
    best = now;
    idle = 0;
  }
  return best;
}

}  // namespace

Graph recompute(const Graph& graph, std::int64_t limit) {
  Graph best = graph;
  std::int64_t least = live_bytes(graph);
  // A lower aim makes other choices, some of which lead further.
  for (const int percent : {100, 95, 90, 80, 60, 30, 0}) {
    if (least <= limit || (limit < 100 && percent < 100)) break;
    Graph other = lowered(graph, limit, limit / 100 * percent);
    const std::int64_t bytes = live_bytes(other);
    if (bytes >= least) continue;
    least = bytes;
    best = std::move(other);
  }
  return best;
}

}  // namespace blockgrad
