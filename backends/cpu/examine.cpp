// The watch for values that are not finite, and the walk through a step that names where the first
// of them was made.
//
// A watched step looks at every floating value once: Maps at each chunk while it is in the cache,
// other results in memory. In-place updates must not fail when they are half written: they are
// bounded by the size of what they read, and where that is not enough they are tried first, their
// results dropped.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_executable.h"
#include "backends/cpu/numerics.h"
#include "backends/cpu/subnormals.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "backends/products.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

// A rounding on the line of what is rounded, as one that no user wrote, is told as that.
std::string subject_of(const Graph& graph, std::int32_t node) {
  const GraphNode& own = graph.nodes[static_cast<std::size_t>(node)];
  const DType dtype = own.types[0].dtype;
  if (!own.op.as<Map>() || !is_half(dtype) || own.inputs.size() != 1) return graph.describe(node);
  const Value source = graph.base(own.inputs[0]);
  const bool is_rounding =
      own.op == Op(astype_map(graph.type(source).dtype, dtype)) &&
      to_string(own.origin.where) == to_string(graph.node(source).origin.where);
  if (!is_rounding) return graph.describe(node);
  return graph.describe(source.node) + join({", rounded to ", dtype});
}

}  // namespace

void CpuExecutable::prepare_watch() {
  std::vector<const std::byte*> finals;
  for (const Operand& output : plan_.outputs) finals.push_back(place(output));
  for (const Copy& copy : copies_) finals.push_back(copy.from);
  for (Instruction& i : steps_) {
    i.care = Care::all;
    for (std::size_t r = 0; r < i.results.size(); ++r) {
      i.is_final = i.is_final || std::find(finals.begin(), finals.end(),
                                           outputs_[i.first_out + r]) != finals.end();
    }
  }
  for (Instruction& i : updates_) {
    i.care = Care::all;
    i.is_final = true;
  }
  find_carried();
  known_.resize(storages_.size());
  pending_.resize(storages_.size());
  versions_.resize(storages_.size());
  suspects_.reserve(steps_.size() + updates_.size());
}

// Most values are read whole by a kernel whose result cannot be finite if they are not, and need no
// look of their own.
void CpuExecutable::find_carried() {
  std::vector<std::vector<char>> carried(graph_.nodes.size());
  for (std::size_t n = 0; n < graph_.nodes.size(); ++n)
    carried[n].assign(graph_.nodes[n].types.size(), 0);
  for (const auto* phase : {&plan_.steps, &plan_.updates}) {
    for (const PlanStep& step : *phase) {
      const GraphNode& node = graph_.nodes[static_cast<std::size_t>(step.node)];
      for (std::size_t n = 0; n < node.inputs.size(); ++n) {
        const Value source = graph_.base(node.inputs[n]);
        if (carries(node, n, step.inputs[n], graph_.type(source).shape.size()))
          carried[static_cast<std::size_t>(source.node)][static_cast<std::size_t>(source.result)] =
              1;
      }
    }
  }
  for (Instruction& i : steps_) {
    const std::vector<char>& mine = carried[static_cast<std::size_t>(i.node)];
    i.is_carried = std::find(mine.begin(), mine.end(), 0) == mine.end();
  }
}

void CpuExecutable::run_watched_step(std::int64_t number) {
  suspects_.clear();
  for (Instruction& i : steps_) {
    if (is_suspicious(i, false)) suspects_.push_back(&i);
    if (errors_.is_set()) fail_step(i, number);
  }
  for (Instruction& i : updates_) {
    // A guard may hold back what would be found, so it is not asked.
    if (!is_bounded(i) && is_suspicious(i, true)) suspects_.push_back(&i);
  }
  if (!suspects_.empty()) {
    if (examine_) examine_(feeds_, number);
    // It was meant to be: what lies inside of a fused formula, or is neither output nor new value.
    for (Instruction* i : suspects_) {
      i->care = i->care == Care::all && i->is_final ? Care::results
                : i->is_final                       ? i->care
                                                    : Care::nothing;
    }
    for (Instruction& i : steps_) i.is_carried = false;  // those that carried may be among them
  }
  for (std::size_t u = 0; u < updates_.size(); ++u) {
    if (!holds(updates_[u].guard)) continue;
    execute(updates_[u]);
    for (const Operand& out : plan_.updates[u].outputs)
      known_[static_cast<std::size_t>(out.at)] = pending_[static_cast<std::size_t>(out.at)];
  }
  for (std::size_t c = 0; c < copies_.size(); ++c) {
    if (!holds(copies_[c].guard)) continue;
    std::memcpy(copies_[c].to, copies_[c].from, copies_[c].bytes);
    known_[static_cast<std::size_t>(plan_.commits[c].storage)] = Bounds{};
  }
}

