#pragma once
// A row program made ready for the CPU: the elements of a block of lines are taken from memory
// once, all steps run on them in the cache, and results go back to memory. A long line goes chunk
// by chunk from and to memory, once for each Reduce that waits for another (row_passes.h). Lines do
// not depend on each other and each is reduced as the Reduce kernel does it, so blocks, parts and
// threads do not change a bit, nor does fusing.

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "backends/cpu/flow.h"
#include "backends/cpu/sweep.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/tape_steps.h"
#include "backends/cpu/walk.h"
#include "backends/kernel.h"
#include "graph/row_program.h"

namespace blockgrad {

/// Where a value lives while a block is worked on.
struct RowRegister {
  enum class Kind : std::uint8_t { slot, input, output, constant } kind = Kind::slot;
  std::int32_t index = 0;   // of the slot, operand or constant
  std::int32_t size = 4;    // bytes per element
  std::int64_t offset = 0;  // of an input's first element, in elements
  bool by_line = false;     // one element per line of the block
  bool repeats = false;     // an input whose block is the same for all
  bool is_chunk = false;    // the same for every chunk of a line: as long as one chunk
  std::int64_t over = 1;    // lines that each of an output is the sum of
};

/// a = older a joined with b.
using RowJoin = void (*)(void* a, const void* b);

/// `run` or `sweep` for Maps and copies.
struct RowInstruction {
  enum class Kind : std::uint8_t { map, copy, reduce, spread, sum_lines } kind = Kind::map;
  TapeFn run = nullptr;
  SweepFn sweep = nullptr;
  TapeForm form = {};
  DType dtype = DType::f32;   // of the result
  ReduceFn reduce = nullptr;  // of sum_lines: by columns
  ReduceKind reduces = ReduceKind::sum;
  SpreadFn spread = nullptr;
  RowJoin join = nullptr;    // of the chunks of a line that goes in passes
  std::int32_t levels = -1;  // slot: what chunks made so far, joined as a binary counter carries
  bool is_together = false;  // a Reduce of RowPhase::together
  bool picks_index = false;
  bool by_line = false;            // over the lines, not the elements
  std::int32_t registers[5] = {};  // of the result and up to four operands
  std::int32_t bytes[5] = {};      // from one element to the next; 0 where it stays
  SweepOperands operands{
      0, {1, 2, 3, 4}, {}};          // which of these, or of all in passes; how they go on
  std::int64_t spread_elements = 0;  // of what stays for a line; 0: of all lines
  MagnitudeFn magnitude = nullptr;   // of `out`; null where it is not floating
  bool is_result = false;
  bool is_carried = false;  // if `out` is not finite, a later value is not either
};

/// An operand that is copied to a slot, for every block or once per call.
struct RowLoad {
  std::int32_t input = 0, reg = 0;
  Walk walk;
  std::int32_t numbers = -1;  // the input that says which rows are the lines; -1: none
  bool is_narrow = false;     // these are i32
};

/// What a pass goes through in memory.
struct RowStream {
  std::int32_t operand = 0;
  bool is_result = false, repeats = false;
  std::int64_t size = 4, offset = 0;  // bytes per element, elements
};

/// A value in its own slot that is copied to a result.
struct RowStore {
  std::int32_t reg = 0, result = 0;
  bool waits = false;  // for the pass, which reads what lies there
};

/// What a step of a flow reads or writes.
struct RowFlowOperand {
  enum class Place : std::uint8_t {
    input,
    output,
    slot,
    constant,
    local,
    lanes
  } place = Place::local;
  std::int32_t index = 0;
  std::int64_t offset = 0;  // bytes
  FlowMove move = FlowMove::stays;
};
struct RowFlowStep {
  FlowFn run = nullptr;
  bool is_ahead = false;  // on the next chunks
  std::vector<RowFlowOperand> on = {};
};

/// A pass over four chunks at once, with what lies between its loads and stores in registers.
struct RowFlow {
  static constexpr std::size_t most_steps = 64;
  static constexpr std::int64_t most_locals = 16;

