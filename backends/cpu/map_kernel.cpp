// Map on the CPU: the scalar program becomes a tape. Registers whose value is no longer needed give
// their slot back, so that a chunk of all of them stays in the L1 cache.
#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/cpu/families.h"
#include "backends/cpu/numerics.h"
#include "backends/cpu/tape_program.h"
#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace {

constexpr std::int64_t largest_chunk = 1024;  // elements
constexpr std::int64_t slot_budget = 24 * 1024;

using Kind = TapeRegister::Kind;

class TapeBuilder {
 public:
  explicit TapeBuilder(const KernelRequest& request)
      : request_(request), fn_(request.node.op.as<Map>()->fn) {}

  TapeProgram build() {
    tape_.elements = request_.node.types[0].shape.size();
    tape_.results = static_cast<std::int32_t>(fn_.results().size());
    home_.assign(fn_.code().size(), -1);
    find_reads();
    for (std::int32_t i = 0; i < size(); ++i) {
      if (at(i).op == ScalarOp::constant) add_constant(i);
      if (at(i).op == ScalarOp::input) add_input(i);
      if (at(i).op == ScalarOp::flat_index) add_counter(i);
    }
    for (std::int32_t i = 0; i < size(); ++i) {
      if (arity(at(i).op) > 0) add_instruction(i);
    }
    copy_results_left_over();
    choose_chunk();
    spread_constants();
    return std::move(tape_);
  }

 private:
  std::int32_t size() const { return static_cast<std::int32_t>(fn_.code().size()); }
  const ScalarInstr& at(std::int32_t i) const { return fn_.code()[static_cast<std::size_t>(i)]; }
  std::int32_t& home(std::int32_t i) { return home_[static_cast<std::size_t>(i)]; }
  std::int32_t argument(std::int32_t i, int a) const {
    return at(i).args[static_cast<std::size_t>(a)];
  }

  void find_reads() {
    last_read_.assign(fn_.code().size(), -1);
    is_result_.assign(fn_.code().size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      for (int a = 0; a < arity(at(i).op); ++a)
        last_read_[static_cast<std::size_t>(argument(i, a))] = i;
    }
    for (const std::int32_t r : fn_.results()) is_result_[static_cast<std::size_t>(r)] = 1;
    is_written_.assign(fn_.results().size(), 0);
    is_carried_.assign(fn_.code().size(), 0);
    for (std::int32_t i = 0; i < size(); ++i) {
      for (int a = 0; a < arity(at(i).op); ++a) {
        if (carries(at(i).op, a)) is_carried_[static_cast<std::size_t>(argument(i, a))] = 1;
      }
    }
  }

  std::int32_t add_register(Kind kind, std::int32_t index, std::int32_t instr,
                            std::int64_t offset = 0) {
    tape_.registers.push_back(
        {kind, index, static_cast<std::int32_t>(size_of(at(instr).dtype)), offset});
    const auto number = static_cast<std::int32_t>(tape_.registers.size()) - 1;
    if (kind == Kind::input || kind == Kind::output) tape_.moving.push_back(number);
    return number;
  }

  std::int32_t take_slot() {
    if (free_slots_.empty()) return tape_.slots++;
    const std::int32_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }

  void add_constant(std::int32_t i) {
    home(i) = add_register(Kind::constant, static_cast<std::int32_t>(constants_.size()), i);
    constants_.push_back(at(i));
  }

  void add_input(std::int32_t i) {
    const auto input = static_cast<std::int32_t>(at(i).bits);
    const Layout& layout = request_.inputs[static_cast<std::size_t>(input)].layout;
    const Walk walk(layout);
    if (walk.is_contiguous()) {
      home(i) = add_register(Kind::input, input, i, layout.offset);
      return;
    }
    home(i) =
        add_register(Kind::slot, take_slot(), i);  // kept throughout: a scalar is spread only once
    tape_.loads.push_back({input, home(i), walk, walk.is_scalar()});
  }

  void add_counter(std::int32_t i) {
    home(i) = add_register(Kind::slot, take_slot(), i);
    tape_.counters.push_back(home(i));
  }

