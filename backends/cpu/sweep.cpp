#include "backends/cpu/sweep.h"

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace detail {
extern const SweepTable sweep_portable, sweep_avx2, sweep_avx512;
}

namespace {

/// -1 where there are no kernels.
int column_of(DType value) { return value == DType::f32 ? 0 : value == DType::f64 ? 1 : -1; }

/// Of add, subtract and multiply; -1 for others.
int arithmetic(ScalarOp op) {
  return op == ScalarOp::add ? 0 : op == ScalarOp::subtract ? 1 : op == ScalarOp::multiply ? 2 : -1;
}

int by_bytes(std::int32_t bytes) { return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3; }

}  // namespace

SweepFn SweepTable::find(ScalarOp op, DType value) const {
  const int d = column_of(value);
  return d < 0 ? nullptr : single[static_cast<int>(op)][d];
}

SweepFn SweepTable::find_pair(ScalarOp first, ScalarOp second, bool is_right, DType value) const {
  const int d = column_of(value), f = arithmetic(first), s = arithmetic(second);
  if (d < 0 || f < 0 || s < 0) return nullptr;
  return pairs[f][second == ScalarOp::subtract && is_right ? 3 : s][d];
}

SweepFn SweepTable::find_products(ScalarOp joined, DType value) const {
  const int d = column_of(value), s = arithmetic(joined);
  return d < 0 || s < 0 || s > 1 ? nullptr : products[s][d];
}

SweepFn SweepTable::find_select(ScalarOp comparison, DType value) const {
  const int d = column_of(value);
  if (d < 0) return nullptr;
  switch (comparison) {
    case ScalarOp::less: return selects[0][d];
    case ScalarOp::less_equal: return selects[1][d];
    case ScalarOp::greater: return selects[2][d];
    case ScalarOp::greater_equal: return selects[3][d];
    default: return nullptr;
  }
}

SweepFn SweepTable::find_flushed(SweepFn made) const {
  for (const auto& of_type : flushed) {
    for (const Flushed& pair : of_type) {
      if (made && pair.made == made) return pair.flushed;
    }
  }
  return nullptr;
}

SweepFn SweepTable::find_copy(std::int32_t bytes) const { return copies[by_bytes(bytes)]; }
SpreadFn SweepTable::find_spread(std::int32_t bytes) const { return spreads[by_bytes(bytes)]; }

const SweepTable& sweep_table(Isa isa) {
  switch (isa) {
    case Isa::portable:
    case Isa::neon: return detail::sweep_portable;  // the compiler's own NEON code
#if defined(__x86_64__)
    case Isa::avx2: return detail::sweep_avx2;
    case Isa::avx512: return detail::sweep_avx512;
#else
    case Isa::avx2:
    case Isa::avx512: break;
#endif
  }
  fail_internal({"no sweeps for this instruction set"});
}

}  // namespace blockgrad
