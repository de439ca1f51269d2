#include "backends/row_updates.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>

#include "backends/row_terms.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/rows.h"
#include "graph/row_update.h"

namespace blockgrad {

namespace {

constexpr std::int64_t least_inner = 64;  // elements of a row whose terms are made for it alone
constexpr std::int64_t most_positions = std::numeric_limits<std::int32_t>::max();

class Fusion {
 public:
  explicit Fusion(const Graph& graph)
      : graph_(graph), uses_(use_counts(graph)), update_of_(graph.nodes.size(), -1) {
    for (std::size_t u = 0; u < graph.updates.size(); ++u)
      update_of_[index(graph.updates[u].value.node)] = static_cast<std::int32_t>(u);
  }

  Graph run() {
    find_writers();
    std::vector<std::int32_t> map_of(graph_.nodes.size(), -1);  // of the last PutRows of an update
    std::vector<char> is_gone(graph_.nodes.size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      if (!is_row_update(i)) continue;
      for (const std::int32_t put : writers_[index(i)]) is_gone[index(put)] = 1;
      const auto last = *std::max_element(writers_[index(i)].begin(), writers_[index(i)].end());
      is_gone[index(i)] = 1;
      map_of[index(last)] = i;
      find_terms_of(i);
    }
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < size(); ++i) {
      if (map_of[index(i)] >= 0) emit(rewrite, map_of[index(i)]);
      else if (sources_.has(i)) sources_.emit(graph_, rewrite, i);
      else if (!is_gone[index(i)]) rewrite.keep(i);
    }
    return rewrite.finish();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }

  // For each Map the PutRows that write its results, in their order; none if another node reads one
  // or one is read twice.
  void find_writers() {
    writers_.resize(graph_.nodes.size());
    for (std::int32_t i = 0; i < size(); ++i) {
      if (!at(i).op.as<PutRows>()) continue;
      const Value value = at(i).inputs[2];
      if (!at(value.node).op.as<Map>() || uses_[value] != 1) continue;
      std::vector<std::int32_t>& own = writers_[index(value.node)];
      own.resize(at(value.node).types.size(), -1);
      own[index(value.result)] = i;
    }
  }

  bool is_row_update(std::int32_t map) const {
    const std::vector<std::int32_t>& puts = writers_[index(map)];
    if (puts.empty() || std::find(puts.begin(), puts.end(), -1) != puts.end()) return false;
    const GraphNode& first = at(puts[0]);
    const MergeRows* merge = graph_.node(first.inputs[1]).op.as<MergeRows>();
    if (!merge || first.inputs[1].result != 0 ||
        !(first.inputs[3] == Value{first.inputs[1].node, 2}))
      return false;
    for (std::size_t r = 0; r < puts.size(); ++r) {
      const GraphNode& put = at(puts[r]);
      const std::int32_t update = update_of_[index(puts[r])];
      if (update < 0 || uses_[{puts[r], 0}] != 1) return false;
      const GraphUpdate& own = graph_.updates[index(update)];
      if (!(own.leaf == put.inputs[0]) || !(own.guard == guard_of(puts[0])) ||
          !(put.inputs[1] == first.inputs[1]) || !(put.inputs[3] == first.inputs[3]) ||
          !(graph_.type(put.inputs[0]).shape == graph_.type(first.inputs[0]).shape))
        return false;
    }
    const std::vector<std::int32_t> tables = tables_of(map);
    const bool takes = std::any_of(tables.begin(), tables.end(), [](auto t) { return t >= 0; });
    return takes && tables.size() + puts.size() <= RowUpdate::most_values && !counts(map) &&
           has_plain_values(map, tables);
  }

  // Whether the formula asks for the number of an element, which blocks of rows do not have.
  bool counts(std::int32_t map) const {
    const auto code = at(map).op.as<Map>()->fn.code();
    return std::any_of(code.begin(), code.end(),
                       [](const ScalarInstr& instr) { return instr.op == ScalarOp::flat_index; });
  }

  Value guard_of(std::int32_t put) const {
    return graph_.updates[index(update_of_[index(put)])].guard;
  }

  // What each input of the Map is to the RowUpdate.
  std::vector<std::int32_t> tables_of(std::int32_t map) const {
    const std::vector<std::int32_t>& puts = writers_[index(map)];
    std::vector<std::int32_t> tables;
    for (const Value in : at(map).inputs) {
      std::int32_t table = RowUpdate::values;
      const GraphNode& take = graph_.node(in);
      for (std::size_t r = 0; take.op.as<Gather>() && uses_[in] == 1 && r < puts.size(); ++r) {
        const GraphNode& put = at(puts[r]);
        if (take.inputs[0] == put.inputs[0] && take.inputs[1] == put.inputs[1])
          table = static_cast<std::int32_t>(r);
      }
      tables.push_back(table);
    }
    add_up(map, tables);
    return tables;
  }

  // Sums that nothing else reads, of rows that nothing else names, are not made before.
  void add_up(std::int32_t map, std::vector<std::int32_t>& tables) const {
    const std::vector<std::int32_t>& puts = writers_[index(map)];
    const std::int32_t merge = at(puts[0]).inputs[1].node;
    const auto takes = std::count_if(tables.begin(), tables.end(), [](auto t) { return t >= 0; });
    const auto written = static_cast<std::int64_t>(puts.size());
    const auto sum = std::find(at(map).inputs.begin(), at(map).inputs.end(), Value{merge, 1});
    if (sum == at(map).inputs.end() || uses_[{merge, 0}] != written + takes ||
        uses_[{merge, 1}] != 1 || uses_[{merge, 2}] != written ||
        graph_.type(at(merge).inputs[0]).shape.size() > most_positions)
      return;
    tables[static_cast<std::size_t>(sum - at(map).inputs.begin())] = RowUpdate::sums;
  }

