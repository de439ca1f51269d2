#include "backends/cpu/row_flows.h"

#include <algorithm>
#include <numeric>
#include <optional>

namespace blockgrad {

namespace {

using Kind = RowInstruction::Kind;
using Place = RowFlowOperand::Place;
using Form = TapeForm::Kind;

constexpr std::int64_t page_bytes = 4096;

/// x op a, of what is handed on and an operand; with is_right a op x. Nothing for other functions.
std::optional<FlowOp> with_operand(ScalarOp op, bool is_right) {
  switch (op) {
    case ScalarOp::add: return FlowOp::add;
    case ScalarOp::multiply: return FlowOp::multiply;
    case ScalarOp::subtract: return is_right ? FlowOp::subtract_from : FlowOp::subtract;
    case ScalarOp::divide: return is_right ? FlowOp::divide_into : FlowOp::divide;
    default: return std::nullopt;
  }
}

std::optional<FlowOp> alone(ScalarOp op) {
  switch (op) {
    case ScalarOp::negative: return FlowOp::negative;
    case ScalarOp::square: return FlowOp::square;
    case ScalarOp::relu: return FlowOp::relu;
    default: return std::nullopt;
  }
}

std::optional<FlowOp> selecting(ScalarOp comparison) {
  switch (comparison) {
    case ScalarOp::less: return FlowOp::less;
    case ScalarOp::less_equal: return FlowOp::less_equal;
    case ScalarOp::greater: return FlowOp::greater;
    case ScalarOp::greater_equal: return FlowOp::greater_equal;
    default: return std::nullopt;
  }
}

static_assert(FlowTable::length == RowTape::pass_chunk && FlowTable::stretches == RowTape::group);

class FlowMaker {
 public:
  FlowMaker(const RowTape& tape, const RowPhase& phase, const FlowTable& table)
      : tape_(tape),
        phase_(phase),
        table_(table),
        uses_(tape.registers.size(), 0),
        local_(tape.registers.size(), -1),
        is_made_(tape.registers.size(), 0) {}

  /// Without steps if it cannot be.
  RowFlow make() {
    flow_.dtype = code(phase_.first).dtype;
    column_ = FlowTable::column(flow_.dtype);
    if (column_ < 0 || !phase_.counters.empty() || !fits()) return {};
    count_uses();
    for (const RowLoad& load : phase_.loads) take(load);
    std::vector<std::int32_t> left(at(phase_.maps - phase_.first));
    std::iota(left.begin(), left.end(), phase_.first);
    while (!left.empty() && is_possible_) {
      const auto next = next_of(left);
      add(code(*next));
      left.erase(next);
    }
    for (std::int32_t i = phase_.maps; i < phase_.last && is_possible_; ++i) {
      if (!is_made_[at(code(i).registers[1])]) add_sums(code(i).registers[1]);
    }
    for (const RowStore& it : phase_.stores) {
      if (it.waits) store_at_end(it);
    }
    emit(FlowOp::end, {});
    spread_fetches();
    const bool is_short = flow_.steps.size() <= RowFlow::most_steps &&
                          flow_.locals <= RowFlow::most_locals &&
                          flow_.sums.size() <= RowTape::most_together;
    return is_possible_ && is_short ? std::move(flow_) : RowFlow{};
  }

 private:
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  const RowInstruction& code(std::int32_t i) const { return tape_.code[at(i)]; }
  const RowRegister& reg(std::int32_t r) const { return tape_.registers[at(r)]; }
  RowSlot::Length length(const RowRegister& it) const { return tape_.slots[at(it.index)].length; }

  /// Whether stores go through so much of a page that the processor sees where they go: what
  /// another core wrote last is then better written at once than read first.
  bool is_foreseen(const RowStream& it) const {
    const std::int64_t piece = tape_.is_strided() ? tape_.space.tail : tape_.space.length();
    return it.is_result && piece * it.size >= page_bytes;
  }

  /// Evenly among the steps: a processor takes a few prefetches at a time.
  void spread_fetches() {
    std::vector<RowFlowStep> fetches;
    for (const RowStream& it : phase_.fetched) {
      if (it.repeats || is_foreseen(it)) continue;
      const Place place = it.is_result ? Place::output : Place::input;
      fetches.push_back({find(FlowOp::fetch, FlowOp::end),
                         true,
                         {{place, it.operand, it.offset * it.size, FlowMove::in_memory}}});
    }
    flow_.fetches = !fetches.empty();
    const std::ptrdiff_t others = std::ssize(flow_.steps) - 1, count = std::ssize(fetches);
    for (std::ptrdiff_t k = count; k-- > 0;)
      flow_.steps.insert(flow_.steps.begin() + others * k / count,
                         std::move(fetches[static_cast<std::size_t>(k)]));
  }

  bool fits() const {
    const std::int64_t tail = tape_.space.tail, block = table_.block[column_];
    if (!tape_.is_strided()) return true;
    const std::int64_t chunk = FlowTable::length;
    return tail % block == 0 && (tail % chunk == 0 || chunk % tail == 0);
  }