// What is known about storage holds as long as nobody else writes it.
void CpuExecutable::begin_watch() {
  for (std::size_t s = 0; s < storages_.size(); ++s) {
    if (versions_[s] != storages_[s]->version()) known_[s] = Bounds{};
  }
}

void CpuExecutable::end_watch() {
  // Whoever locked the storage for this run counts its version up when the run is over.
  for (std::size_t s = 0; s < storages_.size(); ++s)
    versions_[s] = storages_[s]->version() + (plan_.is_updated[s] ? 1 : 0);
}

bool CpuExecutable::is_bounded(Instruction& i) {
  constexpr int patience = 3;
  const auto& step = plan_.updates[static_cast<std::size_t>(&i - updates_.data())];
  for (const Operand& out : step.outputs) pending_[static_cast<std::size_t>(out.at)] = Bounds{};
  if (i.care != Care::all || i.unbounded >= patience) return false;
  const ScalarFn* fn = formula_of(graph_.nodes[static_cast<std::size_t>(i.node)].op);
  if (!fn) return true;  // it moves what others made
  const std::size_t inputs = fn->inputs().size(), results = fn->results().size();
  for (std::size_t set = 0; set * inputs < step.inputs.size(); ++set) {
    input_bounds_.clear();
    for (std::size_t n = set * inputs; n < (set + 1) * inputs; ++n)
      input_bounds_.push_back(bounds_of(step.inputs[n], inputs_[i.first_in + n]));
    if (!find_bounds(*fn, input_bounds_, value_bounds_)) {
      ++i.unbounded;
      return false;
    }
    for (std::size_t r = 0; r < results; ++r) {
      pending_[static_cast<std::size_t>(step.outputs[set * results + r].at)] =
          value_bounds_[static_cast<std::size_t>(fn->results()[r])];
    }
  }
  i.unbounded = 0;
  return true;
}

Bounds CpuExecutable::bounds_of(const Operand& operand, const std::byte* memory) {
  const MagnitudeFn magnitude = tape_table(isa_).find_magnitude(operand.dtype);
  if (!magnitude || operand.layout.shape.size() == 0) return {0, 1};
  const auto exact = [&] {
    const ValueRange range = range_of(memory, operand);
    return range.first < 0 ? Bounds{range.low, range.high} : Bounds{};
  };
  if (operand.place == Place::stored && operand.layout.is_dense()) {
    Bounds& known = known_[static_cast<std::size_t>(operand.at)];
    if (!known.are_finite()) known = exact();
    return known;
  }
  if (Walk(operand.layout).is_scalar()) {
    Operand one = operand;
    one.layout.shape = Shape{};
    const ValueRange range = range_of(memory, one);
    return range.first < 0 ? Bounds{range.low, range.high} : Bounds{};
  }
  if (!operand.layout.is_dense()) return {};
  const double most = magnitude(memory, operand.layout.shape.size());
  return {-most, most};
}

bool CpuExecutable::is_suspicious(const Instruction& i, bool is_trial) {
  const bool watches = i.kernel.can_watch && i.care != Care::nothing;
  const Watch watch = !watches                  ? Watch::nothing
                      : i.care == Care::results ? Watch::results
                                                : Watch::all;
  execute(i, watch, is_trial);
  if (watches) return not_finite_.exchange(false, std::memory_order_relaxed);
  return i.care != Care::nothing && !i.is_carried && has_bad_result(i);
}

bool CpuExecutable::has_bad_result(const Instruction& i) const {
  for (std::size_t r = 0; r < i.results.size(); ++r) {
    const auto [dtype, size] = i.results[r];
    const MagnitudeFn magnitude = tape_table(isa_).find_magnitude(dtype);
    if (magnitude && std::isinf(magnitude(outputs_[i.first_out + r], size))) return true;
  }
  return false;
}

void CpuExecutable::examine(std::span<const std::byte* const> feeds, std::int64_t step) {
  const SubnormalMode mode(flushes_subnormals_);
  for (const auto& storage : storages_) storage->bring_home();
  bind(feeds);
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    execute(steps_[k]);
    if (errors_.is_set()) fail_step(steps_[k], step);
    if (has_bad_result(steps_[k])) inspect(plan_.steps[k], steps_[k], step);
  }
  inspect_finals(step);
}

