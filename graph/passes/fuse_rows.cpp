#include <algorithm>
#include <unordered_map>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/clusters.h"
#include "graph/passes/passes.h"
#include "graph/passes/row_links.h"
#include "graph/passes/tails.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

constexpr std::size_t most_instructions = 256;
constexpr std::size_t most_reads = 16;  // values that one program reads

// A cluster begins as Maps over equally many elements; the first Reduce that joins gives it lines.
struct Group {
  std::int64_t elements = 0;
  std::optional<RowSpace> space;
  std::size_t instructions = 0;
  std::vector<Value> reads;
};

class RowFusion {
 public:
  RowFusion(const Graph& graph, FusionLog* log)
      : graph_(graph),
        log_(log),
        links_(graph),
        clusters_(graph.nodes.size()),
        tails_(find_tails(graph)),
        readers_(readers_of(graph)) {
    find_leading_maps();
  }

  Graph run() {
    for (std::int32_t i = 0; i < size(); ++i) {
      const bool joins = is_fusible_map(i) || links_.space(i);
      if (!joins || !add(i)) clusters_.add_plain(i, at(i).inputs);
      for (const Value v : at(i).inputs) last_reader_[key(v)] = i;
    }
    return rebuilt();
  }

 private:
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  static std::int64_t key(Value v) { return std::int64_t{v.node} << 32 | v.result; }
  std::int64_t elements(std::int32_t i) const { return at(i).types[0].shape.size(); }
  Group& group(std::int32_t cluster) { return groups_[static_cast<std::size_t>(cluster)]; }
  const Group& group(std::int32_t cluster) const {
    return groups_[static_cast<std::size_t>(cluster)];
  }

  // Copies stay visible, updates run last and in place.
  bool is_fusible_map(std::int32_t i) const {
    const Map* map = at(i).op.as<Map>();
    return map && map->short_name != "copy" && !tails_[static_cast<std::size_t>(i)].is_tail &&
           elements(i) > 0;
  }

  // Maps whose elements a Reduce needs that sends its result back to such elements: they may open a
  // cluster, others only join one.
  void find_leading_maps() {
    leads_.assign(graph_.nodes.size(), 0);
    for (std::int32_t i = size(); i-- > 0;) {
      const bool is_seed = links_.space(i) && links_.returns(i);
      if (!is_seed && !leads_[static_cast<std::size_t>(i)]) continue;
      for (const Value v : at(i).inputs) {
        const Value base = links_.same_elements(v);
        if (base && is_fusible_map(base.node)) leads_[static_cast<std::size_t>(base.node)] = 1;
      }
    }
  }

  bool add(std::int32_t i) {
    const std::int32_t cluster = best_cluster(i);
    if (cluster >= 0) {
      clusters_.join(i, outer_inputs(i, cluster), cluster);
      enter(i, cluster);
      return true;
    }
    const bool opens =
        links_.space(i) ? links_.returns(i) : leads_[static_cast<std::size_t>(i)] != 0;
    if (!opens) return false;
    clusters_.open(i, at(i).inputs);
    groups_.emplace_back();
    enter(i, static_cast<std::int32_t>(groups_.size()) - 1);
    return true;
  }

  // Clusters this node reads from come first, then those that read the same values.
  std::int32_t best_cluster(std::int32_t i) const {
    const bool is_reduce = links_.space(i).has_value();
    for (const Value v : at(i).inputs) {
      const std::int32_t cluster = clusters_.cluster_of(graph_.base(v).node);
      const std::string_view why = why_apart(i, cluster);
      if (why.empty()) return cluster;
      if (log_ && cluster >= 0 && is_reduce)
        log_->refusals.push_back({i, graph_.base(v).node, why});
    }
    for (const Value v : at(i).inputs) {
      const auto reader = last_reader_.find(key(v));
      if (reader == last_reader_.end() || graph_.type(v).shape.size() <= 1) continue;
      const std::int32_t cluster = clusters_.cluster_of(reader->second);
      if (cluster < 0 || !group(cluster).space || group(cluster).elements != elements_read(i))
        continue;
      if (why_apart(i, cluster).empty()) return cluster;
    }
    return -1;
  }

