#include "backends/mixed.h"

#include <algorithm>
#include <utility>

#include "backends/products.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "graph/disjoint_parts.h"
#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

class Mixing {
 public:
  Mixing(const Graph& graph, DType half)
      : graph_(graph),
        half_(half),
        is_adjoint_(graph.nodes.size()),
        is_of_product_(graph.nodes.size()),
        uses_(graph),
        halves_(graph),
        rewrite_(graph) {}

  Graph run() {
    find_adjoints();
    find_uses();
    for (std::int32_t i = 0; i < size(); ++i) emit(i);
    return rewrite_.finish();
  }

 private:
  // What is known of a value from those that read it, through Views too.
  struct Uses {
    bool by_product = false;
    bool by_gradient = false;     // a Map of gradients, element by element, behind products of them
    bool is_read = false;         // by the way on which it lies itself, forward or back
    bool ends_elsewhere = false;  // and not in products alone
    bool leads_on = false;        // the way back multiplies, spreads or adds up what is made of it
    bool ends_in_products() const { return (is_read || by_gradient) && !ends_elsewhere; }
  };

  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }
  static std::size_t nth(std::int32_t i) { return static_cast<std::size_t>(i); }
  const GraphNode& at(std::int32_t i) const { return graph_.nodes[nth(i)]; }
  bool is_f32(Value v) const { return graph_.type(v).dtype == DType::f32; }
  bool is_f32_product(const GraphNode& node) const {
    return is_product(node.op) && node.types[0].dtype == DType::f32 && is_f32(node.inputs[0]);
  }
  // The logarithms of attention's sums are no sums of products.
  bool is_product_result(Value v) const {
    const GraphNode& node = at(v.node);
    return is_f32_product(node) && static_cast<std::size_t>(v.result) < result_count(node.op);
  }
  bool is_of_product(Value v) const {
    return is_product_result(v) ||
           (is_of_product_[nth(v.node)] != 0 && !is_f32_product(at(v.node)));
  }
  bool is_of_gradient(std::int32_t i) const { return at(i).origin.role == gradient_role; }
  bool shows_all(std::int32_t view) const {
    return at(view).types[0].shape.size() == graph_.type(at(view).inputs[0]).shape.size();
  }

  // Adjoints are products of gradients and what is made of them. What Maps make of a product is
  // of it; what is made of parameters, inputs and reductions alone is not.
  void find_adjoints() {
    for (std::int32_t i = 0; i < size(); ++i) {
      const GraphNode& node = at(i);
      bool reads_adjoint = false, reads_product = false;
      for (const Value v : node.inputs) {
        reads_adjoint |= is_adjoint_[nth(v.node)] != 0;
        reads_product |= is_f32(v) && is_of_product(v);
      }
      const bool moves = node.op.as<View>() || node.op.as<Unview>();
      is_adjoint_[nth(i)] =
          is_of_gradient(i) ? reads_adjoint || is_product(node.op) : moves && reads_adjoint;
      is_of_product_[nth(i)] =
          is_f32_product(node) || (reads_product && (moves || node.op.as<Map>()));
    }
  }

  void find_uses() {
    for (const Value v : graph_.outputs) end_elsewhere(v);
    for (const GraphUpdate& update : graph_.updates) {
      end_elsewhere(update.value);
      if (update.guard) end_elsewhere(update.guard);
    }
    for (std::int32_t i = size(); i-- > 0;) {
      const GraphNode& node = at(i);
      const std::size_t operands = is_f32_product(node) ? operand_count(node.op) : 0;
      for (std::size_t n = 0; n < node.inputs.size(); ++n) {
        const Value v = node.inputs[n];
        if (!is_f32(v)) continue;
        Uses& uses = uses_[v];
        if (node.op.as<View>()) {
          add_view(uses, i);
          continue;
        }
        const bool by_product = n < operands;
        uses.by_product |= by_product;
        uses.leads_on |= is_of_gradient(i) && leads_on(i);
        if (is_adjoint_[nth(i)] && !is_adjoint_[nth(v.node)]) {
          uses.by_gradient |= node.op.as<Map>() != nullptr;
          continue;
        }
        if (is_last_sum(i)) continue;
        uses.is_read = true;
        uses.ends_elsewhere |= !by_product && !passes_to_products(i);
      }
    }
  }

  void end_elsewhere(Value v) {
    uses_[v].is_read = true;
    uses_[v].ends_elsewhere = true;
  }

  void add_view(Uses& uses, std::int32_t view) const {
    const Uses& seen = uses_[{view, 0}];
    uses.by_product |= seen.by_product;
    uses.by_gradient |= seen.by_gradient && shows_all(view);
    uses.is_read |= seen.is_read;
    uses.ends_elsewhere |= seen.ends_elsewhere;
    const bool spreads =
        at(view).types[0].shape.size() > graph_.type(at(view).inputs[0]).shape.size();
    uses.leads_on |= spreads || seen.leads_on;
  }

  bool leads_on(std::int32_t i) const {
    if (!at(i).op.as<Map>() && !at(i).op.as<Unview>()) return true;
    const auto leads = [](const Uses& uses) { return uses.leads_on; };
    return std::ranges::any_of(uses_.of(i), leads);
  }

  // A sum of gradients, over a batch, that nothing of the way back is made of.
  bool is_last_sum(std::int32_t i) const {
    const Reduce* reduce = at(i).op.as<Reduce>();
    return reduce && reduce->kind == ReduceKind::sum && is_of_gradient(i) &&
           !is_leaf(at(source_of(at(i).inputs[0]).node)) && !uses_[{i, 0}].leads_on;
  }

  bool passes_to_products(std::int32_t i) const {
    if (!at(i).op.as<Map>() && !at(i).op.as<Unview>()) return false;
    for (const Uses& uses : uses_.of(i)) {
      if (!uses.ends_in_products()) return false;
    }
    return true;
  }

  // Whether there is r(v).
  bool is_rounded(Value v) const {
    const GraphNode& node = at(v.node);
    if (node.op.as<View>()) return is_rounded(node.inputs[0]);
    if (!is_f32(v)) return false;
    const Uses& uses = uses_[v];
    if (uses.by_product || (is_product_result(v) && has_half_results(v.node))) return true;
    const bool is_kept = uses.by_gradient && !is_adjoint_[nth(v.node)] && is_of_product(v);
    return is_kept && (node.op.as<Map>() || is_product_result(v));
  }
  // Results that nobody reads do not count.
  bool has_half_results(std::int32_t i) const {
    if (!is_f32_product(at(i))) return false;
    const std::span<const Uses> results = uses_.of(i).first(result_count(at(i).op));
    const auto ends_elsewhere = [](const Uses& uses) { return uses.ends_elsewhere; };
    const auto ends_in_products = [](const Uses& uses) { return uses.ends_in_products(); };
    return std::none_of(results.begin(), results.end(), ends_elsewhere) &&
           std::any_of(results.begin(), results.end(), ends_in_products);
  }
  // Whether Map i reads r(v) as its input v.
  bool reads_rounded(std::int32_t i, Value v) const {
    if (!is_f32(v) || !is_rounded(v)) return false;
    const Value source = source_of(v);
    if (is_leaf(at(source.node))) return false;
    if (uses_[source].ends_in_products() && is_of_product(source)) return true;
    return is_adjoint_[nth(i)] && !is_adjoint_[nth(source.node)] &&
           graph_.type(v).shape.size() == graph_.type(source).shape.size();
  }
  Value source_of(Value v) const {
    while (at(v.node).op.as<View>()) v = at(v.node).inputs[0];
    return v;
  }

  void emit(std::int32_t i) {
    const GraphNode& node = at(i);
    if (is_f32_product(node)) {
      emit_product(i, node);
    } else if (node.op.as<Map>()) {
      emit_map(i, *node.op.as<Map>());
    } else if (node.op.as<Unview>() && joins_halves(i)) {
      emit_join(i, node);
    } else if (is_last_sum(i) && is_rounded(node.inputs[0])) {
      emit_sum(i, node);
    } else {
      rewrite_.keep(i);
    }
  }

  void emit_product(std::int32_t i, const GraphNode& node) {
    const DType dtype = has_half_results(i) ? half_ : DType::f32;
    GraphNode product{with_result(node.op, dtype), {}, node.types, node.origin};
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      const bool is_operand = n < operand_count(node.op);
      const Value v = node.inputs[n];
      product.inputs.push_back(is_operand ? rounded(v) : rewrite_.renamed(v));
    }
    for (std::size_t r = 0; r < result_count(node.op); ++r) product.types[r].dtype = dtype;
    const std::int32_t made = rewrite_.add(std::move(product));
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(node.types.size()); ++r) {
      const Value result{made, r};
      if (rewrite_.result().type(result).dtype == half_) halves_[{i, r}] = result;
      rewrite_.rename({i, r}, astype(rewrite_, result, DType::f32, node.origin));
    }
  }

  // Whether Unview i puts rounded parts beside each other for readers who all read it rounded.
  bool joins_halves(std::int32_t i) const {
    const Unview& join = *at(i).op.as<Unview>();
    const auto& parts = at(i).inputs;
    return uses_[{i, 0}].ends_in_products() && is_of_product({i, 0}) &&
           std::all_of(parts.begin(), parts.end(), [&](Value v) { return is_rounded(v); }) &&
           are_surely_disjoint(join.layouts, join.shape);
  }

  void emit_join(std::int32_t i, const GraphNode& node) {
    GraphNode join{node.op, {}, {{half_, node.types[0].shape}}, node.origin};
    for (const Value v : node.inputs) join.inputs.push_back(rounded(v));
    const Value made = add(std::move(join));
    halves_[{i, 0}] = made;
    rewrite_.rename({i, 0}, astype(rewrite_, made, DType::f32, node.origin));
  }

  void emit_sum(std::int32_t i, GraphNode sum) {
    sum.inputs[0] = rounded(sum.inputs[0]);
    rename_results(rewrite_, i, rewrite_.add(std::move(sum)));
  }

  // Inputs that are rounded are widened inside the formula, so that nobody stores them as f32.
  void emit_map(std::int32_t i, const Map& map) {
    GraphNode node = at(i);
    std::vector<DType> dtypes(map.fn.inputs().begin(), map.fn.inputs().end());
    bool has_halves = false;
    for (std::size_t n = 0; n < node.inputs.size(); ++n) {
      const bool reads = reads_rounded(i, node.inputs[n]);
      node.inputs[n] = reads ? rounded(node.inputs[n]) : rewrite_.renamed(node.inputs[n]);
      if (reads) dtypes[n] = half_;
      has_halves |= reads;
    }
    if (!has_halves) {
      rewrite_.keep(i);
      return;
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    for (std::size_t n = 0; n < dtypes.size(); ++n) {
      const Scalar input = recorder.input(static_cast<int>(n));
      args.push_back(recorder.cast(input, map.fn.inputs()[n]));
    }
    node.op = Map{recorder.finish(recorder.inlined(map.fn, args)), map.short_name};
    rename_results(rewrite_, i, rewrite_.add(std::move(node)));
  }

  // r(v) in the new graph, made when it is read first.
  Value rounded(Value v) {
    std::vector<Value> views;  // from the reader's to the source's
    while (!halves_[v] && at(v.node).op.as<View>()) {
      views.push_back(v);
      v = at(v.node).inputs[0];
    }
    if (!halves_[v]) halves_[v] = astype(rewrite_, rewrite_.renamed(v), half_, at(v.node).origin);
    for (auto view = views.rbegin(); view != views.rend(); ++view) {
      const GraphNode& node = at(view->node);
      halves_[*view] = add({node.op, {halves_[v]}, {{half_, node.types[0].shape}}, node.origin});
      v = *view;
    }
    return halves_[v];
  }

  Value add(GraphNode node) { return {rewrite_.add(std::move(node)), 0}; }

  const Graph& graph_;
  DType half_;
  std::vector<char> is_adjoint_, is_of_product_;  // per node
  ValueTable<Uses> uses_;
  ValueTable<Value> halves_;  // r(v) in the new graph
  Rewrite rewrite_;
};

}  // namespace

Graph mixed(const Graph& graph, DType half) {
  const Graph merged = merge_equal(simplify(graph));
  return Mixing(merged, half).run();
}

}  // namespace blockgrad
