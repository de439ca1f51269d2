// Program::explain: what compile decided, for somebody who did not write it.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "backends/node_names.h"
#include "backends/product_space.h"
#include "backends/program_state.h"
#include "backends/text_table.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/map_group.h"
#include "graph/memory_peak.h"
#include "graph/product_map.h"
#include "graph/reduce_group.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

using detail::ProgramState;

std::vector<std::string> step_texts(const RowProgram& program) {
  std::vector<std::string> names;
  for (const RowStep& step : program.steps) names.push_back(op_text(step.name, step.origin));
  return names;
}

class Explanation {
 public:
  explicit Explanation(const ProgramState& state) : state_(state), report_(state.report) {
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
    for (const char* later : {"group_reductions", "fuse_product_updates", "group_updates",
                              "fuse_row_updates", "fuse_epilogues", "shorten_lives"})
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
    for (const auto* phase : {&state.plan.steps, &state.plan.updates}) {
      for (const PlanStep& step : *phase) kernel_nodes_.push_back(step.node);
    }
  }

  std::string text() const {
    return folded(head() + subnormals() + "\n" + memory() + recomputed() + "\n" + copies() +
                  row_programs() + fusing() + epilogues() + "\n") +
           kernels();
  }

 private:
  static bool is_fused(const GraphNode& node) {
    const Map* map = node.op.as<Map>();
    return map && map->short_name == "fused map";
  }
  static bool is_product_map(const GraphNode& node) { return node.op.as<ProductMap>() != nullptr; }

  void find_epilogues(CompileOptions options, const Graph& fused) {
    for (const char* later : {"fuse_epilogues", "group_small_maps", "shorten_lives"})
      options.skip.emplace_back(later);
    std::vector<PassRecord> records;
    before_epilogues_ =
        compiled_graph(state_.outputs, state_.updates, state_.device, options, records);
    epilogue_of_ = find_made(fuse_epilogues(before_epilogues_, product_space, &epilogues_),
                             state_.graph, is_product_map);
    formula_of_ = find_made(fused, before_epilogues_, is_fused);
  }

  // What was fused, and what else there was.
  std::vector<std::string> op_texts(std::size_t group) const {
    std::vector<std::string> names;
    for (const std::int32_t m : fusion_.groups[group])
      names.push_back(op_text(before_.nodes[static_cast<std::size_t>(m)]));
    return names;
  }
  std::vector<std::string> op_texts(std::int32_t i, const ProductMap& product) const {
    std::vector<std::string> names{std::string(product.product->name())};
    const auto known = epilogue_of_.find(i);
    if (known == epilogue_of_.end()) return {update_text(names[0], node(i).origin)};
    const std::int32_t map = epilogues_.groups[known->second][1];
    const auto formula = formula_of_.find(map);
    if (formula == formula_of_.end())
      return {names[0], op_text(before_epilogues_.nodes[static_cast<std::size_t>(map)])};
    const std::vector<std::string> all = op_texts(formula->second);
    names.insert(names.end(), all.begin(), all.end());
    return names;
  }
  const GraphNode& node(std::int32_t i) const {
    return state_.graph.nodes[static_cast<std::size_t>(i)];
  }

  std::string head() const {
    std::string count = plural(static_cast<std::size_t>(report_.kernels), "kernel");
    if (report_.longest_chain > 0)
      count += fmt::format(" (at most {} in a row)", report_.longest_chain);
    std::string text = fmt::format(
        "One step on {}, math {}{}: {}, {}, {} moved. Compiled in {:.2f} ms", report_.device,
        name(report_.math), report_.flushes_subnormals ? ", subnormals as 0" : "", count,
        with_unit(report_.flops, "FLOP"), with_unit(report_.bytes, "B"),
        report_.compile_seconds * 1e3);
    for (std::size_t p = 0; p < report_.passes.size(); ++p)
      text += (p == 0 ? " (" : "; ") + report_.passes[p];
    return text + (report_.passes.empty() ? ".\n" : ").\n");
  }