  std::int64_t elements_read(std::int32_t i) const {
    return graph_.type(at(i).inputs[0]).shape.size();
  }

  bool is_by_line(std::int32_t i, const Group& g) const {
    return g.space && !links_.space(i) && elements(i) != g.elements;
  }

  // Why a node cannot join a cluster; "" if it can.
  std::string_view why_apart(std::int32_t i, std::int32_t cluster) const {
    if (cluster < 0) return "one of them is neither elementwise nor a reduction";
    if (!clusters_.is_open(cluster)) return "too many kernels lie between them";
    const Group& g = group(cluster);
    if (const std::optional<RowSpace>& space = links_.space(i)) {
      if (g.space ? !(*g.space == *space) : g.elements != space->elements())
        return "their lines differ";
      if (!g.space && !links_.returns(i)) return "nothing spreads over its lines again";
    } else if (elements(i) != g.elements && !(g.space && elements(i) == g.space->lines())) {
      return "their shapes differ";
    }
    for (const Value v : at(i).inputs) {
      if (clusters_.cluster_of(graph_.base(v).node) == cluster && !is_inside(i, v, cluster))
        return "it is read in another layout or shape";
    }
    std::size_t news = 0;
    for (const Value v : at(i).inputs) {
      const bool known =
          is_inside(i, v, cluster) || std::find(g.reads.begin(), g.reads.end(), v) != g.reads.end();
      news += known ? 0 : 1;
    }
    if (g.reads.size() + news > most_reads) return "too many values would be read at once";
    if (g.instructions + instructions(i) > most_instructions)
      return "the formula would be too long";
    if (!clusters_.may_join(outer_inputs(i, cluster), cluster))
      return "something between them needs the first";
    return {};
  }

  std::size_t instructions(std::int32_t i) const {
    const Map* map = at(i).op.as<Map>();
    return map ? map->fn.code().size() : 1;
  }

  // Whether node i, as a member of the cluster, finds input v there: element by element, line by
  // line, or spread from its line.
  bool is_inside(std::int32_t i, Value v, std::int32_t cluster) const {
    const std::int32_t source = graph_.base(v).node;
    if (clusters_.cluster_of(source) != cluster) return false;
    const Group& g = group(cluster);
    const bool from_line = g.space && (links_.space(source) || is_by_line(source, g));
    if (from_line && !is_by_line(i, g)) return links_.is_spread(v, *g.space);
    return links_.same_elements(v) && from_line == is_by_line(i, g);
  }

  // What the node waits for: a View of the cluster's own values is one of them.
  std::vector<Value> outer_inputs(std::int32_t i, std::int32_t cluster) const {
    std::vector<Value> inputs = at(i).inputs;
    for (Value& v : inputs) {
      if (clusters_.cluster_of(graph_.base(v).node) == cluster) v = graph_.base(v);
    }
    return inputs;
  }

  void enter(std::int32_t i, std::int32_t cluster) {
    Group& g = group(cluster);
    if (const std::optional<RowSpace>& space = links_.space(i)) {
      g.space = space;
      g.elements = space->elements();
    } else if (g.elements == 0) {
      g.elements = elements(i);
    }
    g.instructions += instructions(i);
    for (const Value v : at(i).inputs) {
      if (!is_inside(i, v, cluster) &&
          std::find(g.reads.begin(), g.reads.end(), v) == g.reads.end())
        g.reads.push_back(v);
    }
  }

  // The cluster of a node if it became a program: one with lines and more than one member.
  std::int32_t program_of(std::int32_t i) const {
    const std::int32_t c = clusters_.cluster_of(i);
    const bool is_program =
        c >= 0 && group(c).space && clusters_.members()[static_cast<std::size_t>(c)].size() > 1;
    return is_program ? c : -1;
  }