  DType dtype = DType::f32;
  std::vector<RowFlowStep> steps = {};
  bool fetches = false;
  std::int64_t locals = 0;              // values that wait beside the registers
  std::vector<std::int32_t> sums = {};  // instructions
};

/// Instructions first .. last-1; those over elements run chunk by chunk.
struct RowPhase {
  std::int32_t first = 0, last = 0;
  bool is_chunked = false;
  // Where lines go in passes, for each chunk: what is taken before and stored after it, and whose
  // next chunk is fetched meanwhile. Reduces begin at `maps`.
  std::int32_t maps = 0;
  // Reduces of one kind, done chunk by chunk side by side: they read slots that lie evenly apart.
  std::vector<std::int32_t> together = {};
  std::vector<RowLoad> loads = {};
  std::vector<std::int32_t> counters = {};
  std::vector<RowStore> stores = {};
  std::vector<RowStream> fetched = {};
  RowFlow flow = {};  // without steps where the pass has something it cannot do
};

struct RowSlot {
  enum class Length : std::uint8_t {
    elements,
    lines,
    chunk,
    group,
    levels
  } length = Length::elements;
  std::int32_t size = 4;    // bytes per element
  std::int64_t offset = 0;  // in scratch
};

/// Lines of `outers` neighbouring o times `columns` neighbouring i.
struct RowBlock {
  std::int64_t outer = 0, outers = 0, column = 0, columns = 0;
};

struct RowTape {
  static constexpr std::size_t most_registers = 1024;
  static constexpr std::int64_t most_levels = 64;
  static constexpr std::int64_t pass_chunk = 1024;  // a block of a Reduce (tape.h)
  static constexpr int group = 4;                   // chunks whose Reduces run side by side
  static constexpr std::size_t most_together = 8;   // Reduces of a chunk

  RowSpace space;
  std::int64_t outers = 1, columns = 1;  // of a whole block
  std::int64_t chunk = 0;                // elements
  bool goes_in_passes = false;           // one line at a time, over its chunks; Reduces too
  bool fetches_blocks = false;           // what a block moves, while the one before is worked on
  std::int64_t blocks_per_part = 1;
  std::int64_t scratch = 0;
  std::vector<RowRegister> registers;
  std::vector<std::int32_t> moving;     // inputs and outputs that are another place in every block
  std::vector<std::int32_t> advancing;  // those that are another place in every chunk of a pass
  std::vector<RowSlot> slots;
  std::vector<RowLoad> loads, loads_once;
  std::vector<std::int32_t> counters;  // registers that hold numbers of elements or lines, i64
  std::vector<RowInstruction> code;
  std::vector<RowPhase> phases;
  const FlowTable* flows = nullptr;
  std::vector<RowStore> stores;
  std::shared_ptr<std::byte> constants;  // each spread over a chunk
  std::int64_t constant_bytes = 0;       // from one to the next

  std::int64_t blocks_per_outer() const { return (space.inner + columns - 1) / columns; }
  std::int64_t blocks() const { return (space.outer + outers - 1) / outers * blocks_per_outer(); }
  std::int64_t parts() const { return (blocks() + blocks_per_part - 1) / blocks_per_part; }
  /// Whether the elements of a block do not lie one behind the other in a dense value.
  bool is_strided() const { return columns < space.inner; }
  /// Whether the elements of a line lie in pieces shorter than a chunk of a pass.
  bool is_in_pieces() const { return is_strided() && space.tail < pass_chunk; }
  RowBlock block(std::int64_t number) const {
    const std::int64_t across = blocks_per_outer();
    const std::int64_t outer = number / across * outers, column = number % across * columns;
    return {outer, std::min(outers, space.outer - outer), column,
            std::min(columns, space.inner - column)};
  }
  /// Its first element in memory.
  std::int64_t first_of_line(std::int64_t line) const {
    return (line / space.inner * space.n * space.inner + line % space.inner) * space.tail;
  }
  std::int64_t block_elements() const { return outers * space.length() * columns; }
  /// Of element k of a line, from the first one on.
  std::int64_t in_memory(std::int64_t k) const {
    return k / space.tail * space.inner * space.tail + k % space.tail;
  }

  /// Blocks of parts first .. last-1. Allocates nothing.
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const;
};

/// Results go straight to memory; values between steps get slots.
RowTape make_row_tape(const KernelRequest& request);

}  // namespace blockgrad