  // The result that instruction i may write where it belongs: not if that memory is an operand read
  // later on.
  std::int32_t direct_result(std::int32_t i) const {
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (fn_.results()[r] != i) continue;
      const Operand& out = request_.outputs[r];
      for (std::int32_t k = 0; k < size(); ++k) {
        if (at(k).op != ScalarOp::input) continue;
        const Operand& in = request_.inputs[static_cast<std::size_t>(at(k).bits)];
        const bool is_needed =
            last_read_[static_cast<std::size_t>(k)] > i || is_result_[static_cast<std::size_t>(k)];
        if (in.place == out.place && in.at == out.at && is_needed) return -1;
      }
      return static_cast<std::int32_t>(r);
    }
    return -1;
  }

  void add_instruction(std::int32_t i) {
    const DType operand = at(argument(i, 0)).dtype;
    TapeInstruction made;
    made.run = tape_table(request_.isa).find(at(i).op, operand, at(i).dtype);
    check_internal(made.run != nullptr, "no kernel for ", name(at(i).op), " on ", operand);
    const int count = arity(at(i).op);
    made.a = home(argument(i, 0));
    if (count > 1) made.b = home(argument(i, 1));
    if (count > 2) made.c = home(argument(i, 2));
    const std::int32_t result = direct_result(i);
    if (result >= 0) is_written_[static_cast<std::size_t>(result)] = 1;
    home(i) = result >= 0 ? add_register(Kind::output, result, i)
                          : add_register(Kind::slot, take_slot(), i);
    made.out = home(i);
    made.magnitude = tape_table(request_.isa).find_magnitude(at(i).dtype);
    made.is_result = result >= 0;
    made.is_carried = is_carried_[static_cast<std::size_t>(i)] != 0;
    tape_.code.push_back(made);
    for (int a = 0; a < count; ++a) give_slot_back(argument(i, a), i);
  }

  void give_slot_back(std::int32_t value, std::int32_t now) {
    const TapeRegister& place = tape_.registers[static_cast<std::size_t>(home(value))];
    const bool is_loaded = arity(at(value).op) == 0;
    const bool is_needed = last_read_[static_cast<std::size_t>(value)] != now ||
                           is_result_[static_cast<std::size_t>(value)];
    if (place.kind != Kind::slot || is_loaded || is_needed) return;
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
      const std::int32_t aside = add_register(Kind::slot, tape_.slots++, source);
      tape_.code.push_back({nullptr, aside, home(source), 0, 0});
      from.back() = aside;
    }
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (is_written_[r]) continue;
      const std::int32_t out =
          add_register(Kind::output, static_cast<std::int32_t>(r), fn_.results()[r]);
      tape_.code.push_back({nullptr, out, from[r], 0, 0,
                            tape_table(request_.isa).find_magnitude(at(fn_.results()[r]).dtype),
                            true});
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
    std::int64_t chunk = largest_chunk;
    while (chunk > 128 && tape_.slots * chunk * 4 > slot_budget) chunk /= 2;
    tape_.chunk = std::max<std::int64_t>(1, std::min(chunk, tape_.elements));
    tape_.slot_bytes = (tape_.chunk * 8 + 63) / 64 * 64;
  }

  void spread_constants() {
    tape_.constants =
        allocate_bytes(static_cast<std::int64_t>(constants_.size()) * tape_.slot_bytes);
    for (std::size_t k = 0; k < constants_.size(); ++k) {
      std::byte* memory = tape_.constants.get() + static_cast<std::int64_t>(k) * tape_.slot_bytes;
      visit(constants_[k].dtype, [&](auto zero) {
        using T = decltype(zero);
        T value{};
        if constexpr (is_floating(dtype_of<T>()))
          value = static_cast<T>(std::bit_cast<double>(constants_[k].bits));
        else value = static_cast<T>(static_cast<std::int64_t>(constants_[k].bits));
        std::fill_n(reinterpret_cast<T*>(memory), tape_.chunk, value);
      });
    }
  }

  const KernelRequest& request_;
  const ScalarFn& fn_;
  TapeProgram tape_;
  std::vector<std::int32_t> home_;       // register of each value
  std::vector<std::int32_t> last_read_;  // instruction that reads each value last
  std::vector<char> is_result_, is_written_, is_carried_;
  std::vector<std::int32_t> free_slots_;
  std::vector<ScalarInstr> constants_;
};

}  // namespace

TapeProgram make_tape(const KernelRequest& request) { return TapeBuilder(request).build(); }

void add_map_kernels(KernelTable& table) {
  table.add<Map>([](const KernelRequest& request) {
    auto tape = std::make_shared<const TapeProgram>(make_tape(request));
    const auto steps = tape->code.size() + tape->loads.size();
    Kernel kernel;
    kernel.parts = tape->parts();
    kernel.scratch = tape->scratch();
    kernel.trial_scratch = tape->trial_scratch();
    kernel.can_watch = true;
    kernel.cost = 20 + 0.15 * static_cast<double>(tape->elements) * static_cast<double>(steps);
    kernel.why = join({tape->code.size(), " instructions in chunks of ", tape->chunk, ", ",
                       tape->slots, " slots"});
    kernel.run = [tape](const KernelCall& call, std::int64_t first, std::int64_t last) {
      tape->run(call, first, last);
    };
    return kernel;
  });
}

}  // namespace blockgrad
