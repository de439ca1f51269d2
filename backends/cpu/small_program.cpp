#include "backends/cpu/small_program.h"

#include <algorithm>
#include <deque>

#include "backends/cpu/small_values.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/linalg.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

constexpr std::int64_t place_bytes = SmallTable::bytes;
// Not used again at once: what reads a value need not be done before what comes next.
constexpr std::size_t resting_places = 8;

struct Lines {
  ReduceFn run;
  std::int64_t count, n;
  bool picks_index;
};
void reduce_lines(void* out, const void* a, const void*, const void* c, std::int64_t) {
  const Lines& lines = *static_cast<const Lines*>(c);
  auto* index = lines.picks_index ? static_cast<std::int32_t*>(out) : nullptr;
  lines.run(lines.picks_index ? nullptr : out, index, a, lines.n, lines.count, lines.n);
}

class SmallBuilder {
 public:
  SmallBuilder(const Graph& graph, const Plan& plan, const SmallOrder& order, Isa isa,
               const SmallValues::PlaceOf& place)
      : graph_(graph),
        plan_(plan),
        order_(order),
        small_(small_table(isa)),
        tape_(tape_table(isa)),
        values_(graph, plan, order, isa, place) {}

  SmallProgram build() {
    for (const SmallOrder::Entry& entry : order_.entries) {
      if (entry.segment < 0) {
        values_.close_segment();
        continue;
      }
      const bool is_commit = entry.kind == StepItem::Kind::commit;
      values_.open(static_cast<std::size_t>(entry.segment),
                   is_commit ? plan_.commits[entry.number].guard : order_.step(plan_, entry).guard);
      if (is_commit) emit_commit(plan_.commits[entry.number]);
      else emit_step(order_.step(plan_, entry));
    }
    return values_.finish();
  }

 private:
  void emit_step(const PlanStep& step) {
    const GraphNode& made = graph_.nodes[static_cast<std::size_t>(step.node)];
    std::vector<SmallSource> results;
    if (const ScalarFn* fn = formula_of(made.op)) {
      const std::size_t inputs = fn->inputs().size(), outputs = fn->results().size();
      for (std::size_t s = 0; s * outputs < step.outputs.size(); ++s) {
        for (const SmallSource& r :
             emit_formula(*fn, std::span(step.inputs).subspan(s * inputs, inputs),
                          std::span(step.outputs).subspan(s * outputs, outputs)))
          results.push_back(r);
      }
    } else if (const Reduce* reduce = made.op.as<Reduce>()) {
      results.push_back(emit_reduce(*reduce, step.inputs[0], step.outputs[0]));
    } else {
      results.push_back(emit_product(step.inputs[0], step.inputs[1], step.outputs[0]));
    }
    for (std::size_t r = 0; r < results.size(); ++r) {
      const Operand& out = step.outputs[r];
      if (out.place == Place::stored) values_.store(out.at, results[r]);
      else
        values_.set(out, results[r],
                    order_.is_read_outside[static_cast<std::size_t>(step.node)][r] != 0);
    }
  }

  void emit_commit(const Commit& commit) {
    values_.store(commit.storage, values_.source_of(commit.source));
  }

