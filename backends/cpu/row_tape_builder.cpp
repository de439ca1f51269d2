// How a row program becomes a tape: steps become one list of instructions over values, values get a
// register, and blocks are as large as the first cache holds.
#include <algorithm>
#include <bit>

#include "backends/cpu/row_draft.h"
#include "backends/cpu/row_flows.h"
#include "backends/cpu/row_joins.h"
#include "backends/cpu/row_phases.h"
#include "backends/cpu/row_slots.h"

namespace blockgrad {

namespace {

constexpr std::int64_t cache_budget = 24 * 1024;    // bytes of slots
constexpr std::int64_t most_block_elements = 2048;  // of several lines side by side
constexpr std::int64_t most_dense_elements = 8192;  // [n, inner] taken whole
constexpr std::int64_t fewest_columns = 16;
constexpr std::int64_t line_chunk = 512;
constexpr std::int64_t near_bytes = 256 * 1024;  // that stay in the L2 cache
constexpr std::int64_t part_elements = 16384;    // what one thread takes at a time

using Kind = RowInstruction::Kind;
using From = RowDraftValue::From;

class RowTapeBuilder {
 public:
  explicit RowTapeBuilder(const KernelRequest& request)
      : request_(request),
        program_(*request.node.op.as<RowProgram>()),
        space_(program_.space),
        table_(tape_table(request.isa)),
        lines_(lines_of(program_)),
        is_long_(lines_ != RowLines::together),
        in_passes_(lines_ == RowLines::in_passes),
        is_strided_(space_.tail > 1 ||
                    (space_.inner > 1 && space_.n * space_.inner > most_dense_elements)),
        draft_(request, lines_),
        registers_(draft_.values.size(), -1) {
    tape_.space = space_;
    tape_.goes_in_passes = in_passes_;
  }

  RowTape build() {
    for (const std::int32_t v : draft_.leaves) place_leaf(v);
    reserve_slots();
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(draft_.code.size()); ++i)
      add_instruction(i);
    find_phases(tape_);
    add_stores();
    choose_block();
    lay_out_slots(tape_);
    fill_constants();
    if (in_passes_) find_chunks(tape_);
    const FlowTable* const flows = flow_table(request_.isa);
    if (in_passes_ && flows) find_flows(tape_, *flows);
    check_internal(tape_.registers.size() <= RowTape::most_registers, "a row program of ",
                   static_cast<int>(tape_.registers.size()), " values");
    return std::move(tape_);
  }

 private:
  RowDraftValue& value(std::int32_t v) { return draft_.values[static_cast<std::size_t>(v)]; }
  std::int32_t& reg_of(std::int32_t v) { return registers_[static_cast<std::size_t>(v)]; }

  std::int32_t add_register(RowRegister made) {
    tape_.registers.push_back(made);
    const auto number = static_cast<std::int32_t>(tape_.registers.size()) - 1;
    const bool is_operand =
        made.kind == RowRegister::Kind::input || made.kind == RowRegister::Kind::output;
    if (is_operand && !made.repeats) tape_.moving.push_back(number);
    return number;
  }

  /// Slots that lie evenly apart.
  void reserve_slots() {
    reserved_.resize(draft_.values.size(), -1);
    for (const std::int32_t v : draft_.reduced_together(RowTape::most_together)) {
      reserved_[static_cast<std::size_t>(v)] = static_cast<std::int32_t>(tape_.slots.size());
      const auto size = static_cast<std::int32_t>(size_of(value(v).dtype));
      tape_.slots.push_back({RowSlot::Length::chunk, size, 0});
    }
  }

  RowRegister register_of(const RowDraftValue& v, RowRegister::Kind kind,
                          std::int32_t index) const {
    RowRegister made;
    made.kind = kind;
    made.index = index;
    made.size = static_cast<std::int32_t>(size_of(v.dtype));
    made.by_line = v.by_line;
    return made;
  }

  std::int32_t take_slot(RowSlot::Length length, std::int32_t size) {
    for (auto free = free_slots_.rbegin(); free != free_slots_.rend(); ++free) {
      const RowSlot& slot = tape_.slots[static_cast<std::size_t>(*free)];
      if (slot.length != length || slot.size != size) continue;
      const std::int32_t found = *free;
      free_slots_.erase(free.base() - 1);
      return found;
    }
    tape_.slots.push_back({length, size, 0});
    return static_cast<std::int32_t>(tape_.slots.size()) - 1;
  }

  /// Of elements that nothing reads after the pass that makes them.
  RowSlot::Length length_of_chunks(std::int32_t v) const {
    if (!in_passes_) return RowSlot::Length::elements;
    return draft_.is_reduced(v) ? RowSlot::Length::group : RowSlot::Length::chunk;
  }

