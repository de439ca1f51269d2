#include "backends/cpu/tape.h"

#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace detail {
extern const TapeTable tape_portable, tape_avx2, tape_avx512;
}

static_assert(static_cast<int>(ReduceKind::sum) == 0 && static_cast<int>(ReduceKind::max) == 1 &&
              static_cast<int>(ReduceKind::min) == 2 && static_cast<int>(ReduceKind::argmax) == 3 &&
              static_cast<int>(ReduceKind::argmin) == 4);

TapeFn TapeTable::find(ScalarOp op, DType arg, DType result) const {
  if (op == ScalarOp::cast) return casts[static_cast<int>(result)][static_cast<int>(arg)];
  const bool by_result =
      op == ScalarOp::where || op == ScalarOp::uniform_low || op == ScalarOp::uniform_high;
  return maps[static_cast<int>(op)][static_cast<int>(by_result ? result : arg)];
}

TapeFunction TapeTable::find_function(ScalarOp op, DType dtype) const {
  if (dtype != DType::f32 && dtype != DType::f64) return nullptr;
  return functions[static_cast<int>(op)][dtype == DType::f64 ? 1 : 0];
}

ReduceFn TapeTable::find_rows(ReduceKind kind, DType in) const {
  return rows[static_cast<int>(kind)][static_cast<int>(in)];
}

ReduceFn TapeTable::find_columns(ReduceKind kind, DType in) const {
  return columns[static_cast<int>(kind)][static_cast<int>(in)];
}

const TapeTable& tape_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return detail::tape_portable;  // the compiler's own NEON code
#if defined(__x86_64__)
    case Isa::avx2: return detail::tape_avx2;
    case Isa::avx512: return detail::tape_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  fail_internal({"no tape kernels for this instruction set"});
}

}  // namespace blockgrad
