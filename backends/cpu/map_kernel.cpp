// Map on the CPU: the scalar program is run instruction by instruction over chunks that stay in the L1 cache.
// Results go straight to memory; temporaries, broadcast and strided operands go through slots in scratch.
// Elements are independent, so chunks, parts and threads do not change a bit.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "backends/cpu/families.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "blockgrad/graph/map.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_size = 16384;     // elements; what one thread takes at a time
constexpr std::int64_t largest_chunk = 1024;  // elements
constexpr std::int64_t slot_budget = 24 * 1024;

// Where a register of the scalar program lives while a chunk is worked on.
struct Register {
  enum class Kind : std::uint8_t { slot, input, output, constant } kind = Kind::slot;
  std::int32_t index = 0;  // slot number, operand number, or byte offset of the constant
  std::int32_t size = 4;   // bytes per element
};

struct Instruction {
  TapeFn run = nullptr;  // null: copy a to out
  std::int32_t out = 0, a = 0, b = 0, c = 0;
};

struct Load {
  std::int32_t input = 0;
  std::int32_t reg = 0;
  Walk walk;
  bool once = false;  // one value for the whole tensor
};

class Tape {
 public:
  explicit Tape(const KernelRequest& request) : request_(request), fn_(request.node.op.as<Map>()->fn) {
    elements_ = request.node.types[0].shape.size();
    for (const Operand& in : request.inputs) request_offset_.push_back(in.layout.offset);
    find_last_reads();
    make_inputs();
    for (std::size_t i = 0; i < fn_.code().size(); ++i) make_instruction(static_cast<std::int32_t>(i));
    copy_remaining_results();
    choose_chunk();
    fill_constants();
  }

  std::int64_t parts() const { return std::max<std::int64_t>(1, (elements_ + part_size - 1) / part_size); }
  std::size_t scratch() const { return static_cast<std::size_t>(slots_ * slot_bytes_); }
  double cost() const {
    return 20 + static_cast<double>(elements_) * 0.15 * static_cast<double>(code_.size() + loads_.size());
  }
  std::string why() const {
    return fmt::format("{} instructions in chunks of {}, {} slots", code_.size(), chunk_, slots_);
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    std::byte* at[2 * ScalarFn::max_size];
    const std::int64_t begin = first * part_size;
    const std::int64_t end = std::min(elements_, last * part_size);
    for (std::size_t r = 0; r < registers_.size(); ++r) at[r] = start_of(registers_[r], call, begin);
    std::int64_t filled = 0;  // elements of the one-value slots that are set
    for (std::int64_t i = begin; i < end; i += chunk_) {
      const std::int64_t n = std::min(chunk_, end - i);
      for (const Load& load : loads_) {
        if (!load.once || filled < n) load_chunk(load, call, at, i, n);
      }
      filled = std::max(filled, n);
      for (const Instruction& step : code_) {
        if (step.run) step.run(at[step.out], at[step.a], at[step.b], at[step.c], n);
        else std::memcpy(at[step.out], at[step.a], static_cast<std::size_t>(n * registers_[static_cast<std::size_t>(step.a)].size));
      }
      for (const std::int32_t r : moving_) at[r] += n * registers_[static_cast<std::size_t>(r)].size;
    }
  }

 private:
  std::int32_t size_of_register(std::int32_t i) const {
    return static_cast<std::int32_t>(size_of(fn_.code()[static_cast<std::size_t>(i)].dtype));
  }

  std::int32_t add_register(Register reg) {
    registers_.push_back(reg);
    const auto number = static_cast<std::int32_t>(registers_.size()) - 1;
    if (reg.kind == Register::Kind::input || reg.kind == Register::Kind::output) moving_.push_back(number);
    return number;
  }