  // Whether all else that the Map reads lies as RowUpdate wants it and is none of the tables.
  bool has_plain_values(std::int32_t map, const std::vector<std::int32_t>& tables) const {
    const RowUpdate update{at(map).op.as<Map>()->fn, tables};
    auto next = static_cast<int>(update.first_value());
    for (std::size_t j = 0; j < tables.size(); ++j) {
      const int number = tables[j] < 0 ? next++ : -1;
      if (tables[j] != RowUpdate::values) continue;
      const Value in = at(map).inputs[j];
      const View* view = graph_.node(in).op.as<View>();
      if (view && !update.accepts(number, view->layout)) return false;
      const Value base = graph_.base(in);
      for (const std::int32_t put : writers_[index(map)]) {
        if (at(put).inputs[0] == base) return false;
      }
    }
    return true;
  }

  // Terms of the sums of an update, if it alone reads what it adds up.
  void find_terms_of(std::int32_t map) {
    const std::vector<std::int32_t>& puts = writers_[index(map)];
    const std::vector<std::int32_t> tables = tables_of(map);
    if (std::find(tables.begin(), tables.end(), RowUpdate::sums) == tables.end()) return;
    const Shape& table = at(puts[0]).types[0].shape;
    const std::int64_t inner = table[0] == 0 ? 0 : table.size() / table[0];
    const Value value = graph_.node(at(puts[0]).inputs[1]).inputs[1], base = graph_.base(value);
    const View* view = graph_.node(value).op.as<View>();
    if (inner < least_inner || uses_[value] != 1 || (view && !view->layout.is_dense()) ||
        (view && (uses_[base] != 1 || graph_.type(base).shape.size() != view->layout.shape.size())))
      return;
    std::optional<RowTerms> terms = find_terms(graph_, base, graph_.type(value).shape[0], inner);
    if (!terms || terms->inputs.size() + tables.size() > RowUpdate::most_values) return;
    for (const RowValue in : terms->inputs) {
      if (in.step < 0 && is_updated(at(terms->source).inputs[static_cast<std::size_t>(in.result)]))
        return;
    }
    sources_.drop(graph_, base, *terms);
    terms_.emplace(map, std::move(*terms));
  }

  // Whether a value is storage that the program writes, which should not wait for one more reader.
  bool is_updated(Value value) const {
    const Value base = graph_.base(value);
    return std::any_of(graph_.updates.begin(), graph_.updates.end(),
                       [&](const GraphUpdate& update) { return update.leaf == base; });
  }

  void emit(Rewrite& rewrite, std::int32_t map) const {
    const std::vector<std::int32_t>& puts = writers_[index(map)];
    const auto terms = terms_.find(map);
    RowUpdate update{at(map).op.as<Map>()->fn, tables_of(map)};
    if (terms != terms_.end()) {
      const Shape& table = at(puts[0]).types[0].shape;
      update.terms = terms->second.fn;
      update.inner = table.size() / table[0];
    }
    GraphNode node{std::move(update), {}, {}, at(puts[0]).origin};
    for (const std::int32_t put : puts) {
      node.inputs.push_back(rewrite.renamed(at(put).inputs[0]));
      node.types.push_back(at(put).types[0]);
    }
    const Value rows = at(puts[0]).inputs[1];
    const RowUpdate& op = *node.op.as<RowUpdate>();
    if (op.has_sums()) {
      const std::int32_t order = add_order(rewrite, rows.node);
      for (const std::int32_t result : {0, 3, 1, 2}) node.inputs.push_back({order, result});
    } else {
      node.inputs.push_back(rewrite.renamed(rows));
      node.inputs.push_back(rewrite.renamed(at(puts[0]).inputs[3]));
    }
    for (std::size_t j = 0; j < op.tables.size(); ++j) {
      if (op.terms && op.tables[j] == RowUpdate::sums) {
        for (const Value term : sources_.inputs(graph_, rewrite, terms->second))
          node.inputs.push_back(term);
        continue;
      }
      const bool is_sum = op.tables[j] == RowUpdate::sums;
      const Value value = is_sum ? at(rows.node).inputs[1] : at(map).inputs[j];
      if (op.tables[j] < 0) node.inputs.push_back(rewrite.renamed(value));
    }
    const std::int32_t made = rewrite.add(std::move(node));
    for (std::size_t r = 0; r < puts.size(); ++r)
      rewrite.rename({puts[r], 0}, {made, static_cast<std::int32_t>(r)});
  }

  std::int32_t add_order(Rewrite& rewrite, std::int32_t merge) const {
    const Value numbers = at(merge).inputs[0];
    const RowOrder order{at(merge).types[0].shape[0]};
    const TensorType in[] = {graph_.type(numbers)};
    return rewrite.add({order, {rewrite.renamed(numbers)}, order.infer(in), at(merge).origin});
  }

  const Graph& graph_;
  ValueTable<std::int32_t> uses_;
  std::vector<std::int32_t> update_of_;             // per node: an update that it is the value of
  std::vector<std::vector<std::int32_t>> writers_;  // per Map
  std::map<std::int32_t, RowTerms> terms_;          // of Maps
  TermSources sources_;
};

}  // namespace

Graph fuse_row_updates(const Graph& graph) { return Fusion(graph).run(); }

}  // namespace blockgrad