// A node is to blame if it made NaN out of numbers, or infinities out of finite values, and has no
// such number in its own formula.
void CpuExecutable::inspect(const PlanStep& step, const Instruction& i, std::int64_t number) const {
  const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i.node)];
  bool nan_came = has_nan_literal(node), infinity_came = has_infinite_literal(node);
  for (std::size_t n = 0; n < step.inputs.size(); ++n) {
    if (!is_floating(step.inputs[n].dtype)) continue;
    const ValueRange in = range_of(inputs_[i.first_in + n], step.inputs[n]);
    nan_came = nan_came || in.nans > 0;
    infinity_came = infinity_came || in.infinities > 0;
  }
  for (std::size_t r = 0; r < step.outputs.size(); ++r) {
    if (!is_floating(step.outputs[r].dtype)) continue;
    const ValueRange out = range_of(outputs_[i.first_out + r], step.outputs[r]);
    const bool made_nan = out.nans > 0 && !nan_came;
    const bool made_infinity = out.infinities > 0 && !infinity_came;
    if (!made_nan && !made_infinity) continue;
    const TensorType& type = node.types[r];
    fail({subject_of(graph_, i.node),
          ": the first value that is not finite: ", fmt::format("{}", out.first_value), " at ",
          index_text(out.first, type.shape), " of ", to_string(type), " in step ", number,
          " of this run, which updated nothing; its inputs: ", input_ranges(step, i)});
  }
}

std::string CpuExecutable::input_ranges(const PlanStep& step, const Instruction& i) const {
  const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i.node)];
  std::string text;
  for (std::size_t n = 0; n < node.inputs.size(); ++n) {
    const Value in = graph_.base(node.inputs[n]);
    const TensorType& type = graph_.type(node.inputs[n]);
    text += (text.empty() ? "" : ", ") + graph_.describe(in.node) + " ";
    text += is_floating(type.dtype)
                ? to_string(range_of(inputs_[i.first_in + n], step.inputs[n]), type)
                : to_string(type);
  }
  return text;
}

// No node is to blame, yet an output or a new value is not finite: it was so from the start.
void CpuExecutable::inspect_finals(std::int64_t number) const {
  const auto check = [&](const Operand& value, Value what) {
    if (!is_floating(value.dtype)) return;
    const ValueRange range = range_of(place(value), value);
    if (range.first < 0) return;
    const TensorType& type = graph_.type(what);
    fail({graph_.describe(what.node),
          ": a value that is not finite: ", fmt::format("{}", range.first_value), " at ",
          index_text(range.first, type.shape), " of ", to_string(type), " in step ", number,
          " of this run, which updated nothing; no node made it: ", first_bad_leaf()});
  };
  for (std::size_t o = 0; o < plan_.outputs.size(); ++o) check(plan_.outputs[o], graph_.outputs[o]);
  std::size_t commit = 0;
  for (const GraphUpdate& update : graph_.updates) {
    if (commit == plan_.commits.size()) break;
    check(plan_.commits[commit++].source, update.value);
  }
}

std::string CpuExecutable::first_bad_leaf() const {
  const auto text = [&](std::int32_t node, const std::byte* memory) -> std::string {
    const TensorType& type = graph_.nodes[static_cast<std::size_t>(node)].types[0];
    if (!is_floating(type.dtype)) return {};
    const ValueRange range =
        range_of(memory, {Place::arena, 0, type.dtype, Layout::dense(type.shape)});
    if (range.first < 0) return {};
    return graph_.describe(node) +
           fmt::format(" holds {} at {}", range.first_value, index_text(range.first, type.shape));
  };
  std::string found;
  for (std::size_t f = 0; f < plan_.feeds.size() && found.empty(); ++f)
    found = text(plan_.feeds[f], feeds_[f]);
  for (std::size_t s = 0; s < plan_.storages.size() && found.empty(); ++s)
    found = text(plan_.storages[s], storages_[s]->bytes());
  for (std::size_t c = 0; c < plan_.constants.size() && found.empty(); ++c)
    found = text(plan_.constants[c], leaf<Constant>(plan_.constants[c]).tensor.bytes());
  return found.empty() ? "a formula has it as a number" : found;
}

}  // namespace blockgrad
