// Program::explain: what compile decided, for somebody who did not write it.
#include <fmt/format.h>

#include <algorithm>

#include "backends/explain_fusions.h"
#include "backends/node_names.h"
#include "backends/program_state.h"
#include "backends/text_table.h"
#include "blockgrad/graph/view.h"
#include "graph/map_group.h"
#include "graph/memory_peak.h"
#include "graph/reduce_group.h"

namespace blockgrad {

namespace {

using detail::ProgramState;

class Explanation {
 public:
  explicit Explanation(const ProgramState& state)
      : state_(state), report_(state.report), fusions_(state) {
    for (const auto* phase : {&state.plan.steps, &state.plan.updates}) {
      for (const PlanStep& step : *phase) kernel_nodes_.push_back(step.node);
    }
  }

  std::string text() const {
    return folded(head() + subnormals() + "\n" + memory() + recomputed() + "\n" + copies() +
                  fusions_.text(kernel_nodes_) + "\n") +
           kernels();
  }

 private:
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
    std::vector<std::string> names = fusions_.op_texts(i);
    if (const MapGroup* maps = node(i).op.as<MapGroup>()) {
      names.push_back(
          fmt::format("update of {} parameters in one pass", maps->sets(node(i).inputs.size())));
    } else if (const ReduceGroup* reduces = node(i).op.as<ReduceGroup>()) {
      names.push_back(
          fmt::format("{} of {}", op_text(node(i)), plural(reduces->shapes.size(), "whole value")));
    } else if (names.empty()) {
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
  const Fusions fusions_;
  std::vector<std::int32_t> kernel_nodes_;  // in order of running
};

}  // namespace

std::string explain(const ProgramState& state) { return Explanation(state).text(); }

}  // namespace blockgrad
