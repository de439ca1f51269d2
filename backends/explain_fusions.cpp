#include "backends/explain_fusions.h"

#include <fmt/format.h>

#include <algorithm>

#include "backends/node_names.h"
#include "blockgrad/graph/map.h"
#include "graph/product_map.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

bool is_fused(const GraphNode& node) {
  const Map* map = node.op.as<Map>();
  return map && map->short_name == "fused map";
}
bool is_product_map(const GraphNode& node) { return node.op.as<ProductMap>() != nullptr; }

std::int64_t number_of(std::int32_t node, std::span<const std::int32_t> kernels) {
  return std::find(kernels.begin(), kernels.end(), node) - kernels.begin();
}

// "reduce with add (model.cpp:12)", by reason.
std::string refusals_text(const FusionLog& log, const Graph& graph) {
  std::map<std::string_view, std::vector<std::string>> apart;
  for (const FusionLog::Refusal& refusal : log.refusals) {
    const GraphNode& reader = graph.nodes[static_cast<std::size_t>(refusal.reader)];
    const GraphNode& source = graph.nodes[static_cast<std::size_t>(refusal.source)];
    apart[refusal.why].push_back(
        fmt::format("{} with {} ({})", op_text(reader), op_text(source), place_text(reader)));
  }
  std::string text;
  for (const auto& [why, pairs] : apart) {
    text +=
        fmt::format("  {} because {}: {}\n", plural(pairs.size(), "pair"), why, joined(pairs, 3));
  }
  return text;
}

}  // namespace

Fusions::Fusions(const detail::ProgramState& state) : state_(state) {
  CompileOptions options = state.options;
  options.print.clear();
  for (const std::string_view pass : backend_of(state.device).passes_left_out(options))
    options.skip.emplace_back(pass);
  const auto runs = [&](std::string_view pass) {
    return std::find(options.skip.begin(), options.skip.end(), pass) == options.skip.end();
  };
  CompileOptions until_epilogues = options;
  const bool fuses_epilogues = runs("fuse_epilogues");
  const bool fuses = runs("fuse_maps"), fuses_rows = runs("fuse_rows");
  if (fuses) options.skip.emplace_back("fuse_maps");
  for (const char* later :
       {"group_reductions", "fuse_product_updates", "group_updates", "fuse_row_updates",
        "fuse_line_sums", "fuse_takes", "fuse_epilogues", "shorten_lives"})
    options.skip.emplace_back(later);
  std::vector<PassRecord> records;
  before_ = compiled_graph(state.outputs, state.updates, state.device, options, records);
  const Graph fused = fuses ? fuse_maps(before_, &fusion_) : Graph{};
  group_of_ = find_made(fused, state.graph, is_fused);
  if (fuses_epilogues) find_epilogues(until_epilogues, fused);
  if (fuses_rows) {
    options.skip.emplace_back("fuse_rows");
    before_rows_ = compiled_graph(state.outputs, state.updates, state.device, options, records);
    fuse_rows(before_rows_, &rows_);
  }
}

void Fusions::find_epilogues(CompileOptions options, const Graph& fused) {
  // Products with the update of their weight are ProductMaps of another pass.
  for (const char* later :
       {"fuse_product_updates", "fuse_epilogues", "group_small_maps", "shorten_lives"})
    options.skip.emplace_back(later);
  std::vector<PassRecord> records;
  before_epilogues_ =
      compiled_graph(state_.outputs, state_.updates, state_.device, options, records);
  const ProductFormulas formulas = backend_of(state_.device).product_formulas();
  epilogue_of_ = find_made(fuse_epilogues(before_epilogues_, formulas, &epilogues_), state_.graph,
                           is_product_map);
  formula_of_ = find_made(fused, before_epilogues_, is_fused);
}

std::vector<std::string> Fusions::group_texts(std::size_t group) const {
  std::vector<std::string> names;
  for (const std::int32_t m : fusion_.groups[group])
    names.push_back(op_text(before_.nodes[static_cast<std::size_t>(m)]));
  return names;
}

std::vector<std::string> Fusions::op_texts(std::int32_t i) const {
  if (const auto group = group_of_.find(i); group != group_of_.end())
    return group_texts(group->second);
  if (const auto* program = node(i).op.as<RowProgram>()) return step_texts(*program);
  const auto* product = node(i).op.as<ProductMap>();
  if (!product) return {};
  std::vector<std::string> names{std::string(product->product->name())};
  const auto known = epilogue_of_.find(i);
  if (known == epilogue_of_.end()) return {update_text(names[0], node(i).origin)};
  const std::int32_t map = epilogues_.groups[known->second][1];
  const auto formula = formula_of_.find(map);
  if (formula == formula_of_.end())
    return {names[0], op_text(before_epilogues_.nodes[static_cast<std::size_t>(map)])};
  const std::vector<std::string> all = group_texts(formula->second);
  names.insert(names.end(), all.begin(), all.end());
  return names;
}

std::string Fusions::text(std::span<const std::int32_t> kernels) const {
  return row_programs(kernels) + maps(kernels) + epilogues();
}

std::string Fusions::row_programs(std::span<const std::int32_t> kernels) const {
  std::size_t ops = 0, programs = 0;
  std::string rows;
  for (const std::int32_t i : kernels) {
    const auto* program = node(i).op.as<RowProgram>();
    if (!program) continue;
    ++programs;
    ops += step_texts(*program).size();
    rows +=
        fmt::format("  kernel {}: {}\n", number_of(i, kernels), joined(step_texts(*program), 12));
  }
  std::string text;
  if (programs > 0) {
    text = fmt::format("Rows: {} run as {}, which read their lines once\n", plural(ops, "op"),
                       plural(programs, "kernel")) +
           rows;
  }
  const std::string apart = refusals_text(rows_, before_rows_);
  return apart.empty() ? text : text + "Reductions apart from the values they reduce:\n" + apart;
}

std::string Fusions::maps(std::span<const std::int32_t> kernels) const {
  std::size_t ops = 0;
  for (const auto& group : fusion_.groups) ops += group.size();
  if (ops == 0 && fusion_.refusals.empty()) return "Fused: nothing\n";
  std::string text =
      fmt::format("Fused: {} run as {}, each one sweep over memory\n",
                  plural(ops, "elementwise op"), plural(fusion_.groups.size(), "kernel"));
  for (const auto& [i, group] : group_of_)
    text += fmt::format("  kernel {}: {}\n", number_of(i, kernels), joined(group_texts(group), 8));
  const std::string apart = refusals_text(fusion_, before_);
  if (apart.empty()) return text;
  return text + "Not fused, though one elementwise op reads another (only such ops are fused):\n" +
         apart;
}

std::string Fusions::epilogues() const {
  std::string text;
  if (!epilogues_.groups.empty()) {
    text = fmt::format("On the elements of a product: {}, none a sweep over memory\n",
                       plural(epilogues_.groups.size(), "formula"));
  }
  const std::string apart = refusals_text(epilogues_, before_epilogues_);
  return apart.empty() ? text : text + "Formulas apart from the product that they read:\n" + apart;
}

}  // namespace blockgrad
