// The scalar program of a Map becomes a tape. Registers whose value is no longer needed give
// their slot back, so that a chunk of all of them stays in the L1 cache.
#include <algorithm>
#include <numeric>

#include "backends/cpu/numerics.h"
#include "backends/cpu/tape_constants.h"
#include "backends/cpu/tape_cut.h"
#include "backends/cpu/tape_program.h"
#include "backends/cpu/tape_steps.h"
#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace {

using Kind = TapeRegister::Kind;

std::int64_t rounded_up(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit * unit; }

class TapeBuilder {
 public:
  explicit TapeBuilder(const KernelRequest& request)
      : request_(request), fn_(request.node.op.as<Map>()->fn) {}

  TapeProgram build() {
    tape_.elements = request_.node.types[0].shape.size();
    home_.assign(fn_.code().size(), -1);
    spread_.assign(fn_.code().size(), -1);
    find_numbers();
    find_rows();
    steps_ = tape_steps(fn_, is_number_, request_.isa, true);
    find_reads();
    for (std::int32_t i = 0; i < size(); ++i) {
      if (at(i).op == ScalarOp::constant) add_constant(i);
      if (at(i).op == ScalarOp::input && is_read(i)) add_input(i);
      if (at(i).op == ScalarOp::flat_index && is_read(i)) add_counter(i);
    }
    for (std::size_t s = 0; s < steps_.size(); ++s) add_step(s);
    copy_results_left_over();
    check_internal(tape_.registers.size() <= TapeProgram::most_registers, "a map of ",
                   tape_.registers.size(), " values");
    choose_chunk();
    lay_out_scratch();
    fill_constants();
    return std::move(tape_);
  }

 private:
  std::int32_t size() const { return static_cast<std::int32_t>(fn_.code().size()); }
  static std::size_t nth(std::int32_t i) { return static_cast<std::size_t>(i); }
  const ScalarInstr& at(std::int32_t i) const { return fn_.code()[nth(i)]; }
  std::int32_t& home(std::int32_t i) { return home_[nth(i)]; }
  const Layout& layout(std::int32_t input) const {
    return request_.inputs[static_cast<std::size_t>(at(input).bits)].layout;
  }
  bool is_read(std::int32_t i) const { return last_read_[nth(i)] >= 0 || is_result_[nth(i)]; }

  // Values that are the same for all elements.
  void find_numbers() {
    is_number_.assign(fn_.code().size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      char& number = is_number_[nth(i)];
      if (at(i).op == ScalarOp::constant) number = 1;
      if (at(i).op == ScalarOp::input) {
        const Walk walk(layout(i));
        number = !walk.is_contiguous() && walk.is_scalar();
      }
      const int count = arity(at(i).op);
      if (count > 0) number = 1;
      for (int a = 0; a < count; ++a)
        number &= is_number_[nth(at(i).args[static_cast<std::size_t>(a)])];
    }
  }

  // The first strided operand or result that has such rows decides on their length.
  void find_rows() {
    const auto look = [&](const Layout& layout) {
      const Walk walk(layout);
      if (row_ == 0 && !walk.is_contiguous() && period_of(walk) == 0) row_ = row_of(walk);
    };
    for (const Operand& in : request_.inputs) look(in.layout);
    for (const Operand& out : request_.outputs) look(out.layout);
  }

  bool has_rows(const Walk& walk) const { return row_ > 0 && row_of(walk) == row_; }

  // In numbers of steps.
  void find_reads() {
    last_read_.assign(fn_.code().size(), -1);
    is_result_.assign(fn_.code().size(), 0);
    is_carried_.assign(fn_.code().size(), 0);
    for (std::size_t s = 0; s < steps_.size(); ++s) {
      for (const std::int32_t a : steps_[s].operands())
        last_read_[nth(a)] = static_cast<std::int32_t>(s);
    }
    for (const std::int32_t r : fn_.results()) is_result_[nth(r)] = 1;
    is_written_.assign(fn_.results().size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      for (int a = 0; a < arity(at(i).op); ++a) {
        if (carries(at(i).op, a)) is_carried_[nth(at(i).args[static_cast<std::size_t>(a)])] = 1;
      }
    }
  }