  std::vector<SmallSource> emit_formula(const ScalarFn& fn, std::span<const Operand> inputs,
                                        std::span<const Operand> outputs) {
    const std::int64_t n = outputs[0].layout.shape.size();
    const auto code = fn.code();
    std::vector<SmallSource> values(code.size());
    std::vector<std::size_t> last_read(code.size(), 0);
    for (std::size_t i = 0; i < code.size(); ++i) {
      for (int a = 0; a < arity(code[i].op); ++a)
        last_read[static_cast<std::size_t>(code[i].args[static_cast<std::size_t>(a)])] = i;
    }
    for (const std::int32_t r : fn.results()) last_read[static_cast<std::size_t>(r)] = code.size();
    free_places_.clear();
    for (std::size_t i = 0; i < code.size(); ++i) {
      const ScalarInstr& instr = code[i];
      if (instr.op == ScalarOp::input) {
        const Operand& in = inputs[static_cast<std::size_t>(instr.bits)];
        values[i] = values_.number(in);
        if (!values[i].is_number || !only_steps_read(fn, i))
          values[i] = values_.read(in, in.layout);
      } else if (instr.op == ScalarOp::constant) {
        values[i] = values_.constant(instr);
      } else if (instr.op == ScalarOp::flat_index) {
        values[i] = values_.positions(n);
      } else {
        values[i] = emit_instruction(fn, static_cast<std::int32_t>(i), values, outputs, n);
        for (int a = 0; a < arity(instr.op); ++a) {
          const auto k = static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)]);
          if (last_read[k] == i && is_temporary(code[k], values[k])) {
            free_places_.push_back(const_cast<std::byte*>(values[k].memory));
            last_read[k] = code.size();  // given back once
          }
        }
      }
    }
    std::vector<SmallSource> results;
    for (const std::int32_t r : fn.results())
      results.push_back(values[static_cast<std::size_t>(r)]);
    // An input that another result overwrites is set aside.
    for (std::size_t r = 0; r < results.size(); ++r) {
      const ScalarInstr& source = code[static_cast<std::size_t>(fn.results()[r])];
      if (results[r].is_kept || source.op != ScalarOp::input) continue;
      const Operand& in = inputs[static_cast<std::size_t>(source.bits)];
      const bool is_overwritten =
          std::any_of(outputs.begin(), outputs.end(),
                      [&](const Operand& out) { return out.place == in.place && out.at == in.at; });
      if (is_overwritten || outputs[r].place == Place::stored)
        results[r] = values_.copied(results[r], outputs[r].dtype);
    }
    return results;
  }

  // Whether every reader of value i can be a step.
  static bool only_steps_read(const ScalarFn& fn, std::size_t i) {
    const auto number = static_cast<std::int32_t>(i);
    for (const ScalarInstr& instr : fn.code()) {
      for (int a = 0; a < arity(instr.op); ++a) {
        if (instr.args[static_cast<std::size_t>(a)] == number &&
            SmallTable::step_of(instr.op, fn.code()[i].dtype) == SmallOp::function)
          return false;
      }
    }
    return std::find(fn.results().begin(), fn.results().end(), number) == fn.results().end();
  }

  SmallSource emit_instruction(const ScalarFn& fn, std::int32_t i,
                               const std::vector<SmallSource>& values,
                               std::span<const Operand> outputs, std::int64_t n) {
    const ScalarInstr& instr = fn.code()[static_cast<std::size_t>(i)];
    const auto argument = [&](int a) -> const SmallSource& {
      return values[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])];
    };
    const DType operand = fn.code()[static_cast<std::size_t>(instr.args[0])].dtype;
    SmallCall call;
    call.op = SmallTable::step_of(instr.op, operand);
    if (call.op == SmallOp::function) {
      call.run = small_.find(instr.op, operand, instr.dtype);
      if (!call.run) call.run = tape_.find(instr.op, operand, instr.dtype);
      check_internal(call.run != nullptr, "no kernel for ", name(instr.op), " on ", operand);
    }
    call.size = static_cast<std::uint8_t>(size_of(operand));
    const int count = arity(instr.op);
    SmallPhase phase = SmallPhase::once;
    for (int a = 0; a < count; ++a) phase = std::max(phase, argument(a).phase);
    const auto from = [&](int a) {
      return argument(a).is_number ? SmallFrom::spread : SmallFrom::memory;
    };
    const int second = call.op == SmallOp::multiply ? count - 1 : 1;  // of a square: the first
    call.a = argument(0).memory;
    call.from_a = from(0);
    if (second < count) {
      call.b = argument(second).memory;
      call.from_b = from(second);
    }
    if (count > 2) {
      call.c = argument(2).memory;
      call.from_c = from(2);
    }
    call.n = n;
    std::byte* place = direct_place(fn, i, values, outputs);
    if (place) phase = SmallPhase::step;
    const bool is_kept = !place;
    if (!place && phase == SmallPhase::step && free_places_.size() > resting_places) {
      place = free_places_.front();
      free_places_.pop_front();
    }
    if (!place) place = values_.new_places(1);
    call.out = place;
    values_.add(phase, call);
    return {place, -1, phase, true, is_kept};
  }

  // Made and needed by one formula in every step.
  static bool is_temporary(const ScalarInstr& instr, const SmallSource& value) {
    return arity(instr.op) > 0 && value.phase == SmallPhase::step && value.is_kept;
  }

  // The place of the storage that instruction i is the new value of, if nothing reads the old value
  // later on.
  std::byte* direct_place(const ScalarFn& fn, std::int32_t i,
                          const std::vector<SmallSource>& values,
                          std::span<const Operand> outputs) const {
    std::byte* place = nullptr;
    for (std::size_t r = 0; r < outputs.size(); ++r) {
      if (fn.results()[r] != i || outputs[r].place != Place::stored) continue;
      if (place) return nullptr;  // two new values
      place = values_.resident(outputs[r].at);
    }
    if (!place) return nullptr;
    const auto reads_place = [&](std::int32_t k) {
      return k < i && values[static_cast<std::size_t>(k)].memory == place;
    };
    for (auto later = static_cast<std::size_t>(i) + 1; later < fn.code().size(); ++later) {
      const ScalarInstr& instr = fn.code()[later];
      if (instr.op == ScalarOp::input) return nullptr;  // loaded behind this
      for (int a = 0; a < arity(instr.op); ++a) {
        if (reads_place(instr.args[static_cast<std::size_t>(a)])) return nullptr;
      }
    }
    for (const std::int32_t r : fn.results()) {
      if (reads_place(r)) return nullptr;
    }
    return place;
  }

  SmallSource emit_reduce(const Reduce& op, const Operand& in, const Operand& out) {
    Layout lines;  // the axes that stay, then those that go
    std::vector<std::int64_t> sizes;
    for (const bool reduced : {false, true}) {
      for (int a = 0; a < in.layout.shape.rank(); ++a) {
        if ((op.axes >> a & 1u) != static_cast<std::uint32_t>(reduced)) continue;
        lines.strides[sizes.size()] = in.layout.strides[static_cast<std::size_t>(a)];
        sizes.push_back(in.layout.shape[a]);
      }
    }
    lines.shape = Shape(sizes);
    lines.offset = in.layout.offset;
    const SmallSource source = values_.read(in, lines);
    const std::int64_t count = out.layout.shape.size(), n = in.layout.shape.size() / count;
    std::byte* place = values_.new_places(1);
    SmallCall call{.out = place, .a = source.memory, .n = n};
    if (count == 1 && op.kind == ReduceKind::sum && is_floating(in.dtype)) {
      call.op = SmallOp::sum;
      call.size = static_cast<std::uint8_t>(size_of(in.dtype));
    }
    if (count == 1 && in.dtype == DType::boolean && op.kind == ReduceKind::min)
      call.run = small_.all;
    if (count == 1 && in.dtype == DType::boolean && op.kind == ReduceKind::max)
      call.run = small_.any;
    if (!call.run && call.op == SmallOp::function) {
      const bool picks = op.kind == ReduceKind::argmax || op.kind == ReduceKind::argmin;
      auto kept =
          std::make_shared<const Lines>(Lines{tape_.find_rows(op.kind, in.dtype), count, n, picks});
      check_internal(kept->run != nullptr, "no kernel for ", name(op.kind), " of ", in.dtype);
      call.run = reduce_lines;
      call.c = kept.get();
      values_.keep(kept);
    }
    values_.add(source.phase, call);
    return {place, -1, source.phase, true, true};
  }

  // Element (i, j) is the chain over k of a(i, k) b(k, j).
  SmallSource emit_product(const Operand& a, const Operand& b, const Operand& out) {
    const std::int64_t most = place_bytes / static_cast<std::int64_t>(size_of(out.dtype));
    return SmallSpan(a.layout).size <= most && SmallSpan(b.layout).size <= most
               ? emit_picked_product(a, b, out)
               : emit_chain(a, b, out);
  }

  // Of operands that fit a place each: lanes pick their factors.
  SmallSource emit_picked_product(const Operand& a, const Operand& b, const Operand& out) {
    const auto row = static_cast<std::size_t>(a.layout.shape.rank() - 2);
    const std::int64_t k = a.layout.shape[static_cast<int>(row) + 1];
    const std::int64_t n = b.layout.shape[static_cast<int>(row) + 1];
    const SmallSpan span_a(a.layout), span_b(b.layout);
    const auto number = [](std::int64_t i) { return static_cast<std::int32_t>(i); };
    auto product = std::make_shared<SmallProduct>();
    product->k = number(k);
    product->n = number(out.layout.shape.size());
    product->a_step = number(a.layout.strides[row + 1]);
    product->b_step = number(b.layout.strides[row]);
    for (std::int64_t i = 0; i < product->n; ++i) {
      product->a.at[i] = number(a.layout.offset - span_a.first + i / n * a.layout.strides[row]);
      product->b.at[i] = number(b.layout.offset - span_b.first + i % n * b.layout.strides[row + 1]);
    }
    SmallSource from_a = values_.source_of(a), from_b = values_.source_of(b);
    const auto size = static_cast<std::int64_t>(size_of(out.dtype));
    const auto readable = [&](const SmallSource& source, const SmallSpan& span) {
      return number(source.is_whole && span.first == 0 ? place_bytes / size : span.size);
    };
    product->a_size = readable(from_a, span_a);
    product->b_size = readable(from_b, span_b);
    std::int64_t offset_a = span_a.first * size, offset_b = span_b.first * size;
    if (product->n == n && n > 1) {  // one row: its elements are the factors that lanes share
      std::swap(product->a, product->b);
      std::swap(product->a_step, product->b_step);
      std::swap(product->a_size, product->b_size);
      std::swap(from_a, from_b);
      std::swap(offset_a, offset_b);
    }
    product->b_is_shared = n == 1 || product->n == n;
    const SmallPhase phase = std::max(from_a.phase, from_b.phase);
    std::byte* place = values_.new_places(1);
    const SmallCall call{.out = place,
                         .c = product.get(),
                         .n = k,
                         .op = SmallOp::product,
                         .size = static_cast<std::uint8_t>(size)};
    values_.keep(std::move(product));
    values_.add(phase, call);
    values_.point(phase, SmallValues::Side::a, from_a, offset_a);
    values_.point(phase, SmallValues::Side::b, from_b, offset_b);
    return {place, -1, phase, true, true};
  }

  // Columns of a are whole places, for a row times a matrix rows of b, else both, each over all
  // elements.
  SmallSource emit_chain(const Operand& a, const Operand& b, const Operand& out) {
    const auto row = static_cast<std::size_t>(a.layout.shape.rank() - 2);
    const std::int64_t m = a.layout.shape[static_cast<int>(row)];
    const std::int64_t k = a.layout.shape[static_cast<int>(row) + 1];
    const std::int64_t n = b.layout.shape[static_cast<int>(row) + 1];
    const auto& sa = a.layout.strides;
    const auto& sb = b.layout.strides;
    std::byte* place = values_.new_places(1);
    SmallCall call{.out = place, .n = k};
    SmallPhase phase = std::max(values_.source_of(a).phase, values_.source_of(b).phase);
    const auto type = static_cast<std::size_t>(out.dtype);
    const auto slices = [&](const Operand& x, std::int64_t step, const Layout& slice) {
      std::byte* places = values_.new_places(k);
      Layout layout = slice;
      for (std::int64_t q = 0; q < k; ++q) {
        layout.offset = x.layout.offset + q * step;
        values_.load(values_.source_of(x), layout, static_cast<std::int64_t>(size_of(x.dtype)),
                     places + q * place_bytes);
      }
      return places;
    };
    if (n == 1) {
      call.run = small_.chain_scalars[type];
      call.a = slices(a, sa[row + 1], {{m}, {sa[row]}, 0});
      call.b = values_.read(b, {{k}, {sb[row]}, b.layout.offset}).memory;
    } else if (m == 1) {
      call.run = small_.chain_scalars[type];
      call.a = slices(b, sb[row], {{n}, {sb[row + 1]}, 0});
      call.b = values_.read(a, {{k}, {sa[row + 1]}, a.layout.offset}).memory;
    } else {
      call.run = small_.chain[type];
      call.a = slices(a, sa[row + 1], {{m, n}, {sa[row], 0}, 0});
      call.b = slices(b, sb[row], {{m, n}, {0, sb[row + 1]}, 0});
    }
    values_.add(phase, call);
    return {place, -1, phase, true, true};
  }

  const Graph& graph_;
  const Plan& plan_;
  const SmallOrder& order_;
  const SmallTable& small_;
  const TapeTable& tape_;
  SmallValues values_;
  std::deque<std::byte*> free_places_;  // of the formula at hand, the one free for longest first
};

}  // namespace

SmallProgram make_small_program(const Graph& graph, const Plan& plan, const SmallOrder& order,
                                Isa isa, const std::function<std::byte*(const Operand&)>& place) {
  return SmallBuilder(graph, plan, order, isa, place).build();
}

}  // namespace blockgrad