  std::string subnormals() const {
    std::vector<std::string> names;
    for (std::size_t k = 0; k < report_.nodes.size(); ++k) {
      if (!report_.nodes[k].met_subnormals || k >= kernel_nodes_.size()) continue;
      names.push_back(fmt::format("kernel {}, {}", k, name_of(kernel_nodes_[k], true)));
    }
    if (names.empty()) return "";
    return "\nSubnormal numbers, which may take a hundred times as long, were met by " +
           joined(names, 4) + ". With CompileOptions::flush_subnormals they count as 0.\n";
  }

  std::string memory() const {
    const std::int64_t scratch = report_.peak_bytes - report_.arena_bytes - report_.storage_bytes;
    std::string text = fmt::format("Memory: {} at the peak\n",
                                   with_unit(static_cast<double>(report_.peak_bytes), "B"));
    const auto row = [&](std::int64_t bytes, const std::string& what) {
      text += fmt::format("  {:>8}  {}\n", with_unit(static_cast<double>(bytes), "B"), what);
    };
    row(report_.arena_bytes,
        fmt::format("values between kernels in one arena, {}; buffers used again save {}, {} in "
                    "place",
                    above_live(), with_unit(static_cast<double>(report_.reused_bytes), "B"),
                    plural(static_cast<std::size_t>(state_.plan.in_place), "result")));
    row(report_.storage_bytes, "parameters and states");
    row(scratch, "scratch of kernels, for all threads");
    const MemoryPeak peak = memory_peak(state_.graph, state_.plan);
    if (peak.step < 0) return text;
    text +=
        fmt::format("  The arena holds most, {}, at kernel {}, {}. Largest values alive then:\n",
                    with_unit(static_cast<double>(peak.bytes), "B"), peak.step,
                    name_of(state_.plan.steps[static_cast<std::size_t>(peak.step)].node, true));
    for (const MemoryPeak::Live& live : peak.largest) {
      text += fmt::format("    {:>8}  {}  {}\n", with_unit(static_cast<double>(live.bytes), "B"),
                          to_string(state_.graph.type(live.value)), name_of(live.value.node, true));
    }
    return text;
  }

