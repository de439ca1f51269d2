#pragma once
// The kernels of the elementwise tape and of reductions for one instruction set, as plain function
// pointers. Values are equal bit for bit on every instruction set (NaN payloads aside).

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

enum class ReduceKind : std::uint8_t;

/// out[i] = op(a[i], b[i], c[i]) for i < n; arrays without gaps, aligned to their element, bool as
/// one byte 0 or 1. Operands the op does not have are not read. `out` is apart from each operand,
/// or the same array where the element sizes are equal.
using TapeFn = void (*)(void* out, const void* a, const void* b, const void* c, std::int64_t n);

/// Memory that comes near while a function works: before each block of 64 elements `bytes` more of
/// every stream, of which there may be none; the first ones are only read.
struct TapeFetch {
  static constexpr int most = 16;
  static constexpr std::int64_t block = 64;
  int reads = 0, streams = 0;
  const std::byte* at[most];
  std::int64_t bytes[most];
};
/// out[i] = f(x[i]), and if there is `also`, also[i] = g(x[i]), for i < n; arrays as of a TapeFn.
using TapeFunction = void (*)(void* out, void* also, const void* x, std::int64_t n,
                              TapeFetch& fetch);

/// `count` reductions of n elements each. By rows: reduction i reads in[i * stride + k], k < n. By
/// columns: it reads in[k * stride + i]. `out` gets the values; argmax and argmin write `index`
/// and, unless it is null, `out`.
///
/// Order of sums, by n alone and the same for rows and columns: blocks of 1024 elements; in a block
/// lane l of 16 adds elements l, l + 16, l + 32, ... in order; lanes are added l with l + 8, then l
/// + 4, l + 2, l + 1 (those that have elements); blocks are joined in pairs, pairs in pairs, as a
/// binary counter carries, and what is left from the last to the first. n = 0: sum 0, any false,
/// all true; max and min give the identity of the type; argmax and argmin need n > 0.
using ReduceFn = void (*)(void* out, std::int32_t* index, const void* in, std::int64_t n,
                          std::int64_t count, std::int64_t stride);

/// Sums of `count` columns in two steps, for one block: the first one leaves in `lanes` what each
/// lane has of the first n rows, a multiple of 16 and not 0, lane l of column i in lanes[l * count
/// + i]. The second one goes on with the other rows and writes the sums; it uses `lanes` up.
using LanesFn = void (*)(void* lanes, void* out, const void* in, std::int64_t n, std::int64_t count,
                         std::int64_t stride);

/// The largest |x| of n floating elements; infinity where one of them is NaN or infinite.
using MagnitudeFn = double (*)(const void* in, std::int64_t n);

struct TapeTable {
  static constexpr int ops = static_cast<int>(ScalarOp::cast) + 1;
  static constexpr int dtypes = static_cast<int>(DType::boolean) + 1;
  static constexpr int reductions = 5;

  /// The kernel of an op on arguments of `arg`; of where and the random numbers, for values of
  /// `result`. Null where the language has none.
  TapeFn find(ScalarOp op, DType arg, DType result) const;
  /// The same values of a function on f32 or f64 that takes long; null for others.
  TapeFunction find_function(ScalarOp op, DType dtype) const;
  /// gelu_value and gelu_slope of the same f32.
  TapeFunction find_gelu_pair() const { return gelu_pair; }
  /// Elements of `in` -> sum: f32, f64 as they are, others i64; max, min: as they are; argmax,
  /// argmin: not bool.
  ReduceFn find_rows(ReduceKind kind, DType in) const;
  ReduceFn find_columns(ReduceKind kind, DType in) const;

  /// Null for dtypes that are not floating.
  LanesFn find_begin_sums(DType in) const { return begin_sums[static_cast<int>(in)]; }
  LanesFn find_end_sums(DType in) const { return end_sums[static_cast<int>(in)]; }
  MagnitudeFn find_magnitude(DType in) const { return magnitudes[static_cast<int>(in)]; }

  TapeFn maps[ops][dtypes] = {};
  TapeFunction functions[ops][2] = {};  // [][f64]
  TapeFunction gelu_pair = nullptr;
  TapeFn casts[dtypes][dtypes] = {};  // [to][from]
  ReduceFn rows[reductions][dtypes] = {};
  ReduceFn columns[reductions][dtypes] = {};
  LanesFn begin_sums[dtypes] = {};
  LanesFn end_sums[dtypes] = {};
  MagnitudeFn magnitudes[dtypes] = {};
};

/// The kernels for a supported instruction set.
const TapeTable& tape_table(Isa isa);

}  // namespace blockgrad
