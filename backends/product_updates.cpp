#include "backends/product_updates.h"

#include <algorithm>
#include <optional>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/linalg.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

// Of a gradient: a smaller one is updated together with others.
constexpr std::int64_t least_bytes = 64 * 1024;
// Of a row, of which some have to stay in the cache.
constexpr std::int64_t most_row_bytes = 32 * 1024;
// Of a sum, beside which an update is little; and of what all rows are made from, if it is to stay
// in the cache while memory passes through it.
constexpr std::int64_t few_terms = 128, most_terms = 1024, near_bytes = 256 * 1024;

class Fusion {
 public:
  explicit Fusion(const Graph& graph)
      : graph_(graph),
        uses_(use_counts(graph)),
        updates_of_(graph.nodes.size()),
        is_updated_(graph.nodes.size(), 0) {
    for (const GraphUpdate& u : graph.updates) {
      updates_of_[index(u.value.node)].push_back(u);
      is_updated_[index(u.leaf.node)] = 1;
    }
  }

  Graph run() {
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      if (const auto gradient = gradient_of(i)) emit(rewrite, i, *gradient);
      else rewrite.keep(i);
    }
    return rewrite.finish();
  }

  bool has_joined() const { return has_joined_; }

 private:
  static std::size_t index(std::int32_t i) { return static_cast<std::size_t>(i); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[index(i)]; }
  Layout layout(Value v) const {
    const View* view = at(v.node).op.as<View>();
    return view ? view->layout : Layout::dense(graph_.type(v).shape);
  }

  // A Map that only makes new values of storage, under one guard, from elements at one position,
  // wherever that is.
  bool is_update(std::int32_t i) const {
    const std::vector<GraphUpdate>& updates = updates_of_[index(i)];
    const Map* map = at(i).op.as<Map>();
    if (!map || updates.empty() || updates.size() != at(i).types.size()) return false;
    for (const GraphUpdate& u : updates) {
      if (uses_[u.value] != 1 || !(u.guard == updates[0].guard)) return false;
    }
    const auto& code = map->fn.code();
    return std::none_of(code.begin(), code.end(),
                        [](const ScalarInstr& instr) { return instr.op == ScalarOp::flat_index; });
  }

  // Which input of an update is a product that may be made row by row.
  std::optional<std::size_t> gradient_of(std::int32_t i) const {
    if (!is_update(i)) return {};
    const std::vector<Value>& inputs = at(i).inputs;
    for (std::size_t n = 0; n < inputs.size(); ++n) {
      const auto goes_with_rows = [&](const Value& v) {
        return &v == &inputs[n] || is_whole(v) || is_number(v);
      };
      if (is_gradient(inputs[n]) && std::all_of(inputs.begin(), inputs.end(), goes_with_rows))
        return n;
    }
    return {};
  }

  // All elements of a value in their order.
  bool is_whole(Value v) const {
    return layout(v).is_dense() &&
           graph_.type(v).shape.size() == graph_.type(graph_.base(v)).shape.size();
  }
  // One element at all positions.
  bool is_number(Value v) const {
    const Layout all = layout(v);
    for (int a = 0; a < all.shape.rank(); ++a) {
      if (all.shape[a] != 1 && all.strides[index(a)] != 0) return false;
    }
    return true;
  }

  // All elements of a matrix, column by column.
  bool is_turned(Value v) const {
    const Layout all = layout(v);
    const Shape& whole = graph_.type(graph_.base(v)).shape;
    return whole.rank() == 2 && all.shape == Shape{whole[1], whole[0]} &&
           all == Layout{all.shape, {1, whole[1]}, 0};
  }

  bool is_gradient(Value v) const {
    const Value product = graph_.base(v);
    const GraphNode& node = at(product.node);
    if (!node.op.as<MatMul>() || uses_[v] != 1 || uses_[product] != 1) return false;
    if (!is_whole(v) && !is_turned(v)) return false;
    const TensorType& type = node.types[0];
    const int rank = type.shape.rank();
    const std::int64_t columns = type.shape[is_whole(v) ? rank - 1 : rank - 2];
    const auto row_bytes = columns * static_cast<std::int64_t>(size_of(type.dtype));
    const std::int64_t terms = terms_of(node);
    if (type.shape.size() != type.shape[rank - 1] * type.shape[rank - 2] ||
        bytes_of(type) < least_bytes || row_bytes > most_row_bytes || terms <= 0 ||
        terms > most_terms || (terms > few_terms && terms * row_bytes > near_bytes))
      return false;
    std::int64_t kept = 0;
    for (const Value in : node.inputs) {
      const Value base = graph_.base(in);
      if (graph_.type(in).dtype != type.dtype || is_updated_[index(base.node)]) return false;
      if (!is_leaf(at(base.node))) kept += bytes_of(graph_.type(base));
    }
    return (type.dtype == DType::f32 || type.dtype == DType::f64) && kept <= bytes_of(type);
  }

  // Of a sum over rows that both operands have in memory; 0 where they do not.
  std::int64_t terms_of(const GraphNode& product) const {
    const Layout a = layout(product.inputs[0]), b = layout(product.inputs[1]);
    const bool have_rows =
        a.strides[index(a.shape.rank() - 2)] == 1 && b.strides[index(b.shape.rank() - 1)] == 1;
    return have_rows ? a.shape[a.shape.rank() - 1] : 0;
  }

  // The transpose of a matrix, as a View of what that is a View of.
  Value turned(Rewrite& rewrite, Value v) const {
    const Layout all = layout(v);
    const View view{
        {Shape{all.shape[1], all.shape[0]}, {all.strides[1], all.strides[0]}, all.offset}};
    const TensorType type{graph_.type(v).dtype, view.layout.shape};
    const Value base = rewrite.renamed(graph_.base(v));
    return {rewrite.add({view, {base}, {type}, at(v.node).origin}), 0};
  }

  void emit(Rewrite& rewrite, std::int32_t i, std::size_t gradient) {
    const GraphNode& map = at(i);
    const GraphNode& product = at(graph_.base(map.inputs[gradient]).node);
    const Origin origin{map.origin.where, map.origin.scope, product.origin.role, product.origin.of};
    GraphNode made{ProductMap{product.op, {}, {}}, {}, map.types, origin};
    if (is_whole(map.inputs[gradient])) {
      for (const Value v : product.inputs) made.inputs.push_back(rewrite.renamed(v));
    } else {
      made.inputs = {turned(rewrite, product.inputs[1]), turned(rewrite, product.inputs[0])};
    }
    std::vector<DType> dtypes{product.types[0].dtype};
    std::vector<int> number;  // of each of the Map's inputs, among the formula's
    for (std::size_t n = 0; n < map.inputs.size(); ++n) {
      number.push_back(n == gradient ? 0 : static_cast<int>(dtypes.size()));
      if (n == gradient) continue;
      made.inputs.push_back(rewrite.renamed(map.inputs[n]));
      dtypes.push_back(graph_.type(map.inputs[n]).dtype);
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    for (const int n : number) args.push_back(recorder.input(n));
    ProductMap op{product.op, recorder.finish(recorder.inlined(map.op.as<Map>()->fn, args)), {}};
    for (const TensorType& type : made.types) op.shapes.push_back(type.shape);
    made.op = std::move(op);
    const std::int32_t node = rewrite.add(std::move(made));
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(map.types.size()); ++r)
      rewrite.rename({i, r}, {node, r});
    has_joined_ = true;
  }

  const Graph& graph_;
  ValueTable<std::int32_t> uses_;
  std::vector<std::vector<GraphUpdate>> updates_of_;  // per node that makes new values
  std::vector<char> is_updated_;                      // per leaf
  bool has_joined_ = false;
};

}  // namespace

Graph fuse_product_updates(const Graph& graph) {
  Fusion fusion(graph);
  Graph fused = fusion.run();
  if (!fusion.has_joined() || live_bytes(shorten_lives(fused)) > live_bytes(shorten_lives(graph)))
    return graph;
  return fused;
}

}  // namespace blockgrad