  void find_last_reads() {
    last_read_.assign(fn_.code().size(), -1);
    for (std::size_t i = 0; i < fn_.code().size(); ++i) {
      const ScalarInstr& instr = fn_.code()[i];
      for (int a = 0; a < arity(instr.op); ++a) {
        last_read_[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])] = static_cast<std::int32_t>(i);
      }
    }
    for (const std::int32_t r : fn_.results()) {
      results_of_[r] += 1;
    }
  }

  void make_inputs() {
    home_.assign(fn_.code().size(), -1);
    for (std::size_t i = 0; i < fn_.code().size(); ++i) {
      const ScalarInstr& instr = fn_.code()[i];
      const auto reg = static_cast<std::int32_t>(i);
      if (instr.op == ScalarOp::constant) {
        home_[i] = add_register({Register::Kind::constant, static_cast<std::int32_t>(constants_.size()), size_of_register(reg)});
        constants_.push_back(instr);
      } else if (instr.op == ScalarOp::input) {
        const auto input = static_cast<std::int32_t>(instr.bits);
        const Walk walk(request_.inputs[static_cast<std::size_t>(input)].layout);
        if (walk.is_contiguous() && elements_ > 0) {
          home_[i] = add_register({Register::Kind::input, input, size_of_register(reg)});
        } else {
          home_[i] = add_register({Register::Kind::slot, take_slot(), size_of_register(reg)});
          loads_.push_back({input, home_[i], walk, walk.is_scalar()});
          keeps_slot_.push_back(home_[i]);
        }
      }
    }
  }

  std::int32_t take_slot() {
    if (free_slots_.empty()) return slots_++;
    const std::int32_t slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }

  // A result may be written where it belongs at once unless its memory is an operand that is read later on.
  std::int32_t result_written_directly(std::int32_t i) const {
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (fn_.results()[r] != i) continue;
      const Operand& out = request_.outputs[r];
      bool read_later = false;
      for (std::size_t k = 0; k < fn_.code().size(); ++k) {
        const ScalarInstr& instr = fn_.code()[k];
        if (instr.op != ScalarOp::input) continue;
        const Operand& in = request_.inputs[static_cast<std::size_t>(instr.bits)];
        const bool same_memory = in.place == out.place && in.at == out.at;
        const bool is_result = results_of_.count(static_cast<std::int32_t>(k)) > 0;
        if (same_memory && (last_read_[k] > i || is_result)) read_later = true;
      }
      return read_later ? -1 : static_cast<std::int32_t>(r);
    }
    return -1;
  }

  void make_instruction(std::int32_t i) {
    const ScalarInstr& instr = fn_.code()[static_cast<std::size_t>(i)];
    const int count = arity(instr.op);
    if (count == 0) return;
    Instruction made;
    std::array<std::int32_t*, 3> operands{&made.a, &made.b, &made.c};
    for (int a = 0; a < count; ++a) *operands[static_cast<std::size_t>(a)] = home_[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])];
    const DType arg = fn_.code()[static_cast<std::size_t>(instr.args[0])].dtype;
    made.run = tape_table(request_.isa).find(instr.op, arg, instr.dtype);
    check_internal(made.run != nullptr, "no kernel for ", name(instr.op), " on ", arg);
    const std::int32_t direct = result_written_directly(i);
    if (direct >= 0) {
      home_[static_cast<std::size_t>(i)] = add_register({Register::Kind::output, direct, size_of_register(i)});
      written_.push_back(direct);
    } else {
      home_[static_cast<std::size_t>(i)] = add_register({Register::Kind::slot, take_slot(), size_of_register(i)});
    }
    made.out = home_[static_cast<std::size_t>(i)];
    for (int a = 0; a < count; ++a) give_back_slot(instr.args[static_cast<std::size_t>(a)], i);
    code_.push_back(made);
  }

  void give_back_slot(std::int32_t reg, std::int32_t now) {
    const std::int32_t home = home_[static_cast<std::size_t>(reg)];
    const Register& place = registers_[static_cast<std::size_t>(home)];
    const bool loaded = std::find(keeps_slot_.begin(), keeps_slot_.end(), home) != keeps_slot_.end();
    if (place.kind != Register::Kind::slot || loaded || last_read_[static_cast<std::size_t>(reg)] != now) return;
    if (results_of_.count(reg) > 0) return;
    if (std::find(free_slots_.begin(), free_slots_.end(), place.index) != free_slots_.end()) return;
    free_slots_.push_back(place.index);
  }

  void copy_remaining_results() {
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      const auto result = static_cast<std::int32_t>(r);
      if (std::find(written_.begin(), written_.end(), result) != written_.end()) continue;
      const std::int32_t source = fn_.results()[r];
      const std::int32_t out = add_register({Register::Kind::output, result, size_of_register(source)});
      code_.push_back({nullptr, out, home_[static_cast<std::size_t>(source)], 0, 0});
    }
  }

  void choose_chunk() {
    chunk_ = largest_chunk;
    while (chunk_ > 128 && slots_ * chunk_ * 4 > slot_budget) chunk_ /= 2;
    chunk_ = std::max<std::int64_t>(1, std::min(chunk_, elements_));
    slot_bytes_ = (chunk_ * 8 + 63) / 64 * 64;
  }

  // Constants are spread over a chunk once, at compile.
  void fill_constants() {
    constant_memory_ = allocate_bytes(static_cast<std::int64_t>(constants_.size()) * slot_bytes_);
    for (std::size_t k = 0; k < constants_.size(); ++k) {
      std::byte* memory = constant_memory_.get() + static_cast<std::int64_t>(k) * slot_bytes_;
      visit(constants_[k].dtype, [&](auto zero) {
        using T = decltype(zero);
        T value{};
        if constexpr (std::is_floating_point_v<T>) value = static_cast<T>(std::bit_cast<double>(constants_[k].bits));
        else value = static_cast<T>(static_cast<std::int64_t>(constants_[k].bits));
        std::fill_n(reinterpret_cast<T*>(memory), chunk_, value);
      });
    }
  }

  std::byte* start_of(const Register& reg, const KernelCall& call, std::int64_t begin) const {
    switch (reg.kind) {
      case Register::Kind::slot: return call.scratch + reg.index * slot_bytes_;
      case Register::Kind::constant: return constant_memory_.get() + reg.index * slot_bytes_;
      case Register::Kind::input:
        return const_cast<std::byte*>(call.in[reg.index]) +
               (begin + request_offset_[static_cast<std::size_t>(reg.index)]) * reg.size;
      case Register::Kind::output: return call.out[reg.index] + begin * reg.size;
    }
    return nullptr;
  }

  void load_chunk(const Load& load, const KernelCall& call, std::byte* const* at, std::int64_t first, std::int64_t n) const {
    const std::byte* base = call.in[load.input];
    std::byte* out = at[load.reg];
    switch (registers_[static_cast<std::size_t>(load.reg)].size) {
      case 1: load.walk.load(reinterpret_cast<std::uint8_t*>(out), reinterpret_cast<const std::uint8_t*>(base), first, n); return;
      case 4: load.walk.load(reinterpret_cast<std::uint32_t*>(out), reinterpret_cast<const std::uint32_t*>(base), first, n); return;
      default: load.walk.load(reinterpret_cast<std::uint64_t*>(out), reinterpret_cast<const std::uint64_t*>(base), first, n); return;
    }
  }

  // Only used while the tape is made.
  KernelRequest request_;
  ScalarFn fn_;
  std::vector<std::int32_t> last_read_, home_, free_slots_, keeps_slot_, written_;
  std::map<std::int32_t, int> results_of_;
  std::vector<ScalarInstr> constants_;

  std::int64_t elements_ = 0, chunk_ = 0, slot_bytes_ = 0;
  std::int32_t slots_ = 0;
  std::vector<Register> registers_;
  std::vector<std::int32_t> moving_;  // registers that advance with the elements
  std::vector<Load> loads_;
  std::vector<Instruction> code_;
  std::vector<std::int64_t> request_offset_;
  std::shared_ptr<std::byte> constant_memory_;
};

}  // namespace

void add_map_kernels(KernelTable& table) {
  table.add<Map>([](const KernelRequest& request) {
    auto tape = std::make_shared<const Tape>(request);
    return Kernel{[tape](const KernelCall& call, std::int64_t first, std::int64_t last) { tape->run(call, first, last); },
                  tape->parts(), tape->scratch(), tape->cost(), tape->why()};
  });
}

}  // namespace blockgrad
