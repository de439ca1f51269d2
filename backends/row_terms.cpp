#include "backends/row_terms.h"

#include <algorithm>

#include "blockgrad/graph/view.h"
#include "graph/costly.h"
#include "graph/row_update.h"

namespace blockgrad {

namespace {

constexpr int most_rows = 2;          // read for one that is not stored and read
constexpr int most_instructions = 8;  // done again for each piece of a row

bool is_cheap(const ScalarFn& fn) {
  int instructions = 0;
  for (const ScalarInstr& instr : fn.code()) {
    const bool counts = instr.op == ScalarOp::flat_index || instr.op == ScalarOp::uniform_low ||
                        instr.op == ScalarOp::uniform_high;
    if (counts || is_costly(instr.op)) return false;
    instructions += arity(instr.op) > 0 ? 1 : 0;
  }
  return instructions <= most_instructions;
}

Layout layout_of(const Graph& graph, Value v) {
  const View* view = graph.node(v).op.as<View>();
  return view ? view->layout : Layout::dense(graph.type(v).shape);
}

bool are_rows(const RowSpace& space, std::int64_t rows, std::int64_t inner) {
  return space.tail == 1 && space.inner == 1 && space.n == inner && space.outer == rows;
}

}  // namespace

std::optional<RowTerms> find_terms(const Graph& graph, Value value, std::int64_t rows,
                                   std::int64_t inner) {
  const GraphNode& node = graph.node(value);
  RowTerms terms;
  terms.source = value.node;
  std::vector<RowValue> inputs;
  const ScalarFn* fn = nullptr;
  std::int32_t result = value.result;
  const RowProgram* program = node.op.as<RowProgram>();
  if (const Map* map = node.op.as<Map>()) {
    fn = &map->fn;
    for (std::size_t j = 0; j < node.inputs.size(); ++j)
      inputs.push_back({-1, static_cast<std::int32_t>(j)});
  } else if (program && are_rows(program->space, rows, inner)) {
    const RowValue made = program->results[static_cast<std::size_t>(result)].value;
    if (made.step < 0) return std::nullopt;
    const RowStep& step = program->steps[static_cast<std::size_t>(made.step)];
    if (step.reduce || step.by_line) return std::nullopt;
    fn = &step.fn;
    inputs = step.inputs;
    result = made.result;
  } else {
    return std::nullopt;
  }
  ScalarPart part = part_of(*fn, std::span(&result, 1));
  if (part.inputs.empty() || !is_cheap(part.fn)) return std::nullopt;
  terms.fn = std::move(part.fn);
  int row_count = 0;
  for (const std::int32_t j : part.inputs) {
    const RowValue in = inputs[static_cast<std::size_t>(j)];
    terms.inputs.push_back(in);
    if (in.step >= 0) {
      if (!program->steps[static_cast<std::size_t>(in.step)].by_line) return std::nullopt;
      continue;
    }
    const Value read = node.inputs[static_cast<std::size_t>(in.result)];
    const std::optional<RowLayout> found = row_layout(layout_of(graph, read), rows, inner);
    if (!found) return std::nullopt;
    row_count += found->is_number ? 0 : 1;
  }
  if (row_count > most_rows) return std::nullopt;
  return terms;
}

void TermSources::drop(const Graph& graph, Value value, const RowTerms& terms) {
  Cut& cut = cuts_[value.node];
  cut.dropped.push_back(value.result);
  for (const RowValue in : terms.inputs) {
    const bool is_known = std::find(cut.lines.begin(), cut.lines.end(), in) != cut.lines.end();
    if (graph.node(value).op.as<RowProgram>() && in.step >= 0 && !is_known) cut.lines.push_back(in);
  }
}

// What read a dropped value has no readers either, and may be given any other.
void TermSources::emit(const Graph& graph, Rewrite& rewrite, std::int32_t node) {
  Cut& cut = cuts_.at(node);
  const GraphNode& old = graph.nodes[static_cast<std::size_t>(node)];
  const auto is_dropped = [&](std::int32_t r) {
    return std::find(cut.dropped.begin(), cut.dropped.end(), r) != cut.dropped.end();
  };
  std::vector<std::int32_t> kept;
  for (std::int32_t r = 0; r < static_cast<std::int32_t>(old.types.size()); ++r) {
    if (is_dropped(r)) rewrite.rename({node, r}, rewrite.renamed(old.inputs[0]));
    else kept.push_back(r);
  }
  GraphNode made{old.op, {}, {}, old.origin};
  for (const std::int32_t r : kept) made.types.push_back(old.types[static_cast<std::size_t>(r)]);
  if (const RowProgram* program = old.op.as<RowProgram>()) {
    std::vector<RowProgram::Result> results;
    for (const std::int32_t r : kept)
      results.push_back(program->results[static_cast<std::size_t>(r)]);
    for (const RowValue line : cut.lines) results.push_back({line, Shape{program->space.lines()}});
    RowPart part = part_of(*program, std::move(results));
    for (const std::int32_t j : part.inputs)
      made.inputs.push_back(rewrite.renamed(old.inputs[static_cast<std::size_t>(j)]));
    std::vector<TensorType> in;
    for (const Value v : made.inputs) in.push_back(rewrite.result().type(v));
    made.types = part.program.infer(in);
    made.op = std::move(part.program);
  } else {
    const Map& map = *old.op.as<Map>();
    ScalarPart part = part_of(map.fn, kept);
    for (const std::int32_t j : part.inputs)
      made.inputs.push_back(rewrite.renamed(old.inputs[static_cast<std::size_t>(j)]));
    made.op = Map{std::move(part.fn), map.short_name};
  }
  if (made.types.empty()) return;
  const std::int32_t added = rewrite.add(std::move(made));
  std::int32_t next = 0;
  for (const std::int32_t r : kept) rewrite.rename({node, r}, {added, next++});
  for (const RowValue line : cut.lines) cut.at.push_back({line, {added, next++}});
}

std::vector<Value> TermSources::inputs(const Graph& graph, const Rewrite& rewrite,
                                       const RowTerms& terms) const {
  const Cut& cut = cuts_.at(terms.source);
  const GraphNode& node = graph.nodes[static_cast<std::size_t>(terms.source)];
  std::vector<Value> inputs;
  for (const RowValue in : terms.inputs) {
    if (in.step < 0) {
      inputs.push_back(rewrite.renamed(node.inputs[static_cast<std::size_t>(in.result)]));
      continue;
    }
    const auto line =
        std::find_if(cut.at.begin(), cut.at.end(), [&](const auto& it) { return it.first == in; });
    inputs.push_back(line->second);
  }
  return inputs;
}

}  // namespace blockgrad
