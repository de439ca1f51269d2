#include "graph/plan.h"

#include <algorithm>
#include <utility>

#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/put_rows.h"
#include "blockgrad/graph/view.h"
#include "graph/arena_layout.h"
#include "graph/made_parts.h"
#include "graph/map_group.h"
#include "graph/product_map.h"
#include "graph/row_program.h"
#include "graph/row_update.h"

namespace blockgrad {

namespace {

constexpr std::int32_t forever = ArenaBlock::forever;

class Planner {
 public:
  /// `joins`: parts are made where an Unview wants them.
  Planner(const Graph& graph, bool reuse, bool in_place, bool joins)
      : graph_(graph),
        reuse_(reuse),
        in_place_(in_place),
        joins_(joins),
        uses_(use_counts(graph)),
        where_(graph) {}

  /// After live().
  Plan plan() {
    place_values();
    fill_operands();
    return std::move(plan_);
  }

  /// Whether a part is made in its place.
  bool has_joined() const { return has_joined_; }

  /// Everything but where values lie.
  Live live() {
    number_leaves();
    choose_in_place_updates();
    order_nodes();
    if (joins_ && reuse_) find_parts();
    find_last_uses();
    find_blocks();
    plan_.live_bytes = most_live(blocks_);
    Live live{plan_.live_bytes, 0};
    const auto end = static_cast<std::int32_t>(plan_.steps.size());
    for (const ArenaBlock& b : blocks_)
      live.byte_steps += static_cast<double>(b.bytes) * (std::min(b.death, end) - b.birth + 1);
    return live;
  }

 private:
  struct Where {
    Place place = Place::arena;
    std::int64_t at = -1;
    std::int32_t last_use = -1;
    bool pinned = false;  // read not only densely, by nodes alone: never taken over
    Value whole = {};     // lies in this one, so many bytes behind its beginning
    std::int64_t offset = 0;
    std::int32_t way = -1;  // in ways_: how it lies there, if not densely
  };

  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  Where& where(Value v) { return where_[v]; }
  bool is_view(std::int32_t i) const { return at(i).op.as<View>() != nullptr; }
  // Whether it is all of a value that a node makes, in the same order.
  bool is_dense_whole(Value v) const {
    const View* view = at(v.node).op.as<View>();
    return !view || (view->layout.is_dense() &&
                     graph_.type(v).shape.size() == graph_.type(graph_.base(v)).shape.size());
  }
  std::int64_t bytes(Value v) const { return bytes_of(graph_.type(v)); }
  // The value in whose memory v lies.
  Value whole(Value v) {
    while (where(v).whole) v = where(v).whole;
    return v;
  }

  void number_leaves() {
    const auto number = [&](std::int32_t i, Place place, std::vector<std::int32_t>& list) {
      where({i, 0}) = {place, static_cast<std::int64_t>(list.size()), forever, true};
      list.push_back(i);
    };
    for (std::int32_t i = 0; i < size(); ++i) {
      if (at(i).op.as<Input>()) number(i, Place::feed, plan_.feeds);
      else if (at(i).op.as<StoredLeaf>()) number(i, Place::stored, plan_.storages);
      else if (at(i).op.as<Constant>()) number(i, Place::constant, plan_.constants);
    }
    plan_.is_updated.assign(plan_.storages.size(), 0);
  }

  std::int32_t guard_number(Value guard) {
    if (!guard) return -1;
    for (std::size_t g = 0; g < guards_.size(); ++g) {
      if (guards_[g] == guard) return static_cast<std::int32_t>(g);
    }
    guards_.push_back(guard);
    return static_cast<std::int32_t>(guards_.size()) - 1;
  }

