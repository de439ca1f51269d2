#pragma once
// The steps of a tape: which kernel does which instructions of a scalar program. Sums and products
// are taken two or three at a time, a comparison together with the `where` that reads it: what lies
// between them stays in registers. gelu and its slope share an exponential.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/cpu/sweep.h"
#include "backends/cpu/tape.h"

namespace blockgrad {

/// What a kernel computes of its operands a, b, c, d.
struct TapeForm {
  enum class Kind : std::uint8_t {
    one,         // op(a, ..)
    pair,        // then(op(a, b), c)
    pair_right,  // then(c, op(a, b))
    products,    // then(a b, c d)
    select       // where(op(a, b), c, d)
  } kind = Kind::one;
  ScalarOp op = ScalarOp::input, then = ScalarOp::input;  // flush_subnormal: of any of the others
};

/// One kernel, `run` or `sweep`, or `function`, of which `run` is another form if `also` is -1.
struct TapeStep {
  std::int32_t value = 0;  // the instruction whose value it makes
  std::int32_t also = -1;  // another one that its function makes, or -1
  TapeFunction function = nullptr;
  TapeFn run = nullptr;
  SweepFn sweep = nullptr;
  int count = 0;  // of operands
  std::array<std::int32_t, 4> args{};
  TapeForm form = {};

  std::span<const std::int32_t> operands() const {
    return {args.data(), static_cast<std::size_t>(count)};
  }
};

/// In the order of the program. `is_number[i]` says that instruction i has one value for all
/// elements: such values are never made again for each element, so they are left to themselves. Two
/// functions become one step if `joins_functions`.
std::vector<TapeStep> tape_steps(const ScalarFn& fn, std::span<const char> is_number, Isa isa,
                                 bool joins_functions);

/// Of functions: whether one takes so much longer than the others that it can fetch meanwhile.
bool is_long(ScalarOp op);

/// Whether one of the steps over elements, as exp or a division, takes much longer than its loads
/// and stores.
bool takes_long(const ScalarFn& fn, std::span<const TapeStep> steps,
                std::span<const char> is_number);

}  // namespace blockgrad