  Graph rebuilt() {
    Rewrite rewrite(graph_);
    const auto members = [&](const std::int32_t& i) {
      const std::int32_t c = program_of(i);
      return c < 0 ? std::span(&i, 1) : std::span(clusters_.members()[static_cast<std::size_t>(c)]);
    };
    const auto inside = [&](std::int32_t m, Value v) {
      const std::int32_t c = program_of(m);
      return c >= 0 && is_inside(m, v, c);
    };
    for_each_ready_group(graph_, members, inside, [&](std::span<const std::int32_t> nodes) {
      if (const std::int32_t c = program_of(nodes[0]); c >= 0) emit(rewrite, c, nodes);
      else if (!is_taken_in(nodes[0])) rewrite.keep(nodes[0]);
    });
    return rewrite.finish();
  }

  // Whether anything but the cluster's own steps reads a value.
  bool leaves(Value value, std::int32_t cluster) const {
    for (const std::int32_t reader : readers_.of(value)) {
      if (reader < 0) return true;
      if (!at(reader).op.as<View>()) {
        if (program_of(reader) != cluster) return true;
        continue;
      }
      for (const std::int32_t behind : readers_.of({reader, 0})) {
        if (behind < 0 || program_of(behind) != cluster || !is_inside(behind, {reader, 0}, cluster))
          return true;
      }
    }
    return false;
  }

  // Whether a View is only there for the steps of one program.
  bool is_taken_in(std::int32_t i) const {
    if (!at(i).op.as<View>()) return false;
    const std::int32_t cluster = program_of(at(i).inputs[0].node);
    return cluster >= 0 && !leaves(at(i).inputs[0], cluster);
  }

  void emit(Rewrite& rewrite, std::int32_t cluster, std::span<const std::int32_t> members) const {
    const Group& g = group(cluster);
    RowProgram program{*g.space, {}, {}};
    std::vector<Value> inputs;  // of the new graph
    std::unordered_map<std::int64_t, RowValue> made;
    std::vector<Value> leaving;
    std::vector<TensorType> types;
    for (const std::int32_t m : members) {
      RowStep step;
      if (const Map* map = at(m).op.as<Map>()) step.fn = map->fn;
      else step.reduce = at(m).op.as<Reduce>()->kind;
      step.by_line = step.reduce || is_by_line(m, g);
      step.name = at(m).op->name();
      step.origin = at(m).origin;
      for (const Value v : at(m).inputs) {
        if (is_inside(m, v, cluster)) {
          step.inputs.push_back(made.at(key(graph_.base(v))));
          continue;
        }
        const Value in = rewrite.renamed(v);
        const auto where = std::find(inputs.begin(), inputs.end(), in);
        step.inputs.push_back({-1, static_cast<std::int32_t>(where - inputs.begin())});
        if (where == inputs.end()) inputs.push_back(in);
      }
      for (std::size_t r = 0; r < at(m).types.size(); ++r) {
        const Value v{m, static_cast<std::int32_t>(r)};
        const RowValue here{static_cast<std::int32_t>(program.steps.size()), v.result};
        made.emplace(key(v), here);
        if (!leaves(v, cluster)) continue;
        program.results.push_back({here, at(m).types[r].shape});
        leaving.push_back(v);
        types.push_back(at(m).types[r]);
      }
      program.steps.push_back(std::move(step));
    }
    const std::int32_t added =
        rewrite.add({std::move(program), std::move(inputs), types, at(members.back()).origin});
    for (std::size_t r = 0; r < leaving.size(); ++r)
      rewrite.rename(leaving[r], {added, static_cast<std::int32_t>(r)});
  }

  const Graph& graph_;
  FusionLog* const log_;
  const RowLinks links_;
  Clusters clusters_;
  const std::vector<Tail> tails_;
  const Readers readers_;
  std::vector<char> leads_;    // per node
  std::vector<Group> groups_;  // per cluster
  std::unordered_map<std::int64_t, std::int32_t> last_reader_;
};

}  // namespace

Graph fuse_rows(const Graph& graph, FusionLog* log) { return RowFusion(graph, log).run(); }

}  // namespace blockgrad