  // A Map all of whose results are new values of storage, with one guard, read by nothing else, and
  // which reads the storage it writes element by element, may write there directly, last of all; so
  // may the Map of a ProductMap, and PutRows and RowUpdate into the storage whose rows they
  // replace. If another such node reads the same storage, it is computed aside and committed
  // instead.
  void choose_in_place_updates() {
    update_of_.assign(graph_.nodes.size(), {});
    for (const GraphUpdate& u : graph_.updates) {
      plan_.is_updated[static_cast<std::size_t>(where(u.leaf).at)] = 1;
      guard_number(u.guard);
      update_of_[static_cast<std::size_t>(u.value.node)].push_back(u);
    }
    late_.assign(graph_.nodes.size(), 0);
    for (std::int32_t i = 0; i < size(); ++i)
      late_[static_cast<std::size_t>(i)] = may_write_storage(i);
    std::vector<std::int32_t> late_readers(graph_.nodes.size(), 0);  // of each leaf
    std::vector<std::vector<std::int32_t>> read(graph_.nodes.size());
    for (std::int32_t i = 0; i < size(); ++i) {
      if (!late_[static_cast<std::size_t>(i)]) continue;
      read[static_cast<std::size_t>(i)] = bases_read(i, [](Value) { return true; });
      for (const std::int32_t leaf : read[static_cast<std::size_t>(i)])
        ++late_readers[static_cast<std::size_t>(leaf)];
    }
    for (std::int32_t i = 0; i < size(); ++i) {
      const auto n = static_cast<std::size_t>(i);
      const auto is_read_elsewhere = [&](const GraphUpdate& u) {
        const bool own = std::binary_search(read[n].begin(), read[n].end(), u.leaf.node);
        return late_readers[static_cast<std::size_t>(u.leaf.node)] > (own ? 1 : 0);
      };
      if (late_[n] && std::any_of(update_of_[n].begin(), update_of_[n].end(), is_read_elsewhere))
        late_[n] = 0;
    }
  }

  // The nodes whose memory node i reads through the inputs of that kind, each once, in order.
  template <class Kind>
  std::vector<std::int32_t> bases_read(std::int32_t i, Kind kind) const {
    std::vector<std::int32_t> bases;
    for (const Value v : at(i).inputs) {
      if (kind(v)) bases.push_back(graph_.base(v).node);
    }
    std::sort(bases.begin(), bases.end());
    bases.erase(std::unique(bases.begin(), bases.end()), bases.end());
    return bases;
  }

  bool writes_over_inputs(std::int32_t i) const {
    return at(i).op.as<Map>() || at(i).op.as<PutRows>();
  }
  // The sets of a group read no storage that another one writes.
  bool writes_over_storage(std::int32_t i) const {
    return writes_over_inputs(i) || at(i).op.as<MapGroup>() || at(i).op.as<RowUpdate>() ||
           at(i).op.as<ProductMap>();
  }
  bool multiplies(std::int32_t i, Value v) const {
    return at(i).op.as<ProductMap>() && (v == at(i).inputs[0] || v == at(i).inputs[1]);
  }
  bool may_write_storage(std::int32_t i) const {
    const std::vector<GraphUpdate>& updates = update_of_[static_cast<std::size_t>(i)];
    const GraphNode& node = at(i);
    if (!in_place_ || updates.empty() || updates.size() != node.types.size() ||
        !writes_over_storage(i))
      return false;
    for (const std::int32_t uses : uses_.of(i)) {
      if (uses != 1) return false;
    }
    // Read in another order than it is written, or more than once.
    const auto viewed = bases_read(i, [&](Value v) { return is_view(v.node) || multiplies(i, v); });
    for (const GraphUpdate& u : updates) {
      if (!(u.guard == updates[0].guard)) return false;
      if (std::binary_search(viewed.begin(), viewed.end(), u.leaf.node)) return false;
      if (replaces_rows(node) && !replaces_rows_of(graph_, u.value, u.leaf)) return false;
    }
    return true;
  }