  std::int32_t add_register(Kind kind, std::int32_t index, std::int32_t instr,
                            std::int64_t offset = 0) {
    const auto bytes = static_cast<std::int32_t>(size_of(at(instr).dtype));
    tape_.registers.push_back({kind, index, bytes, offset * bytes, 0});
    const auto number = static_cast<std::int32_t>(tape_.registers.size()) - 1;
    if (kind == Kind::input || kind == Kind::output) tape_.moving.push_back(number);
    return number;
  }

  std::int32_t add_rows(Kind kind, std::int32_t index, std::int32_t instr, const Walk& walk) {
    const std::int32_t number = add_register(kind, index, instr);
    tape_.registers[nth(number)].rows = static_cast<std::int32_t>(tape_.rows.size());
    tape_.rows.push_back(walk);
    return number;
  }

  // Where result r lies, if that is where an instruction may write it.
  std::int32_t add_result(std::int32_t r, std::int32_t instr) {
    const Layout& layout = request_.outputs[nth(r)].layout;
    return layout.is_dense() ? add_register(Kind::output, r, instr)
                             : add_rows(Kind::output, r, instr, Walk(layout));
  }
  bool is_made_in_place(const Layout& layout) const {
    return layout.is_dense() || has_rows(Walk(layout));
  }

  // A slot that nothing has used, of a chunk, or of one block for a number.
  std::int32_t new_slot(std::int32_t instr, bool is_number) {
    slots_.push_back({static_cast<std::int32_t>(size_of(at(instr).dtype)), is_number});
    return add_register(Kind::slot, static_cast<std::int32_t>(slots_.size()) - 1, instr);
  }

  // A slot for what a step makes, of a chunk, or of one block for a number.
  std::int32_t slot_register(std::int32_t instr, bool is_number = false) {
    const auto bytes = static_cast<std::int32_t>(size_of(at(instr).dtype));
    const auto free = std::find_if(free_slots_.begin(), free_slots_.end(),
                                   [&](auto slot) { return slots_[nth(slot)].bytes == bytes; });
    if (is_number || free == free_slots_.end()) return new_slot(instr, is_number);
    const std::int32_t slot = *free;
    free_slots_.erase(free);
    return add_register(Kind::slot, slot, instr);
  }

  void add_constant(std::int32_t i) {
    home(i) = add_register(Kind::constant, static_cast<std::int32_t>(constants_.size()), i);
    constants_.push_back(at(i));
  }

  void add_input(std::int32_t i) {
    const auto input = static_cast<std::int32_t>(at(i).bits);
    const Walk walk(layout(i));
    if (walk.is_contiguous()) {
      home(i) = add_register(Kind::input, input, i, walk.offset);
      return;
    }
    if (has_rows(walk)) {
      home(i) = add_rows(Kind::input, input, i, walk);
      return;
    }
    home(i) = slot_register(i, is_number_[nth(i)] != 0);
    const std::int64_t period = row_ > 0 ? 0 : period_of(walk);
    const std::int64_t joint = period > 0 ? std::lcm(period, period_) : 0;
    std::vector<TapeLoad>& loads = is_number_[nth(i)]                         ? tape_.numbers
                                   : joint > 0 && joint <= largest_tape_chunk ? tape_.patterns
                                                                              : tape_.loads;
    if (&loads == &tape_.patterns) period_ = joint;
    loads.push_back({input, home(i), walk});
  }

  void add_counter(std::int32_t i) {
    home(i) = slot_register(i);
    tape_.counters.push_back(home(i));
  }

