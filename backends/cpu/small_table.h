#pragma once
// The functions of small programs for one instruction set: values of at most 64 bytes, worked on
// whole, so that no function has a loop or a tail. Equal bits on every instruction set.

#include "backends/cpu/tape.h"

namespace blockgrad {

struct SmallTable {
  static constexpr std::int64_t bytes = 64;  // of a value's place; operands can be read that far
  static constexpr int dtypes = TapeTable::dtypes;

  /// As TapeTable::find, but all lanes of `out` are written and n is not read. Null where the
  /// tape's function has to do.
  TapeFn find(ScalarOp op, DType arg, DType result) const;

  TapeFn maps[TapeTable::ops][dtypes] = {};
  TapeFn casts[dtypes][dtypes] = {};  // [to][from]
  TapeFn wheres[dtypes] = {};
  /// All lanes of `out` become the element at `a`, of this size in bytes.
  TapeFn spread[9] = {};
  /// out[i] = fma(a_k[i], b[k], ..) in ascending k < n from 0; a_k is the k-th place behind `a`.
  TapeFn chain_scalars[dtypes] = {};
  /// The same with whole places b_k.
  TapeFn chain[dtypes] = {};
  /// The sum of 1 <= n elements, in the order of ReduceFn.
  TapeFn sum[dtypes] = {};
  /// Whether all n bools are true; any is.
  TapeFn all = nullptr, any = nullptr;
};

const SmallTable& small_table(Isa isa);

}  // namespace blockgrad