  std::int32_t slot_register(const RowDraftValue& v, RowSlot::Length length, bool stays = false) {
    RowRegister made = register_of(v, RowRegister::Kind::slot, -1);
    made.is_chunk = stays;
    made.index = take_slot(length, made.size);
    return add_register(made);
  }

  void place_leaf(std::int32_t v) {
    const RowDraftValue& it = value(v);
    switch (it.from) {
      case From::number: {
        RowRegister made = register_of(it, RowRegister::Kind::constant,
                                       static_cast<std::int32_t>(constants_.size()));
        made.is_chunk = true;
        reg_of(v) = add_register(made);
        constants_.push_back(v);
        return;
      }
      case From::counter:
        reg_of(v) = slot_register(it, it.by_line ? RowSlot::Length::lines : length_of_chunks(v));
        tape_.counters.push_back(reg_of(v));
        return;
      case From::input: place_input(v); return;
      case From::instruction: return;
    }
  }

  void place_input(std::int32_t v) {
    const RowDraftValue& it = value(v);
    const Walk& walk = draft_.walk(it);
    if (walk.is_scalar()) {
      reg_of(v) = slot_register(it, RowSlot::Length::chunk, true);
      tape_.loads_once.push_back({it.input, reg_of(v), walk});
      return;
    }
    if (const auto* take = program_.take_of(static_cast<std::size_t>(it.input))) {
      reg_of(v) = slot_register(it, RowSlot::Length::elements);
      const Operand& numbers = request_.inputs[static_cast<std::size_t>(take->numbers)];
      tape_.loads.push_back(
          {it.input, reg_of(v), walk, take->numbers, numbers.dtype == DType::i32});
      return;
    }
    const bool is_taken_once = in_passes_ && !it.by_line && draft_.passes_reading(v) > 1;
    const bool in_place = walk.is_contiguous() && (it.by_line || is_dense());
    const bool repeats = !it.by_line && !is_strided_ && !in_place && is_same_for_all_outers(walk);
    const bool is_one_line =
        walk.rank == 2 && walk.strides[1] == 1 && walk.sizes[1] * space_.outer == space_.elements();
    if (in_place || (repeats && is_long_ && is_one_line)) {
      RowRegister made = register_of(it, RowRegister::Kind::input, it.input);
      made.offset = walk.offset;
      made.repeats = repeats;
      reg_of(v) = add_register(made);
      return;
    }
    reg_of(v) = slot_register(it, it.by_line                 ? RowSlot::Length::lines
                                  : repeats || is_taken_once ? RowSlot::Length::elements
                                                             : length_of_chunks(v));
    (repeats ? tape_.loads_once : tape_.loads).push_back({it.input, reg_of(v), walk});
  }

  /// Whether neighbours of a block, or of a chunk of a pass, are neighbours in a dense value.
  bool is_dense() const {
    return !is_strided_ || (in_passes_ && space_.tail % RowTape::pass_chunk == 0);
  }

  bool is_same_for_all_outers(const Walk& walk) const {
    return walk.rank > 0 && walk.strides[0] == 0 && walk.sizes[0] % space_.outer == 0;
  }

  // The result that instruction i may write where it belongs: not if that memory is an operand read
  // later on, nor where a block lies in pieces.
  std::int32_t direct_result(std::int32_t i) {
    const RowDraftValue& made = value(draft_.code[static_cast<std::size_t>(i)].out);
    if (made.results.empty() || !(made.by_line || is_dense())) return -1;
    return is_read_later(made, i) ? -1 : made.results[0];
  }

  /// Whether where a result belongs is an operand that an instruction behind i reads.
  bool is_read_later(const RowDraftValue& made, std::int32_t i) {
    const Operand& out = request_.outputs[static_cast<std::size_t>(made.results[0])];
    return std::any_of(draft_.inputs.begin(), draft_.inputs.end(), [&](std::int32_t v) {
      const Operand& in = request_.inputs[static_cast<std::size_t>(value(v).input)];
      return in.place == out.place && in.at == out.at && value(v).last_read > i;
    });
  }

  /// What a value over elements needs if it is not written where it belongs.
  RowSlot::Length length_of(const RowDraftValue& made, std::int32_t i) {
    const bool waits = !made.results.empty() && is_read_later(made, draft_.last_map_of_pass(i));
    return made.is_kept || waits ? RowSlot::Length::elements
                                 : length_of_chunks(draft_.code[static_cast<std::size_t>(i)].out);
  }

