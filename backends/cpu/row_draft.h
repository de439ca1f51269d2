#pragma once
// A row program as one list of instructions over values: what its steps compute, before anything
// has a place. Values per line that elements read are spread by an instruction of their own, and
// every result has an instruction that makes it.

#include <cstdint>
#include <utility>
#include <vector>

#include "backends/cpu/row_tape.h"

namespace blockgrad {

struct RowDraftValue {
  enum class From : std::uint8_t { input, number, counter, instruction } from = From::instruction;
  DType dtype = DType::f32;
  bool by_line = false;
  std::int32_t input = -1;                 // From::input
  std::uint64_t bits = 0;                  // From::number
  std::int32_t last_read = -1;             // instruction
  std::vector<std::int32_t> results = {};  // that it is
  bool is_carried = false;                 // if it is not finite, a later value is not either
  bool is_kept = false;                    // read by a later pass than the one that makes it
};

struct RowDraftInstruction {
  RowInstruction::Kind kind = RowInstruction::Kind::map;
  ScalarOp op = ScalarOp::input;
  ReduceKind reduce = ReduceKind::sum;
  bool by_line = false;
  std::int32_t out = -1;
  std::vector<std::int32_t> args;
  TapeFn run = nullptr;  // of a Map, once they are joined
  SweepFn sweep = nullptr;
  TapeForm form = {};
};

/// How lines are worked on: many at a time; one at a time, of which only a chunk of a spread value
/// is kept and spread in front of the instructions that read it; or one at a time in passes over
/// its chunks (row_passes.h).
enum class RowLines : std::uint8_t { together, alone, in_passes };
RowLines lines_of(const RowProgram& program);

class RowDraft {
 public:
  RowDraft(const KernelRequest& request, RowLines lines);

  static bool is_elementwise(RowInstruction::Kind kind) {
    return kind == RowInstruction::Kind::map || kind == RowInstruction::Kind::copy;
  }
  const Walk& walk(const RowDraftValue& input) const {
    return input_walks_[static_cast<std::size_t>(input.input)];
  }

  /// The last instruction of the pass that has instruction i; all are one pass unless lines go in
  /// passes.
  std::int32_t last_of_pass(std::int32_t i) const;
  /// The same without the Reduces that end a pass, which read after the stores of its chunks.
  std::int32_t last_map_of_pass(std::int32_t i) const;
  /// How many passes read a value.
  int passes_reading(std::int32_t v) const;
  bool is_reduced(std::int32_t v) const { return reduces_reading(v) > 0; }
  /// What Reduces of one kind at the end of a pass read, at least two and at most `most` values of
  /// a pass, if these are made in it and nothing needs them elsewhere: they may lie side by side.
  std::vector<std::int32_t> reduced_together(std::size_t most) const;

  std::vector<RowDraftValue> values;
  std::vector<RowDraftInstruction> code;
  std::vector<std::int32_t> leaves;  // values that no instruction makes
  std::vector<std::int32_t> inputs;  // the value of each input

 private:
  RowDraftValue& value(std::int32_t v) { return values[static_cast<std::size_t>(v)]; }
  std::int32_t add_value(RowDraftValue::From from, DType dtype, bool by_line);
  void add_input(const Operand& in);
  std::int32_t number(std::uint64_t bits, DType dtype);
  std::int32_t counter(bool by_line);
  int reduces_reading(std::int32_t v) const;
  bool may_lie_anywhere(std::int32_t v) const;
  bool is_scalar(std::int32_t v);
  bool is_spread(std::int32_t v) const;
  std::int32_t for_elements(std::int32_t v);
  std::int32_t copied(std::int32_t v, bool by_line);
  std::int32_t source(RowValue v) const;
  void add_step(const RowStep& step);
  std::int32_t made_by(RowDraftInstruction wanted, DType dtype);
  void add_reduce(const RowStep& step, std::int32_t of);
  std::int32_t add_scalar(const RowStep& step, const ScalarInstr& instr,
                          const std::vector<std::int32_t>& in,
                          const std::vector<std::int32_t>& local);
  void add_result(const RowProgram& program, std::size_t r);
  void find_carried();
  bool stays(std::int32_t v);
  void join(Isa isa);
  void join_run(std::size_t first, std::size_t last, Isa isa,
                std::vector<RowDraftInstruction>& joined);
  void find_reads();

  const RowSpace space_;
  const RowLines lines_;
  const bool is_long_;
  std::vector<Walk> input_walks_;
  std::vector<std::int32_t> numbers_;
  std::int32_t counters_[2] = {-1, -1};
  std::vector<std::pair<std::int32_t, std::int32_t>> spreads_;  // value per line, per element
  std::vector<std::vector<std::int32_t>> made_;                 // per step and result
};

}  // namespace blockgrad
