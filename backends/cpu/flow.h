#pragma once
// Arithmetic whose values stay in registers: steps that jump to each other and hand on eight
// vectors, two of each of four stretches of 1024 elements. What a step reads and writes besides may
// lie anywhere, so nothing between the first load and the last store goes through a cache. Values
// are equal bit for bit on every instruction set (NaN payloads aside), and sums have the order of
// tape.h.

#include <cstddef>
#include <cstdint>

#include "backends/cpu/isa.h"
#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// x is what the steps hand on, a to c are operands.
enum class FlowOp : std::uint8_t {
  load,           // x = a
  store,          // a = x
  add,            // x + a
  subtract,       // x - a
  subtract_from,  // a - x
  multiply,       // x a
  divide,         // x / a
  divide_into,    // a / x
  negative,       // -x
  square,         // x x
  relu,           // max(x, 0)
  less,           // a < b ? x : c; the next ones with other comparisons
  less_equal,
  greater,
  greater_equal,
  sum,    // lane l of 16 of each stretch's sum, in a
  fetch,  // brings a near
  end     // the last one
};

/// How an operand goes on while the elements of a stretch do.
enum class FlowMove : std::uint8_t { stays, in_line, in_memory };

struct FlowOperand {
  std::byte* base;      // of the first stretch
  std::int64_t stride;  // bytes to the next stretch
  FlowMove move;
};

/// A step, which only other steps and FlowTable::run call.
using FlowFn = void (*)();

struct FlowStep {
  FlowFn run;
  FlowOperand on[3];
};

/// In memory pieces of `piece` elements begin `gap` elements apart. Blocks do not cross them, and
/// a stretch has some or is one.
struct FlowSpace {
  std::int64_t piece = 0, gap = 0;
};

struct FlowTable {
  static constexpr std::int64_t stretches = 4, length = 1024, vectors = 8;
  static constexpr std::int64_t lanes = 16;  // of a sum

  /// -1 where there are no kernels: f32 and f64 have some.
  static int column(DType value) { return value == DType::f32 ? 0 : value == DType::f64 ? 1 : -1; }

  /// Bytes of what steps hand on.
  std::int64_t value_bytes = 0;
  /// Whether flows take less time than loads and stores in the first cache where nothing lies in
  /// pieces: with vectors of 64 bytes.
  bool is_for_stretches = false;
  /// Elements of a stretch that are done at once; operands that stay have so many.
  std::int64_t block[2] = {};
  /// A step, or two in one, the operands of `then` behind those of `op`: `op` is load, add,
  /// subtract, subtract_from or multiply, `then` one of the last four. Null for other pairs.
  FlowFn (*find[2])(FlowOp op, FlowOp then) = {};
  /// All elements of the stretches; whether there are steps that fetch.
  void (*run[2])(const FlowStep* first, const FlowSpace& space, bool fetches) = {};
  /// The sums of the stretches. Lanes begin as -0, which changes no sum.
  void (*begin_sum[2])(void* lanes) = {};
  void (*end_sum[2])(void* sums, const void* lanes) = {};
};

/// The kernels for a supported instruction set. Null where vectors are so short that a step takes
/// longer than the loads and stores that it spares.
const FlowTable* flow_table(Isa isa);

}  // namespace blockgrad