  void order_nodes() {
    for (std::int32_t i = 0; i < size(); ++i) {
      if (is_leaf(at(i)) || is_view(i)) continue;
      PlanStep step;
      step.node = i;
      if (!late_[static_cast<std::size_t>(i)]) {
        plan_.steps.push_back(std::move(step));
        continue;
      }
      step.guard = guard_number(update_of_[static_cast<std::size_t>(i)][0].guard);
      plan_.updates.push_back(std::move(step));
      for (const GraphUpdate& u : update_of_[static_cast<std::size_t>(i)]) {
        where(u.value) = {Place::stored, where(u.leaf).at, forever, true};
      }
    }
  }

  void find_parts() {
    const auto may_move = [this](Value v) { return where(v).place == Place::arena; };
    for (const MadePart& made : made_parts(graph_, uses_, in_place_, may_move)) {
      Where& w = where(made.part);
      w.whole = made.whole;
      w.offset =
          made.layout.offset * static_cast<std::int64_t>(size_of(graph_.type(made.part).dtype));
      w.pinned = where(made.whole).pinned = true;
      has_joined_ = true;
      const Layout place{made.layout.shape, made.layout.strides, 0};
      if (place.is_dense()) continue;
      w.way = static_cast<std::int32_t>(ways_.size());
      ways_.push_back(place);
    }
  }

  void find_last_uses() {
    std::int32_t time = 0;
    const auto use = [&](Value v, std::int32_t when) {
      Where& w = where(whole(graph_.base(v)));
      if (w.place == Place::arena) w.last_use = std::max(w.last_use, when);
      if (!is_dense_whole(v)) w.pinned = true;
    };
    for (const auto* phase : {&plan_.steps, &plan_.updates}) {
      for (const PlanStep& step : *phase) {
        for (const Value v : at(step.node).inputs) use(v, time);
        ++time;
      }
    }
    const auto keep = [&](Value v) {
      use(v, forever);
      where(graph_.base(v)).pinned = true;
    };
    for (const Value v : graph_.outputs) keep(v);
    for (const Value v : guards_) keep(v);
    for (const GraphUpdate& u : graph_.updates) {
      if (late_[static_cast<std::size_t>(u.value.node)]) continue;
      keep(u.value);
    }
  }

  // Values that take over the bytes of an input share a block with it.
  void find_blocks() {
    for (std::int32_t time = 0; time < static_cast<std::int32_t>(plan_.steps.size()); ++time) {
      const std::int32_t i = plan_.steps[static_cast<std::size_t>(time)].node;
      const auto results = static_cast<std::int32_t>(at(i).types.size());
      for (std::int32_t r = 0; r < results; ++r) {
        const Value v{i, r};
        plan_.reused_bytes = checked_add(plan_.reused_bytes, whole_lines(bytes(v)));
        const Value owner = whole(v);
        if (where(owner).at >= 0 || (owner == v && take_over_input(v, time))) continue;
        where(owner).at = static_cast<std::int64_t>(blocks_.size());
        blocks_.push_back({bytes(owner), time});
      }
      if (!reuse_) continue;
      const auto end = [&](Value v) {
        blocks_[static_cast<std::size_t>(where(v).at)].death = time;
      };
      for (const Value in : at(i).inputs) {
        const Value owner = whole(graph_.base(in));
        Where& w = where(owner);
        if (w.place != Place::arena || w.last_use != time) continue;
        w.last_use = forever;  // ended once
        end(owner);
      }
      for (std::int32_t r = 0; r < results; ++r) {
        const Value owner = whole({i, r});
        if (where(owner).last_use < 0) end(owner);  // a result that nobody reads
      }
    }
  }

  void place_values() {
    const Placement placed = place(blocks_);
    for (const PlanStep& step : plan_.steps) {
      for (Where& w : where_.of(step.node)) {
        if (!w.whole) w.at = placed.at[static_cast<std::size_t>(w.at)];
      }
    }
    // Parts come before what they lie in.
    for (std::size_t s = plan_.steps.size(); s-- > 0;) {
      for (Where& w : where_.of(plan_.steps[s].node)) {
        if (w.whole) w.at = where(w.whole).at + w.offset;
      }
    }
    plan_.arena_bytes = placed.peak;
    plan_.reused_bytes -= placed.peak;
  }