  // The result that step s may write where it belongs: not if that memory is an operand read later
  // on.
  std::int32_t direct_result(std::size_t s, std::int32_t value) const {
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (fn_.results()[r] != value) continue;
      const Operand& out = request_.outputs[r];
      if (!is_made_in_place(out.layout)) return -1;
      for (std::int32_t k = 0; k < size(); ++k) {
        if (at(k).op != ScalarOp::input) continue;
        const Operand& in = request_.inputs[static_cast<std::size_t>(at(k).bits)];
        const bool is_needed =
            last_read_[nth(k)] > static_cast<std::int32_t>(s) || is_result_[nth(k)];
        if (in.place == out.place && in.at == out.at && is_needed) return -1;
      }
      return static_cast<std::int32_t>(r);
    }
    return -1;
  }

  void add_step(std::size_t s) {
    const TapeStep& step = steps_[s];
    const bool is_number = is_number_[nth(step.value)] != 0;
    TapeInstruction made;
    made.function = step.function;
    made.run = step.run;
    made.sweep = step.sweep;
    made.work = is_long(at(step.value).op) ? TapeInstruction::long_work : 1;
    for (int a = 0; a < step.count; ++a) {
      const std::int32_t arg = step.args[static_cast<std::size_t>(a)];
      const bool stays = is_number_[nth(arg)] && !is_number;
      made.operands.in[a] = stays && step.run ? spread(arg) : home(arg);
      made.operands.step[a] = is_number_[nth(arg)] && step.sweep ? 0 : sweep_block;
    }
    for (const std::int32_t arg : step.operands()) give_slot_back(arg, s);
    give_home(made, s, step.value);
    if (is_number) {
      tape_.starts.push_back({made, sweep_block});
      return;
    }
    TapeInstruction second;
    if (step.also >= 0) {
      give_home(second, s, step.also);
      made.also = second.operands.out;
    }
    tape_.code.push_back(made);
    if (step.also >= 0) tape_.code.push_back(second);
  }

  void give_home(TapeInstruction& made, std::size_t s, std::int32_t i) {
    const std::int32_t result = is_number_[nth(i)] ? -1 : direct_result(s, i);
    if (result >= 0) is_written_[nth(result)] = 1;
    home(i) = result >= 0 ? add_result(result, i) : slot_register(i, is_number_[nth(i)] != 0);
    made.operands.out = home(i);
    made.magnitude = tape_table(request_.isa).find_magnitude(at(i).dtype);
    made.is_result = is_result_[nth(i)] != 0;
    made.is_carried = is_carried_[nth(i)] != 0;
  }

  TapeInstruction copy(std::int32_t to, std::int32_t from, bool stays) const {
    TapeInstruction made;
    made.work = 1;
    made.sweep =
        sweep_table(request_.isa).find_copy(tape_.registers[static_cast<std::size_t>(from)].size);
    made.operands.out = to;
    made.operands.in[0] = from;
    made.operands.step[0] = stays ? 0 : sweep_block;
    return made;
  }

  // A number as a chunk of equal ones, for kernels that want one. It is made before the first
  // chunk, so its slot is nobody else's.
  std::int32_t spread(std::int32_t number) {
    std::int32_t& reg = spread_[nth(number)];
    if (reg < 0) {
      reg = new_slot(number, false);
      tape_.starts.push_back({copy(reg, home(number), true), 0});  // of a chunk, see choose_chunk
    }
    return reg;
  }

  void give_slot_back(std::int32_t value, std::size_t now) {
    const TapeRegister& place = tape_.registers[nth(home(value))];
    const bool is_kept = arity(at(value).op) == 0 || is_number_[nth(value)] ||
                         is_result_[nth(value)] ||
                         last_read_[nth(value)] != static_cast<std::int32_t>(now);
    if (place.kind != Kind::slot || is_kept) return;
    if (std::find(free_slots_.begin(), free_slots_.end(), place.index) == free_slots_.end())
      free_slots_.push_back(place.index);
  }

  // Results that are operands, or that had to wait. An operand whose memory receives another result
  // is set aside first: all reads of a chunk come before its writes.
  void copy_results_left_over() {
    std::vector<std::int32_t> from;
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      const std::int32_t source = fn_.results()[r];
      from.push_back(home(source));
      if (is_written_[r] || at(source).op != ScalarOp::input || !is_overwritten(source)) continue;
      const bool is_number = is_number_[nth(source)] != 0;
      if (is_number) continue;  // it is read before the first chunk
      const std::int32_t aside = slot_register(source);
      tape_.code.push_back(copy(aside, home(source), false));
      from.back() = aside;
    }
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (is_written_[r]) continue;
      const std::int32_t source = fn_.results()[r];
      const Layout& layout = request_.outputs[r].layout;
      const bool is_apart = !is_made_in_place(layout);
      if (is_apart && arity(at(source).op) > 0 && !is_number_[nth(source)]) {
        tape_.stores.push_back({static_cast<std::int32_t>(r), from[r], Walk(layout)});
        continue;
      }
      const std::int32_t out =
          is_apart ? slot_register(source) : add_result(static_cast<std::int32_t>(r), source);
      TapeInstruction made = copy(out, from[r], is_number_[nth(source)] != 0);
      made.magnitude = tape_table(request_.isa).find_magnitude(at(source).dtype);
      made.is_result = true;
      tape_.code.push_back(made);
      if (is_apart) tape_.stores.push_back({static_cast<std::int32_t>(r), out, Walk(layout)});
    }
  }

  bool is_overwritten(std::int32_t input) const {
    const Operand& in = request_.inputs[static_cast<std::size_t>(at(input).bits)];
    for (const Operand& out : request_.outputs) {
      if (out.place == in.place && out.at == in.at) return true;
    }
    return false;
  }

  void choose_chunk() {
    TapeNeeds needs{
        .elements = tape_.elements, .period = period_, .row = tape_.rows.empty() ? 0 : row_};
    for (const Slot& slot : slots_) needs.bytes += slot.is_number ? 0 : slot.bytes;
    for (const std::int32_t r : tape_.moving) needs.bytes += tape_.registers[nth(r)].size;
    needs.steps = static_cast<std::int64_t>(tape_.code.size() + tape_.loads.size() +
                                            tape_.stores.size() + tape_.rows.size() + 1);
    needs.streams = tape_.moving.size() + tape_.loads.size() + tape_.stores.size();
    needs.is_unforeseen = !tape_.loads.empty() || takes_long(fn_, steps_, is_number_);
    const TapeCut cut = cut_tape(needs);
    tape_.chunk = cut.chunk, tape_.part = cut.part, tape_.fetches_ahead = cut.fetches_ahead;
    tape_.share_fetches();
    for (TapeStart& start : tape_.starts) {
      if (start.elements == 0) start.elements = tape_.chunk;
    }
  }

  // Slots start at different places of a page, else a store and the next load of another slot look
  // alike to the processor.
  void lay_out_scratch() {
    constexpr std::int64_t line = 64, apart = 3 * line;
    std::int64_t end = 0;
    std::vector<std::int64_t> offsets;
    const std::int64_t chunk = rounded_up(tape_.chunk, sweep_block);
    for (const Slot& slot : slots_) {
      offsets.push_back(end);
      end +=
          slot.is_number ? sweep_block * slot.bytes : rounded_up(chunk * slot.bytes, line) + apart;
    }
    tape_.scratch_bytes = end;
    for (TapeRegister& reg : tape_.registers) {
      if (reg.kind == Kind::slot) reg.offset = offsets[nth(reg.index)];
      if (reg.kind != Kind::output) continue;
      reg.trial = end;
      end += rounded_up(chunk * reg.size, line);
    }
    tape_.trial_bytes = end - tape_.scratch_bytes;
  }

  void fill_constants() {
    tape_.constants = constant_blocks(constants_);
    for (TapeRegister& reg : tape_.registers) {
      if (reg.kind == Kind::constant) reg.offset = reg.index * constant_block_bytes;
    }
  }

  struct Slot {
    std::int32_t bytes;  // of an element
    bool is_number;
  };

  const KernelRequest& request_;
  const ScalarFn& fn_;
  TapeProgram tape_;
  std::vector<TapeStep> steps_;
  std::vector<char> is_number_, is_result_, is_written_, is_carried_;
  std::vector<std::int32_t> home_;       // register of each value
  std::vector<std::int32_t> spread_;     // register of a chunk of a number; -1 for none
  std::vector<std::int32_t> last_read_;  // step that reads each value last
  std::vector<Slot> slots_;
  std::vector<std::int32_t> free_slots_;
  std::vector<ScalarInstr> constants_;
  std::int64_t period_ = 1;  // of all patterns together
  std::int64_t row_ = 0;     // elements of the rows that lie apart and are used there
};

}  // namespace

TapeProgram make_tape(const KernelRequest& request) { return TapeBuilder(request).build(); }

}  // namespace blockgrad
