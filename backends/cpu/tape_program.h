#pragma once
// A scalar program made ready for the CPU: registers with a home, instructions with a kernel.
// Elements are independent, so chunks, parts and threads do not change a bit.

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cpu/sweep.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "backends/kernel.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// Where a value of the program lives while a chunk is worked on.
struct TapeRegister {
  enum class Kind : std::uint8_t { slot, input, output, constant } kind = Kind::slot;
  std::int32_t index = 0;   // of an operand
  std::int32_t size = 4;    // bytes per element
  std::int64_t offset = 0;  // bytes from the start of the scratch, the operand or the constants
  std::int64_t trial = 0;   // of an output: where in the scratch it goes in a trial
  std::int32_t rows = -1;   // of an operand whose rows lie apart: which TapeProgram::rows it has
};

/// A function if it has one, else `run` or `sweep`; none of them for a value that the instruction
/// before made too.
struct TapeInstruction {
  TapeFunction function = nullptr;
  TapeFn run = nullptr;
  SweepFn sweep = nullptr;
  SweepOperands operands;
  std::int32_t also = -1;  // the register of a function's second value
  static constexpr std::int64_t long_work = 20;
  std::int64_t work = 0;            // for an element, beside others
  std::int64_t fetched = 0;         // elements of the next chunk that come near up to its end
  MagnitudeFn magnitude = nullptr;  // of `out`; null where it is not floating
  bool is_result = false;
  bool is_carried = false;  // if `out` is not finite, a later value is not either
};

/// A strided or repeated operand that is copied to a slot.
struct TapeLoad {
  std::int32_t input = 0;
  std::int32_t reg = 0;
  Walk walk;
};

/// A slot that is copied to a result whose rows lie apart.
struct TapeStore {
  std::int32_t output = 0;
  std::int32_t reg = 0;
  Walk walk;
};

/// An instruction that is done once, for `elements` of them.
struct TapeStart {
  TapeInstruction instruction;
  std::int64_t elements = 0;
};

struct TapeProgram {
  static constexpr std::size_t most_registers = 2 * ScalarFn::max_size + 16;
  std::int64_t elements = 0, chunk = 0;
  std::int64_t part = 0;  // elements of what one thread takes at a time, a multiple of the chunk
  std::int64_t scratch_bytes = 0, trial_bytes = 0;
  bool fetches_ahead = false;  // what a chunk moves, while the one before is worked on
  std::vector<TapeRegister> registers;
  std::vector<std::int32_t> moving;  // registers that advance with the elements
  // Where there are any, a chunk never crosses the end of a row, and begins at a multiple of its
  // length.
  std::vector<Walk> rows;
  // Before the first chunk: numbers that are the same for all elements, one block of each; rows
  // that repeat, a chunk of each; then what is computed from the numbers alone.
  std::vector<TapeLoad> numbers, patterns;
  std::vector<TapeStart> starts;
  // For each chunk.
  std::vector<TapeLoad> loads;
  std::vector<std::int32_t> counters;  // registers that hold the number of each element, i64
  std::vector<TapeInstruction> code;
  std::vector<TapeStore> stores;
  std::shared_ptr<std::byte> constants;  // one block of each

  static constexpr std::int64_t fetch_unit = 16;  // elements
  /// Sets what each instruction fetches, in proportion to its work and whole units at least.
  /// Functions of long_work fetch meanwhile, others would take longer by it.
  void share_fetches();
  std::int64_t parts() const;
  /// Nanoseconds of one thread, roughly: what is moved through memory takes as long as a sum, a
  /// function several times as long.
  double cost() const;
  std::size_t scratch() const { return static_cast<std::size_t>(scratch_bytes); }
  std::size_t trial_scratch() const { return static_cast<std::size_t>(trial_bytes); }
  /// Elements of parts first .. last-1. Allocates nothing.
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const;
  /// Elements begin .. end-1.
  void run_elements(const KernelCall& call, std::int64_t begin, std::int64_t end) const;

 private:
  /// Of an input or output: bytes from where the operand begins.
  std::int64_t place(const TapeRegister& reg, std::int64_t element) const {
    const auto walk = static_cast<std::size_t>(reg.rows);
    return (reg.rows < 0 ? element : rows[walk].place(element)) * reg.size + reg.offset;
  }
  /// How many elements the chunk at `first` has.
  std::int64_t chunk_at(std::int64_t first, std::int64_t end) const {
    const std::int64_t whole = rows.empty() ? chunk : chunk - first % chunk;
    return whole < end - first ? whole : end - first;
  }
  std::byte* start_of(const TapeRegister& reg, const KernelCall& call, std::int64_t begin) const;
  class NextChunk;
  template <bool watches>
  void run_chunks(const KernelCall& call, std::int64_t begin, std::int64_t end) const;
};

/// A tape without rows, loads, patterns, counters and stores on lines that lie anywhere: what is
/// done once for many of them is not done for each.
class TapeLines {
 public:
  TapeLines(const TapeProgram& tape, std::byte* scratch);
  /// Takes the numbers among the operands, and computes what needs nothing else.
  void set_numbers(const std::byte* const* in);
  /// One line of n elements, a chunk at most.
  void run(const std::byte* const* in, std::byte* const* out, std::int64_t n);

 private:
  const TapeProgram& tape_;
  std::byte* at_[TapeProgram::most_registers];
};

/// Results go straight to memory; temporaries, repeated and strided operands get slots.
TapeProgram make_tape(const KernelRequest& request);

}  // namespace blockgrad