  // The result of a Map or RowProgram takes the bytes of an input of the same size that dies here
  // and is read densely, that of PutRows those of the value whose rows it replaces.
  bool take_over_input(Value v, std::int32_t time) {
    const bool writes_over = writes_over_inputs(v.node) || at(v.node).op.as<RowProgram>();
    if (!reuse_ || !in_place_ || !writes_over) return false;
    for (const Value in : at(v.node).inputs) {
      if (at(v.node).op.as<PutRows>() && !replaces_rows_of(graph_, v, in)) continue;
      if (graph_.type(in).shape.size() != graph_.type(v).shape.size()) continue;
      Where& w = where(graph_.base(in));
      if (!is_dense_whole(in) || w.place != Place::arena || w.pinned || w.last_use != time ||
          bytes(in) != bytes(v))
        continue;
      where(v).at = w.at;
      w.last_use = forever;  // its memory has a new owner
      ++plan_.in_place;
      return true;
    }
    return false;
  }

  Operand operand(Value v) {
    const Where& w = where(graph_.base(v));
    const View* view = at(v.node).op.as<View>();
    Layout layout = view ? view->layout : Layout::dense(graph_.type(v).shape);
    if (w.way >= 0) {
      const Layout& place = ways_[static_cast<std::size_t>(w.way)];
      if (!view) layout = place;
      else check_internal(compose(view->layout, place, layout), "no layout of a view of a part");
    }
    return {w.place, w.at, graph_.type(v).dtype, layout};
  }

  void fill_operands() {
    for (auto* phase : {&plan_.steps, &plan_.updates}) {
      for (PlanStep& step : *phase) {
        for (const Value v : at(step.node).inputs) step.inputs.push_back(operand(v));
        for (std::size_t r = 0; r < at(step.node).types.size(); ++r) {
          step.outputs.push_back(operand({step.node, static_cast<std::int32_t>(r)}));
        }
      }
    }
    for (const Value v : graph_.outputs) plan_.outputs.push_back(operand(v));
    for (const Value v : guards_) plan_.guards.push_back(operand(v));
    for (const GraphUpdate& u : graph_.updates) {
      if (late_[static_cast<std::size_t>(u.value.node)]) continue;
      plan_.commits.push_back(
          {operand(u.value), static_cast<std::int32_t>(where(u.leaf).at), guard_number(u.guard)});
    }
  }

  const Graph& graph_;
  const bool reuse_, in_place_, joins_;
  bool has_joined_ = false;
  ValueTable<std::int32_t> uses_;
  ValueTable<Where> where_;
  std::vector<std::vector<GraphUpdate>> update_of_;  // per node that makes a new value
  std::vector<char> late_;                           // nodes that write storage in place
  std::vector<Value> guards_;
  std::vector<Layout> ways_;
  std::vector<ArenaBlock> blocks_;
  Plan plan_;
};

// With parts made in their places, unless that needs clearly more memory: a whole is there from its
// first part on.
std::pair<Planner, Live> planned(const Graph& graph, bool reuse, bool in_place) {
  Planner joined(graph, reuse, in_place, true);
  const Live with = joined.live();
  if (!joined.has_joined()) return {std::move(joined), with};
  Planner apart(graph, reuse, in_place, false);
  const Live without = apart.live();
  if (without.most < with.most - with.most / 16) return {std::move(apart), without};
  return {std::move(joined), with};
}

}  // namespace

Plan make_plan(const Graph& graph, bool reuse, bool in_place) {
  return planned(graph, reuse, in_place).first.plan();
}

Live live(const Graph& graph) { return planned(graph, true, true).second; }

}  // namespace blockgrad