  void add_instruction(std::int32_t i) {
    const RowDraftInstruction& draft = draft_.code[static_cast<std::size_t>(i)];
    RowDraftValue& made = value(draft.out);
    RowInstruction step{.kind = draft.kind, .by_line = draft.by_line};
    const DType operand = value(draft.args[0]).dtype;
    const auto bytes = static_cast<std::int32_t>(size_of(operand));
    step.run = draft.run;
    step.sweep = draft.sweep;
    step.form = draft.form;
    step.dtype = made.dtype;
    step.reduces = draft.reduce;
    if (draft.kind == Kind::copy) step.sweep = sweep_table(request_.isa).find_copy(bytes);
    if (draft.kind == Kind::spread) step.spread = sweep_table(request_.isa).find_spread(bytes);
    if (draft.kind == Kind::reduce) {
      step.reduce = space_.inner == 1 || is_long_ ? table_.find_rows(draft.reduce, operand)
                                                  : table_.find_columns(draft.reduce, operand);
      check_internal(step.reduce != nullptr, "no kernel for ", name(draft.reduce), " of ", operand);
      step.picks_index = picks_index(draft.reduce);
      step.is_together = reserved_[static_cast<std::size_t>(draft.args[0])] >= 0;
      if (in_passes_) add_levels(step, draft.reduce, made.dtype);
    }
    if (draft.kind == Kind::sum_lines) step.reduce = table_.find_columns(draft.reduce, operand);
    const std::int32_t result = direct_result(i);
    if (RowDraft::is_elementwise(draft.kind)) give_back(draft, i, true);
    check_internal(result >= 0 || draft.kind != Kind::sum_lines, "sums of lines are put aside");
    if (result >= 0) {
      RowRegister own = register_of(made, RowRegister::Kind::output, result);
      own.over = program_.results[static_cast<std::size_t>(result)].over;
      reg_of(draft.out) = add_register(own);
      made.results.clear();
    } else {
      const bool is_chunk = draft.kind == Kind::spread && is_long_;
      const std::int32_t own = reserved_[static_cast<std::size_t>(draft.out)];
      reg_of(draft.out) = own >= 0 ? add_register(register_of(made, RowRegister::Kind::slot, own))
                                   : slot_register(made,
                                                   is_chunk       ? RowSlot::Length::chunk
                                                   : made.by_line ? RowSlot::Length::lines
                                                                  : length_of(made, i),
                                                   is_chunk);
    }
    give_back(draft, i, false);
    set_registers(step, draft);
    step.magnitude = draft.kind == Kind::spread ? nullptr : table_.find_magnitude(made.dtype);
    step.is_result = result >= 0 || !made.results.empty();
    step.is_carried = made.is_carried;
    tape_.code.push_back(step);
  }

  void add_levels(RowInstruction& step, ReduceKind kind, DType made) {
    step.join = find_join(kind, made);
    check_internal(step.join != nullptr, "nothing joins ", name(kind), " of ", made);
    tape_.slots.push_back({RowSlot::Length::levels, static_cast<std::int32_t>(sizeof(double)), 0});
    step.levels = static_cast<std::int32_t>(tape_.slots.size()) - 1;
  }

  void set_registers(RowInstruction& step, const RowDraftInstruction& draft) {
    for (std::size_t i = 0; i < 5; ++i) {
      const std::int32_t v = i == 0 || i > draft.args.size() ? draft.out : draft.args[i - 1];
      const RowRegister& reg = tape_.registers[static_cast<std::size_t>(reg_of(v))];
      step.registers[i] = reg_of(v);
      step.bytes[i] = reg.is_chunk ? 0 : reg.size;
      if (i > 0) step.operands.step[i - 1] = reg.is_chunk ? 0 : sweep_block;
      if (in_passes_) (i == 0 ? step.operands.out : step.operands.in[i - 1]) = step.registers[i];
    }
  }

  // Of what stays for a line sweeps read one block, other kernels a chunk.
  std::int64_t spread_elements(std::int32_t v) const {
    const bool is_block =
        std::none_of(draft_.code.begin(), draft_.code.end(), [&](const RowDraftInstruction& step) {
          return step.run && std::find(step.args.begin(), step.args.end(), v) != step.args.end();
        });
    return is_block ? sweep_block : tape_.chunk;
  }

  // Slots of operands that nothing reads any more: before the result gets its own, those as wide as
  // the result are free for it; behind it all that it did not take.
  void give_back(const RowDraftInstruction& draft, std::int32_t i, bool before) {
    for (const std::int32_t arg : draft.args) {
      const RowDraftValue& it = value(arg);
      const bool is_made = it.from == From::instruction || is_taken_each_time(arg);
      if (!is_made || it.last_read != i || !it.results.empty()) continue;
      const RowRegister& reg = tape_.registers[static_cast<std::size_t>(reg_of(arg))];
      if (reg.kind != RowRegister::Kind::slot || reg.is_chunk) continue;
      if (before && size_of(it.dtype) != size_of(value(draft.out).dtype)) continue;
      if (!before &&
          tape_.registers[static_cast<std::size_t>(reg_of(draft.out))].index == reg.index &&
          tape_.registers[static_cast<std::size_t>(reg_of(draft.out))].kind == reg.kind)
        continue;
      if (std::find(free_slots_.begin(), free_slots_.end(), reg.index) == free_slots_.end())
        free_slots_.push_back(reg.index);
    }
  }

