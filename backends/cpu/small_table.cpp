#include "backends/cpu/small_table.h"

namespace blockgrad {

namespace detail {
extern const SmallTable small_portable, small_avx2, small_avx512;
}

TapeFn SmallTable::find(ScalarOp op, DType arg, DType result) const {
  if (op == ScalarOp::cast) return casts[static_cast<int>(result)][static_cast<int>(arg)];
  if (op == ScalarOp::where) return wheres[static_cast<int>(result)];
  return maps[static_cast<int>(op)][static_cast<int>(arg)];
}

SmallOp SmallTable::step_of(ScalarOp op, DType arg) {
  if (arg != DType::f32 && arg != DType::f64) return SmallOp::function;
  switch (op) {
    case ScalarOp::add: return SmallOp::add;
    case ScalarOp::subtract: return SmallOp::subtract;
    case ScalarOp::multiply:
    case ScalarOp::square: return SmallOp::multiply;
    case ScalarOp::divide: return SmallOp::divide;
    case ScalarOp::fma: return SmallOp::fma;
    case ScalarOp::negative: return SmallOp::negative;
    default: return SmallOp::function;
  }
}

const SmallTable& small_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return detail::small_portable;
#if defined(__x86_64__)
    case Isa::avx2: return detail::small_avx2;
    case Isa::avx512: return detail::small_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  fail_internal({"no small kernels for this instruction set"});
}

}  // namespace blockgrad