  static std::size_t operands(const RowInstruction& step) {
    if (step.kind != Kind::map) return 1;
    switch (step.form.kind) {
      case Form::one: return at(arity(step.form.op));
      case Form::pair:
      case Form::pair_right: return 3;
      case Form::products:
      case Form::select: return 4;
    }
    return 0;
  }

  void count_uses() {
    for (std::int32_t i = phase_.first; i < phase_.last; ++i) {
      const RowInstruction& step = code(i);
      const bool is_sum = step.kind != Kind::reduce || step.reduces == ReduceKind::sum;
      is_possible_ = is_possible_ && is_sum && step.dtype == flow_.dtype;
      for (std::size_t a = 1; a <= operands(step); ++a) ++uses_[at(step.registers[a])];
    }
    for (const RowStore& it : phase_.stores) uses_[at(it.reg)] += it.waits ? 1 : 0;
  }

  /// One that reads what is handed on and only hands on its own, else the first.
  std::vector<std::int32_t>::const_iterator next_of(const std::vector<std::int32_t>& left) const {
    const auto found = std::find_if(left.begin(), left.end(), [&](std::int32_t i) {
      const std::int32_t* const r = code(i).registers;
      const auto* const end = r + 1 + operands(code(i));
      const bool is_ready = std::none_of(left.begin(), left.end(), [&](std::int32_t other) {
        return std::find(r + 1, end, code(other).registers[0]) != end;
      });
      const bool is_stored =
          place_of(r[0]) || std::any_of(phase_.stores.begin(), phase_.stores.end(),
                                        [&](const RowStore& it) { return it.reg == r[0]; });
      return is_ready && !is_stored && std::find(r + 1, end, current_) != end;
    });
    return found == left.end() ? left.begin() : found;
  }

  /// Joined with the step before it where there is such a pair.
  void emit(FlowOp op, std::vector<RowFlowOperand> on) {
    const bool is_alone = last_ == FlowOp::end || op == FlowOp::end;
    if (const FlowFn both = is_alone ? nullptr : find(last_, op)) {
      RowFlowStep& step = flow_.steps.back();
      step.run = both;
      step.on.insert(step.on.end(), on.begin(), on.end());
      last_ = FlowOp::end;
      return;
    }
    flow_.steps.push_back({find(op, FlowOp::end), false, std::move(on)});
    last_ = op;
  }
  FlowFn find(FlowOp op, FlowOp then) const { return table_.find[column_](op, then); }

  RowFlowOperand new_local() {
    return {Place::local, static_cast<std::int32_t>(flow_.locals++), 0, FlowMove::stays};
  }

  /// Where a value lies that is not only handed on.
  std::optional<RowFlowOperand> place_of(std::int32_t r) const {
    const RowRegister& it = reg(r);
    if (it.by_line) return std::nullopt;
    const std::int64_t offset = it.offset * it.size;
    switch (it.kind) {
      case RowRegister::Kind::constant:
        return RowFlowOperand{Place::constant, it.index, 0, FlowMove::stays};
      case RowRegister::Kind::input:
        return RowFlowOperand{Place::input, it.index, offset,
                              it.repeats ? FlowMove::in_line : FlowMove::in_memory};
      case RowRegister::Kind::output:
        return RowFlowOperand{Place::output, it.index, 0, FlowMove::in_memory};
      case RowRegister::Kind::slot: break;
    }
    if (local_[at(r)] >= 0) return RowFlowOperand{Place::local, local_[at(r)], 0, FlowMove::stays};
    if (it.is_chunk) return RowFlowOperand{Place::slot, it.index, 0, FlowMove::stays};
    if (length(it) == RowSlot::Length::elements)
      return RowFlowOperand{Place::slot, it.index, 0, FlowMove::in_line};
    for (const RowLoad& load : phase_.loads) {
      if (load.reg == r) return memory_of(load);
    }
    return std::nullopt;
  }

  RowFlowOperand memory_of(const RowLoad& load) const {
    return {Place::input, load.input, load.walk.offset * reg(load.reg).size, FlowMove::in_memory};
  }

  /// A value that later passes read too goes to its slot first.
  void take(const RowLoad& load) {
    is_possible_ = is_possible_ && load.walk.is_contiguous();
    if (length(reg(load.reg)) != RowSlot::Length::elements) return;
    emit(FlowOp::load, {memory_of(load)});
    emit(FlowOp::store, {*place_of(load.reg)});
    current_ = load.reg;
  }

  /// An operand, which goes to a place of its own if it is only handed on.
  RowFlowOperand operand(std::int32_t r) {
    if (!place_of(r) && r == current_) {
      const RowFlowOperand own = new_local();
      emit(FlowOp::store, {own});
      local_[at(r)] = own.index;
    }
    const std::optional<RowFlowOperand> found = place_of(r);
    is_possible_ = is_possible_ && found;
    return found.value_or(RowFlowOperand{});
  }