  std::string recomputed() const {
    std::vector<std::string> names;
    double bytes = 0;
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(state_.graph.nodes.size()); ++i) {
      if (!node(i).is_repeat || node(i).op.as<View>()) continue;
      names.push_back(name_of(i, true));
      for (const TensorType& type : node(i).types) bytes += static_cast<double>(bytes_of(type));
    }
    if (names.empty()) return "";
    return fmt::format("  Made again to fit in {}: {}, {}: {}\n",
                       with_unit(static_cast<double>(state_.options.memory_limit), "B"),
                       plural(names.size(), "kernel"), with_unit(bytes, "B"), joined(names, 12));
  }

  // How near the arena comes to its bound.
  std::string above_live() const {
    const double live = static_cast<double>(state_.plan.live_bytes);
    const double above = live > 0 ? 100 * (static_cast<double>(report_.arena_bytes) / live - 1) : 0;
    return fmt::format("{:.3g} % above the most bytes live at once", above);
  }

  // The op of a kernel, for a fused one those that it is made of.
  std::string name_of(std::int32_t i, bool with_place) const {
    std::vector<std::string> names;
    if (const auto group = group_of_.find(i); group != group_of_.end()) {
      names = op_texts(group->second);
    } else if (const auto* program = node(i).op.as<RowProgram>()) {
      names = step_texts(*program);
    } else if (const ProductMap* product = node(i).op.as<ProductMap>()) {
      names = op_texts(i, *product);
    } else if (const MapGroup* maps = node(i).op.as<MapGroup>()) {
      names.push_back(
          fmt::format("update of {} parameters in one pass", maps->sets(node(i).inputs.size())));
    } else if (const ReduceGroup* reduces = node(i).op.as<ReduceGroup>()) {
      names.push_back(
          fmt::format("{} of {}", op_text(node(i)), plural(reduces->shapes.size(), "whole value")));
    } else {
      names.push_back(op_text(node(i)));
    }
    const std::string text = joined(names, 3);
    return with_place ? text + " (" + place_text(node(i)) + ")" : text;
  }

  std::string copies() const {
    std::string rows;
    double count = 0, all = 0;
    for (const auto* phase : {&state_.plan.steps, &state_.plan.updates}) {
      for (const PlanStep& step : *phase) {
        const GraphNode& copy = state_.graph.nodes[static_cast<std::size_t>(step.node)];
        if (!is_copy(copy) || is_copied_to_itself(step.inputs[0], step.outputs[0])) continue;
        const auto bytes = static_cast<double>(bytes_of(copy.types[0]));
        ++count;
        all += bytes;
        const std::string source = op_text(state_.graph.node(copy.inputs[0]));
        rows += fmt::format("  {:>8}  {}  of {} ({}), for {}\n", with_unit(bytes, "B"),
                            types_text(copy), source, place_text(copy), reader_of(step.node));
      }
    }
    if (count == 0) return "Copies: none\n";
    return fmt::format("Copies: {}, {}, for readers that want another layout\n",
                       with_unit(count, ""), with_unit(all, "B")) +
           rows;
  }

  std::string reader_of(std::int32_t i) const {
    for (const GraphNode& reader : state_.graph.nodes) {
      for (const Value v : reader.inputs) {
        if (v.node == i) return op_text(reader);
      }
    }
    for (const Value v : state_.graph.outputs) {
      if (v.node == i) return "an output";
    }
    return "a new value";
  }

  std::int64_t kernel_number(std::int32_t i) const {
    return std::find(kernel_nodes_.begin(), kernel_nodes_.end(), i) - kernel_nodes_.begin();
  }

  // "reduce with add (model.cpp:12)", by reason.
  static std::string refusals_text(const FusionLog& log, const Graph& graph) {
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

  std::string row_programs() const {
    std::size_t ops = 0, programs = 0;
    std::string rows;
    for (const std::int32_t i : kernel_nodes_) {
      const auto* program = node(i).op.as<RowProgram>();
      if (!program) continue;
      ++programs;
      ops += program->steps.size();
      rows += fmt::format("  kernel {}: {}\n", kernel_number(i), joined(step_texts(*program), 12));
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

  std::string fusing() const {
    std::size_t ops = 0;
    for (const auto& group : fusion_.groups) ops += group.size();
    if (ops == 0 && fusion_.refusals.empty()) return "Fused: nothing\n";
    std::string text =
        fmt::format("Fused: {} run as {}, each one sweep over memory\n",
                    plural(ops, "elementwise op"), plural(fusion_.groups.size(), "kernel"));
    for (const auto& [i, group] : group_of_) {
      text += fmt::format("  kernel {}: {}\n", kernel_number(i), joined(op_texts(group), 8));
    }
    const std::string apart = refusals_text(fusion_, before_);
    if (apart.empty()) return text;
    return text +
           "Not fused, though one elementwise op reads another (only such ops are fused):\n" +
           apart;
  }

  std::string epilogues() const {
    std::string text;
    if (!epilogues_.groups.empty()) {
      text = fmt::format("On the elements of a product: {}, none a sweep over memory\n",
                         plural(epilogues_.groups.size(), "formula"));
    }
    const std::string apart = refusals_text(epilogues_, before_epilogues_);
    return apart.empty() ? text
                         : text + "Formulas apart from the product that they read:\n" + apart;
  }

  std::string kernels() const {
    const bool is_profiled = report_.profiled_runs > 0;
    std::vector<std::size_t> order(report_.nodes.size());
    for (std::size_t k = 0; k < order.size(); ++k) order[k] = k;
    double seconds = 0;
    for (const NodeReport& kernel : report_.nodes) seconds += kernel.seconds;
    std::string title = "Kernels in order of running\n";
    if (is_profiled) {
      title = fmt::format(
          "Kernels, the longest first: medians of {}; the roof is {}/s of fused multiply-add, "
          "{}/s of copying in memory (more in caches)\n",
          plural(static_cast<std::size_t>(report_.profiled_runs), "run"),
          with_unit(report_.roof_flops, "FLOP"), with_unit(report_.roof_bytes, "B"));
      std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        return report_.nodes[a].seconds > report_.nodes[b].seconds;
      });
    }
    std::vector<std::vector<std::string>> rows{{"#"}};
    if (is_profiled) rows[0].insert(rows[0].end(), {"time", "share", "of roof"});
    rows[0].insert(rows[0].end(), {"FLOP", "bytes", "line and scope", "result"});
    for (const std::size_t k : order) {
      const NodeReport& kernel = report_.nodes[k];
      std::vector<std::string> row{fmt::format("{}", k)};
      if (is_profiled) {
        row.push_back(fmt::format("{:.2f} us", kernel.seconds * 1e6));
        row.push_back(fmt::format("{:.1f} %", 100 * kernel.seconds / seconds));
        row.push_back(fmt::format("{:.0f} %", 100 * kernel.roof));
      }
      const bool has_node = k < kernel_nodes_.size();
      row.push_back(with_unit(kernel.flops, ""));
      row.push_back(with_unit(kernel.bytes, "B"));
      row.push_back(has_node ? place_text(node(kernel_nodes_[k])) : "");
      row.push_back(has_node ? types_text(node(kernel_nodes_[k])) : "");
      rows.push_back(std::move(row));
    }
    std::vector<std::string> total{""};
    if (is_profiled)
      total.insert(total.end(), {fmt::format("{:.2f} us", seconds * 1e6), "100 %", ""});
    total.insert(total.end(),
                 {with_unit(report_.flops, ""), with_unit(report_.bytes, "B"), "all", ""});
    rows.push_back(std::move(total));
    const std::vector<std::size_t> right = is_profiled ? std::vector<std::size_t>{0, 1, 2, 3, 4, 5}
                                                       : std::vector<std::size_t>{0, 1, 2};
    return folded(title) + with_ways(table_text(rows, right), order);
  }

  // Below the line of each kernel of a table its op, and how that is computed.
  std::string with_ways(const std::string& table, const std::vector<std::size_t>& order) const {
    std::string text;
    std::size_t at = 0;
    for (std::size_t line = 0; at < table.size(); ++line) {
      const std::size_t end = table.find('\n', at) + 1;
      text += table.substr(at, end - at);
      if (line >= 2 && line - 2 < order.size()) {
        std::string way = "      " + way_of(order[line - 2]) + "\n";
        if (const std::size_t why = way.find(" | why: "); way.size() > 100 && why < way.size())
          way.replace(why, 1, "\n          ");
        text += way;
      }
      at = end;
    }
    return text;
  }

  std::string way_of(std::size_t k) const {
    const std::string& how = report_.nodes[k].kernel;
    if (k >= kernel_nodes_.size()) return report_.nodes[k].node + ": " + how;
    const GraphNode& made = node(kernel_nodes_[k]);
    const std::string by =
        made.origin.role == gradient_role ? join({", by ", made.op->name()}) : std::string();
    return name_of(kernel_nodes_[k], false) + by + ": " + how;
  }

  const ProgramState& state_;
  const Report& report_;
  Graph before_;  // what fuse_maps was given
  FusionLog fusion_;
  Graph before_rows_;  // what fuse_rows was given
  FusionLog rows_;
  Graph before_epilogues_;  // what fuse_epilogues was given
  FusionLog epilogues_;
  std::map<std::int32_t, std::size_t> epilogue_of_;  // of each product with a formula
  std::map<std::int32_t, std::size_t>
      formula_of_;                                // of the fused Maps that fuse_epilogues was given
  std::map<std::int32_t, std::size_t> group_of_;  // of each fused kernel's node
  std::vector<std::int32_t> kernel_nodes_;        // in order of running
};

}  // namespace

std::string explain(const ProgramState& state) { return Explanation(state).text(); }

}  // namespace blockgrad
