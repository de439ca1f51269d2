#pragma once
// The arithmetic of the elementwise tape for one instruction set, as kernels whose operands may
// stay where they are: a number that is the same for all elements is one block of 64 equal ones.
// Also two or three instructions in one, which round like their parts. Values are equal bit for bit
// on every instruction set (NaN payloads aside).

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// Elements that a sweep takes at once, and that an operand which stays must have.
constexpr std::int64_t sweep_block = 64;

/// Which registers an instruction reads and writes, and how many elements an operand goes on from
/// block to block: 64, or 0.
struct SweepOperands {
  std::int32_t out = 0;
  std::int32_t in[4] = {};
  std::int32_t step[4] = {};
};

/// at[out][k] = f(at[in[0]][k], ...) for k < n; where step[j] is 0, operand j is a block of
/// equal elements. `out` is apart from each operand, or the same array where the element sizes are
/// equal.
using SweepFn = void (*)(std::byte* const* at, const SweepOperands& operands, std::int64_t n);

/// out[o, k, i] = in[o, i] for o < outers, k < n, i < columns: values per line to all elements of
/// their lines. `out` is apart from `in`, or the same array where n is 1.
using SpreadFn = void (*)(std::byte* out, const std::byte* in, std::int64_t outers, std::int64_t n,
                          std::int64_t columns);

struct SweepTable {
  static constexpr int ops = static_cast<int>(ScalarOp::cast) + 1;

  /// Of one instruction on f32 or f64: sums, products, quotients, comparisons, maxima, where, fma,
  /// flush_subnormal. Null where the instruction has none.
  SweepFn find(ScalarOp op, DType value) const;
  /// second(first(a, b), c), or second(c, first(a, b)) if `is_right`; add, subtract and multiply.
  SweepFn find_pair(ScalarOp first, ScalarOp second, bool is_right, DType value) const;
  /// a b + c d, or a b - c d.
  SweepFn find_products(ScalarOp joined, DType value) const;
  /// where(comparison(a, b), c, d); less, less_equal, greater and greater_equal.
  SweepFn find_select(ScalarOp comparison, DType value) const;
  /// flush_subnormal of what this sweep makes: a b + c d, a b + c or fma. Null for others.
  SweepFn find_flushed(SweepFn made) const;
  /// Of elements of 1, 2, 4 or 8 bytes.
  SweepFn find_copy(std::int32_t bytes) const;
  SpreadFn find_spread(std::int32_t bytes) const;

  SweepFn single[ops][2] = {};
  SweepFn pairs[3][4][2] = {};
  SweepFn products[2][2] = {};
  SweepFn selects[4][2] = {};
  struct Flushed {
    SweepFn made = nullptr, flushed = nullptr;
  };
  Flushed flushed[3][2] = {};
  SweepFn copies[4] = {};
  SpreadFn spreads[4] = {};
};

/// The kernels for a supported instruction set.
const SweepTable& sweep_table(Isa isa);

}  // namespace blockgrad