  /// Before another value is handed on.
  void keep_current() {
    if (current_ >= 0 && uses_[at(current_)] > 0) operand(current_);
  }

  void hand_on(std::int32_t r) {
    keep_current();
    if (r == current_) return;
    emit(FlowOp::load, {operand(r)});
    current_ = r;
  }

  void apply(ScalarOp op, std::int32_t a, std::int32_t b) {
    const bool is_right = b == current_ && a != b;
    const std::int32_t mine = is_right ? b : a, other = is_right ? a : b;
    const std::optional<FlowOp> found = with_operand(op, is_right);
    is_possible_ = is_possible_ && found;
    hand_on(mine);
    if (mine == other && op == ScalarOp::multiply) emit(FlowOp::square, {});
    else emit(found.value_or(FlowOp::add), {operand(other)});
  }

  void join(ScalarOp op, bool is_right, RowFlowOperand other) {
    const std::optional<FlowOp> found = with_operand(op, is_right);
    is_possible_ = is_possible_ && found;
    emit(found.value_or(FlowOp::add), {other});
  }

  void add(const RowInstruction& step) {
    const std::int32_t* const r = step.registers;
    for (std::size_t a = 1; a <= operands(step); ++a) --uses_[at(r[a])];
    if (step.kind == Kind::copy) hand_on(r[1]);
    else if (step.kind == Kind::map) compute(step.form, r);
    else is_possible_ = false;
    made(r[0]);
  }

  void compute(const TapeForm& form, const std::int32_t* r) {
    switch (form.kind) {
      case Form::one: return arity(form.op) == 2 ? apply(form.op, r[1], r[2]) : one(form.op, r[1]);
      case Form::pair:
      case Form::pair_right: {
        const RowFlowOperand c = operand(r[3]);
        apply(form.op, r[1], r[2]);
        return join(form.then, form.kind == Form::pair_right, c);
      }
      case Form::products: {
        const RowFlowOperand a = operand(r[1]), b = operand(r[2]);
        const RowFlowOperand c = operand(r[3]), d = operand(r[4]), second = new_local();
        keep_current();
        emit(FlowOp::load, {c});
        emit(FlowOp::multiply, {d});
        emit(FlowOp::store, {second});
        emit(FlowOp::load, {a});
        emit(FlowOp::multiply, {b});
        return join(form.then, false, second);
      }
      case Form::select: {
        const std::optional<FlowOp> found = selecting(form.op);
        is_possible_ = is_possible_ && found;
        const RowFlowOperand a = operand(r[1]), b = operand(r[2]), d = operand(r[4]);
        hand_on(r[3]);
        return emit(found.value_or(FlowOp::less), {a, b, d});
      }
    }
  }

  void one(ScalarOp op, std::int32_t a) {
    const std::optional<FlowOp> found = alone(op);
    is_possible_ = is_possible_ && found;
    hand_on(a);
    emit(found.value_or(FlowOp::negative), {});
  }

  void made(std::int32_t r) {
    current_ = r;
    is_made_[at(r)] = 1;
    if (const std::optional<RowFlowOperand> place = place_of(r)) emit(FlowOp::store, {*place});
    for (const RowStore& it : phase_.stores) {
      if (it.reg == r && !it.waits)
        emit(FlowOp::store, {{Place::output, it.result, 0, FlowMove::in_memory}});
    }
    add_sums(r);
  }

  /// All sums of one value.
  void add_sums(std::int32_t r) {
    for (std::int32_t i = phase_.maps; i < phase_.last; ++i) {
      if (code(i).registers[1] != r) continue;
      --uses_[at(r)];
      hand_on(r);
      const auto lanes = static_cast<std::int32_t>(flow_.sums.size());
      emit(FlowOp::sum, {{Place::lanes, lanes, 0, FlowMove::stays}});
      flow_.sums.push_back(i);
    }
    is_made_[at(r)] = 1;
  }

  void store_at_end(const RowStore& it) {
    --uses_[at(it.reg)];
    hand_on(it.reg);
    emit(FlowOp::store, {{Place::output, it.result, 0, FlowMove::in_memory}});
  }

  const RowTape& tape_;
  const RowPhase& phase_;
  const FlowTable& table_;
  int column_ = -1;
  bool is_possible_ = true;
  RowFlow flow_;
  FlowOp last_ = FlowOp::end;  // the last step, unless it is two
  std::int32_t current_ = -1;  // the value that is handed on
  // Of each register: reads to come, where it waits, and whether it is there and summed.
  std::vector<int> uses_;
  std::vector<std::int32_t> local_;
  std::vector<char> is_made_;
};

}  // namespace

void find_flows(RowTape& tape, const FlowTable& table) {
  if (tape.space.length() < RowTape::group * tape.chunk) return;
  if (!table.is_for_stretches && !tape.is_in_pieces()) return;
  tape.flows = &table;
  for (RowPhase& phase : tape.phases) {
    if (phase.is_chunked) phase.flow = FlowMaker(tape, phase, table).make();
  }
}

}  // namespace blockgrad
