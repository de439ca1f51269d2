#pragma once
// The functions of small programs for one instruction set: values of at most 64 bytes, worked on
// whole, so that no function has a tail. Equal bits on every instruction set.

#include "backends/cpu/tape.h"

namespace blockgrad {

/// What a call does. All but `function` and `end` are steps on elements of one size: what one has
/// made the next one finds in registers. Operands are places unless said otherwise.
enum class SmallOp : std::uint8_t {
  function,  // run(out, a, b, c, n)
  add,       // out = a + b
  subtract,
  multiply,
  divide,
  fma,       // out = a * b + c
  negative,  // out = -a
  load,      // out = the n elements at a, which need not be a place
  spread,    // out = the element at a, in all lanes
  gather,    // out = elements of the n at a, by the SmallLanes at c
  product,   // out = a SmallProduct at c of elements at a and b
  sum,       // out = the sum of the first n elements of a, in the order of ReduceFn
  store,     // the first n elements of a go to out, which need not be a place
  end,       // nothing is behind it
};
constexpr int small_ops = static_cast<int>(SmallOp::end) + 1;

/// Where a step finds an operand.
enum class SmallFrom : std::uint8_t {
  memory,
  last,    // the step before has made it
  spread,  // every lane is the element in memory
};

/// The code of one call, of a type that its instruction set knows. It goes on with the next call.
using SmallCode = void (*)();

struct SmallCall {
  SmallCode code = nullptr;  // what SmallTable::find_code gives
  TapeFn run = nullptr;
  void* out = nullptr;
  const void *a = nullptr, *b = nullptr, *c = nullptr;
  std::int64_t n = 0;
  SmallOp op = SmallOp::function;
  std::uint8_t size = 0;  // of a step's elements: 4 or 8
  SmallFrom from_a = SmallFrom::memory, from_b = SmallFrom::memory, from_c = SmallFrom::memory;
};

/// Lane i is element at[i].
struct SmallLanes {
  alignas(64) std::int32_t at[16] = {};
};

/// Lane i is the chain fma(a[a.at[i] + p * a_step], b[b.at[i] + p * b_step], ..) over ascending
/// p < k from 0, for i < n.
struct SmallProduct {
  SmallLanes a, b;
  std::int32_t a_step = 0, b_step = 0;
  std::int32_t a_size = 0, b_size = 0;  // elements that can be read, at most those of a place
  std::int32_t k = 0, n = 0;
  bool b_is_shared = false;  // all lanes have one factor b
};

struct SmallTable {
  static constexpr std::int64_t bytes = 64;  // of a value's place; operands can be read that far
  static constexpr int dtypes = TapeTable::dtypes;

  /// As TapeTable::find, but all lanes of `out` are written and n is not read. Null where the
  /// tape's function has to do, or a step.
  TapeFn find(ScalarOp op, DType arg, DType result) const;
  /// The step that this op is on f32 or f64; else `function`.
  static SmallOp step_of(ScalarOp op, DType arg);

  TapeFn maps[TapeTable::ops][dtypes] = {};
  TapeFn casts[dtypes][dtypes] = {};  // [to][from]
  TapeFn wheres[dtypes] = {};
  /// All lanes of `out` become the element at `a`, of this size in bytes: 1 or 2.
  TapeFn spread[3] = {};
  /// out[i] = fma(a_k[i], b[k], ..) in ascending k < n from 0; a_k is the k-th place behind `a`.
  TapeFn chain_scalars[dtypes] = {};
  /// The same with whole places b_k.
  TapeFn chain[dtypes] = {};
  /// Whether all n bools are true; any is.
  TapeFn all = nullptr, any = nullptr;
  SmallCode (*find_code)(const SmallCall&) = nullptr;
  /// Does the calls from `first` on up to the first `end`, and all of it so many times. Without
  /// optimisation one call lies on the stack per step.
  void (*run)(const SmallCall* first, std::int64_t times) = nullptr;
};

const SmallTable& small_table(Isa isa);

}  // namespace blockgrad
