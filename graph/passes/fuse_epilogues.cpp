// A Map behind a product runs on its elements while they are in registers, or in the cache: the
// product is not written and read again, and a kernel less is started. Nothing is read more often
// than before, so what decides is whether a tile's kernel can hold the formula.
#include <algorithm>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/clusters.h"
#include "graph/passes/passes.h"
#include "graph/passes/tails.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

// Of the formula, which a thread holds for a few elements at once.
constexpr std::size_t most_instructions = 128;
constexpr std::size_t most_extras = 8;
constexpr std::size_t most_results = 4;

class Epilogues {
 public:
  Epilogues(const Graph& graph, const ProductFormulas& formulas, FusionLog* log)
      : graph_(graph),
        log_(log),
        is_in_place_(formulas.is_in_place),
        clusters_(graph.nodes.size()),
        uses_(use_counts(graph)),
        tails_(find_tails(graph)),
        spaces_(graph.nodes.size()) {
    for (std::size_t i = 0; i < graph.nodes.size(); ++i) find_product(i, formulas.space);
  }

  Graph run() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (spaces_[index(i)]) clusters_.open(i, at(i).inputs);
      else if (!at(i).op.as<Map>() || !join(i)) clusters_.add_plain(i, at(i).inputs);
    }
    Rewrite rewrite(graph_);
    const auto members = [&](const std::int32_t& i) {
      const std::int32_t c = clusters_.cluster_of(i);
      return c < 0 ? std::span(&i, 1) : std::span(clusters_.members()[index(c)]);
    };
    const auto is_inside = [&](std::int32_t m, Value v) {
      const std::int32_t c = clusters_.cluster_of(m);
      return c >= 0 && clusters_.cluster_of(source(v).node) == c;
    };
    for_each_ready_group(graph_, members, is_inside, [&](std::span<const std::int32_t> nodes) {
      if (nodes.size() == 2) emit(rewrite, nodes[0], nodes[1]);
      else if (!is_passed_by(nodes[0])) rewrite.keep(nodes[0]);
    });
    return rewrite.finish();
  }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }

  void find_product(std::size_t i, const ProductSpace& space) {
    const GraphNode& node = graph_.nodes[i];
    if (node.inputs.size() != ProductMap::operands || node.types.size() != 1 ||
        node.types[0].shape.size() == 0)
      return;
    const TensorType in[] = {graph_.type(node.inputs[0]), graph_.type(node.inputs[1])};
    spaces_[i] = space(node.op, in, node.types);
  }

  /// The value whose elements v has, all of them in their order.
  Value source(Value v) const {
    const View* view = at(v.node).op.as<View>();
    if (!view || !view->layout.is_dense()) return v;
    const Value base = at(v.node).inputs[0];
    return graph_.type(base).shape.size() == graph_.type(v).shape.size() ? base : v;
  }

  /// What a Map in the cluster of `product` reads from outside: its inputs, but the product for
  /// what only renames it.
  std::vector<Value> reads(std::int32_t map, std::int32_t product) const {
    std::vector<Value> all = at(map).inputs;
    for (Value& v : all) {
      if (source(v).node == product) v = source(v);
    }
    return all;
  }

  // The product that was made last is the one whose elements are at hand.
  bool join(std::int32_t i) {
    std::vector<std::int32_t> products;
    for (const Value v : at(i).inputs) {
      if (spaces_[index(source(v).node)]) products.push_back(source(v).node);
    }
    std::sort(products.rbegin(), products.rend());
    products.erase(std::unique(products.begin(), products.end()), products.end());
    for (std::size_t p = 0; p < products.size(); ++p) {
      const std::string_view why = why_apart(i, products[p]);
      if (why.empty()) {
        clusters_.join(i, reads(i, products[p]), clusters_.cluster_of(products[p]));
        return true;
      }
      if (log_) log_->refusals.push_back({i, products[p], why});
    }
    return false;
  }

  std::string_view why_apart(std::int32_t i, std::int32_t product) const {
    const std::int32_t cluster = clusters_.cluster_of(product);
    if (clusters_.members()[index(cluster)].size() > 1) return "another one runs on its elements";
    if (tails_[index(i)].is_tail) return "it is an update, which runs last and in place";
    if (!clusters_.is_open(cluster)) return "too many products lie between them";
    const std::vector<Value> values = reads(i, product);
    if (!clusters_.may_join(values, cluster)) return "something between them needs the product";
    if (at(i).types.size() + (is_read_elsewhere(product, i) ? 1 : 0) > most_results)
      return "it would write too many values at once";
    if (is_in_place_ && (at(i).types.size() != 1 || is_read_elsewhere(product, i) ||
                         at(i).types[0].dtype != at(product).types[0].dtype))
      return "its result does not take the product's place";
    if (at(i).op.as<Map>()->fn.code().size() > most_instructions) return "the formula is too long";
    std::size_t extras = 0;
    for (const Value v : values) {
      if (v.node == product) continue;
      ++extras;
      Layout rows;
      const View* view = at(v.node).op.as<View>();
      const Layout dense = Layout::dense(*spaces_[index(product)]);
      if (view && !compose(dense, view->layout, rows))
        return "it reads a value whose rows are not the product's";
    }
    return extras > most_extras ? "it reads too many values at once" : "";
  }

  /// Whether the product is needed by more than the Map.
  bool is_read_elsewhere(std::int32_t product, std::int32_t map) const {
    const std::vector<Value>& inputs = at(map).inputs;
    std::int32_t inside = 0;
    for (auto v = inputs.begin(); v != inputs.end(); ++v) {
      if (source(*v).node != product) continue;
      if (v->node == product) ++inside;
      else if (std::find(inputs.begin(), v, *v) == v && is_read_by(map, *v)) ++inside;
    }
    return uses_[{product, 0}] > inside;
  }
  /// Whether all reads of v are this Map's.
  bool is_read_by(std::int32_t map, Value v) const {
    const std::vector<Value>& inputs = at(map).inputs;
    return std::count(inputs.begin(), inputs.end(), v) == uses_[v];
  }
  /// Whether the node renames a product for the Map that runs on its elements, and for nobody else.
  bool is_passed_by(std::int32_t i) const {
    if (!at(i).op.as<View>() || source({i, 0}) == Value{i, 0}) return false;
    const std::int32_t cluster = clusters_.cluster_of(source({i, 0}).node);
    if (cluster < 0) return false;
    const auto& members = clusters_.members()[index(cluster)];
    return members.size() == 2 && is_read_by(members[1], {i, 0});
  }

  void emit(Rewrite& rewrite, std::int32_t product, std::int32_t map) {
    const ScalarFn& formula = at(map).op.as<Map>()->fn;
    const TensorType& raw = at(product).types[0];
    GraphNode made{ProductMap{at(product).op, {}, {}}, {}, {}, at(map).origin};
    for (const Value v : at(product).inputs) made.inputs.push_back(rewrite.renamed(v));
    std::vector<DType> dtypes{raw.dtype};
    std::vector<int> number;  // of each of the Map's inputs, among the formula's
    for (const Value v : at(map).inputs) {
      const bool is_product = source(v).node == product;
      number.push_back(is_product ? 0 : static_cast<int>(dtypes.size()));
      if (is_product) continue;
      made.inputs.push_back(rewrite.renamed(v));
      dtypes.push_back(graph_.type(v).dtype);
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    for (const int n : number) args.push_back(recorder.input(n));
    std::vector<Scalar> results = recorder.inlined(formula, args);
    made.types = at(map).types;
    const bool is_kept = is_read_elsewhere(product, map);
    if (is_kept) {
      results.push_back(recorder.input(0));
      made.types.push_back(raw);
    }
    ProductMap op{at(product).op, recorder.finish(results), {}};
    for (const TensorType& type : made.types) op.shapes.push_back(type.shape);
    made.op = std::move(op);
    const std::int32_t node = rewrite.add(std::move(made));
    const auto count = static_cast<std::int32_t>(at(map).types.size());
    for (std::int32_t r = 0; r < count; ++r) rewrite.rename({map, r}, {node, r});
    if (is_kept) rewrite.rename({product, 0}, {node, count});
    if (log_) log_->groups.push_back({product, map});
  }

  const Graph& graph_;
  FusionLog* const log_;
  const bool is_in_place_;
  Clusters clusters_;
  ValueTable<std::int32_t> uses_;
  std::vector<Tail> tails_;
  std::vector<std::optional<Shape>> spaces_;  // of the products
};

}  // namespace

Graph fuse_epilogues(const Graph& graph, const ProductFormulas& formulas, FusionLog* log) {
  return Epilogues(graph, formulas, log).run();
}

}  // namespace blockgrad