  bool is_taken_each_time(std::int32_t v) const {
    return std::any_of(tape_.loads.begin(), tape_.loads.end(), [&](const RowLoad& load) {
      return load.reg == registers_[static_cast<std::size_t>(v)];
    });
  }

  // Behind each chunk; where an operand lies there that a Reduce or a later pass reads, at the end.
  void add_stores() {
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(draft_.code.size()); ++i) {
      const RowDraftValue& made = value(draft_.code[static_cast<std::size_t>(i)].out);
      for (const std::int32_t r : made.results) {
        const bool waits =
            !in_passes_ || made.by_line || is_read_later(made, draft_.last_map_of_pass(i));
        const auto phase = std::find_if(tape_.phases.begin(), tape_.phases.end(),
                                        [&](const RowPhase& it) { return i < it.last; });
        const std::int32_t own = reg_of(draft_.code[static_cast<std::size_t>(i)].out);
        (waits ? tape_.stores : phase->stores).push_back({own, r, is_read_later(made, i)});
      }
    }
  }

  void choose_block() {
    std::int64_t per_element = 0;
    for (const RowSlot& slot : tape_.slots)
      per_element += slot.length == RowSlot::Length::elements ? slot.size : 0;
    std::int64_t target = most_block_elements;
    while (target > 256 && target * per_element > cache_budget) target /= 2;
    if (in_passes_) {
      tape_.chunk = RowTape::pass_chunk;
    } else if (is_long_) {
      tape_.chunk = std::min(space_.length(), line_chunk);
    } else if (is_strided_) {
      const std::int64_t columns = std::max(
          fewest_columns, most_dense_elements / space_.n / fewest_columns * fewest_columns);
      tape_.columns = std::min(space_.inner, columns);
      tape_.chunk = tape_.block_elements();
    } else {
      tape_.columns = space_.inner;
      tape_.outers = std::clamp<std::int64_t>(target / (space_.n * space_.inner), 1, space_.outer);
      for (const RowProgram::Result& result : program_.results)
        tape_.outers = std::max(tape_.outers / result.over, std::int64_t{1}) * result.over;
      tape_.chunk = tape_.block_elements();
    }
    // Slots of a chunk hold a block of a sweep at least.
    tape_.chunk = std::max(tape_.chunk, sweep_block);
    for (std::size_t i = 0; is_long_ && i < tape_.code.size(); ++i) {
      if (tape_.code[i].kind == Kind::spread)
        tape_.code[i].spread_elements = spread_elements(draft_.code[i].out);
    }
    tape_.blocks_per_part = std::max<std::int64_t>(1, part_elements / tape_.block_elements());
    std::int64_t moved = 0;
    for (const std::int32_t r : tape_.moving) {
      const RowRegister& it = tape_.registers[static_cast<std::size_t>(r)];
      moved += it.by_line ? 0 : it.size * space_.elements();
    }
    tape_.fetches_blocks = !in_passes_ && !tape_.is_strided() && moved > near_bytes;
  }

  void fill_constants() {
    tape_.constant_bytes = (tape_.chunk * 8 + 63) / 64 * 64;
    tape_.constants =
        allocate_bytes(static_cast<std::int64_t>(constants_.size()) * tape_.constant_bytes);
    std::byte* memory = tape_.constants.get();
    for (const std::int32_t v : constants_) {
      const RowDraftValue& constant = value(v);
      visit(constant.dtype, [&](auto zero) {
        using T = decltype(zero);
        T number{};
        if constexpr (is_floating(dtype_of<T>()))
          number = static_cast<T>(std::bit_cast<double>(constant.bits));
        else number = static_cast<T>(static_cast<std::int64_t>(constant.bits));
        std::fill_n(reinterpret_cast<T*>(memory), tape_.chunk, number);
      });
      memory += tape_.constant_bytes;
    }
  }

  const KernelRequest& request_;
  const RowProgram& program_;
  const RowSpace space_;
  const TapeTable& table_;
  const RowLines lines_;
  const bool is_long_, in_passes_, is_strided_;
  RowDraft draft_;
  std::vector<std::int32_t> registers_;  // of each value
  std::vector<std::int32_t> constants_;  // values
  std::vector<std::int32_t> free_slots_;
  std::vector<std::int32_t> reserved_;  // slots of values, -1 for any
  RowTape tape_;
};

}  // namespace

RowTape make_row_tape(const KernelRequest& request) { return RowTapeBuilder(request).build(); }

}  // namespace blockgrad
