#pragma once
// The kernels of sweep.h, one source for every instruction set: the including unit's flags decide.
// The inner loop has a fixed length, so compilers unroll it, and operands that stay cost nothing.
// Everything has internal linkage.

#include "backends/cpu/reduce_kernels.h"
#include "backends/cpu/scalar_rows.h"
#include "backends/cpu/sweep.h"

namespace blockgrad::detail {
namespace {

#define BG_INLINE static inline __attribute__((always_inline))

struct Add {
  template <class T>
  BG_INLINE T of(T a, T b) {
    return a + b;
  }
};
struct Subtract {
  template <class T>
  BG_INLINE T of(T a, T b) {
    return a - b;
  }
};
struct SubtractFrom {
  template <class T>
  BG_INLINE T of(T a, T b) {
    return b - a;
  }
};
struct Multiply {
  template <class T>
  BG_INLINE T of(T a, T b) {
    return a * b;
  }
};

/// The functions of a sweep take four operands, of which the first `operands` count.
template <class F>
struct Two {
  static constexpr int operands = 2;
  template <class T>
  BG_INLINE auto of(T a, T b, T, T) {
    return F::of(a, b);
  }
};
template <class F, class G>
struct Pair {
  static constexpr int operands = 3;
  template <class T>
  BG_INLINE T of(T a, T b, T c, T) {
    return G::of(F::of(a, b), c);
  }
};
template <class G>
struct Products {
  static constexpr int operands = 4;
  template <class T>
  BG_INLINE T of(T a, T b, T c, T d) {
    return G::of(a * b, c * d);
  }
};
template <class F>
struct Select {
  static constexpr int operands = 4;
  template <class T>
  BG_INLINE T of(T a, T b, T c, T d) {
    return F::of(a, b) ? c : d;
  }
};
struct FusedMultiplyAdd {
  static constexpr int operands = 3;
  template <class T>
  BG_INLINE T of(T a, T b, T c, T) {
    return math::fma(a, b, c);
  }
};
struct FlushSubnormal {
  static constexpr int operands = 1;
  template <class T>
  BG_INLINE T of(T a, T, T, T) {
    return math::flush_subnormal(a);
  }
};
template <class F>
struct Flushed {
  static constexpr int operands = F::operands;
  template <class T>
  BG_INLINE T of(T a, T b, T c, T d) {
    return math::flush_subnormal(F::of(a, b, c, d));
  }
};
struct First {
  static constexpr int operands = 1;
  template <class T>
  BG_INLINE T of(T a, T, T, T) {
    return a;
  }
};

/// Operands b, c and d, as far as they stay, are read once.
template <class T>
struct Operands {
  const T *a, *b, *c, *d;
};
template <class F, bool keeps_b, bool keeps_c, bool keeps_d, class T, class R>
BG_INLINE void sweep_elements(R* y, Operands<T> x, int64_t n) {
  const T b = keeps_b ? *x.b : T(0), c = keeps_c ? *x.c : T(0), d = keeps_d ? *x.d : T(0);
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    y[i] = static_cast<R>(
        F::of(x.a[i], keeps_b ? b : x.b[i], keeps_c ? c : x.c[i], keeps_d ? d : x.d[i]));
  }
}
template <class F, bool keeps_b, bool keeps_c, bool keeps_d, class T, class R>
BG_INLINE void sweep_blocks(R* y, Operands<T> x, const std::int32_t* step, int64_t n) {
  if (n == 0) return;  // there may be no number to read
  const int64_t a_step = step[0], b_step = step[1], c_step = step[2], d_step = step[3];
  for (; n >= sweep_block; n -= sweep_block) {
    sweep_elements<F, keeps_b, keeps_c, keeps_d>(y, x, sweep_block);
    y += sweep_block;
    x.a += a_step;
    x.b += b_step;
    x.c += c_step;
    x.d += d_step;
  }
  if (n > 0) sweep_elements<F, keeps_b, keeps_c, keeps_d>(y, x, n);
}

/// Numbers that all elements share stay in registers where that spares loads: a core reads two
/// vectors while it writes one.
template <class F, class T, class R>
void sweep(std::byte* const* at, const SweepOperands& operands, int64_t n) {
  // In place of what does not count there may be anything: operand 0 once more is as good.
  constexpr int nth[] = {0, F::operands > 1 ? 1 : 0, F::operands > 2 ? 2 : 0,
                         F::operands > 3 ? 3 : 0};
  const auto operand = [&](int k) { return reinterpret_cast<const T*>(at[operands.in[nth[k]]]); };
  R* const y = reinterpret_cast<R*>(at[operands.out]);
  const Operands<T> x = {operand(0), operand(1), operand(2), operand(3)};
  const std::int32_t step[] = {operands.step[0], operands.step[nth[1]], operands.step[nth[2]],
                               operands.step[nth[3]]};
  if constexpr (F::operands == 3) {
    if (step[1] == 0 && step[2] == 0) return sweep_blocks<F, true, true, false>(y, x, step, n);
    if (step[1] == 0) return sweep_blocks<F, true, false, false>(y, x, step, n);
    if (step[2] == 0) return sweep_blocks<F, false, true, false>(y, x, step, n);
  }
  if constexpr (F::operands == 4) {
    if (step[1] == 0 && step[3] == 0) return sweep_blocks<F, true, false, true>(y, x, step, n);
  }
  sweep_blocks<F, false, false, false>(y, x, step, n);
}

template <class T>
void sweep_where(std::byte* const* at, const SweepOperands& operands, int64_t n) {
  T* y = reinterpret_cast<T*>(at[operands.out]);
  const auto* condition = reinterpret_cast<const unsigned char*>(at[operands.in[0]]);
  const T* a = reinterpret_cast<const T*>(at[operands.in[1]]);
  const T* b = reinterpret_cast<const T*>(at[operands.in[2]]);
  const int64_t condition_step = operands.step[0];
  const int64_t a_step = operands.step[1], b_step = operands.step[2];
  for (; n >= sweep_block; n -= sweep_block) {
    BG_INDEPENDENT
    for (int64_t i = 0; i < sweep_block; ++i) {
      const T yes = a[i], no = b[i];
      y[i] = condition[i] != 0 ? yes : no;
    }
    y += sweep_block;
    condition += condition_step;
    a += a_step;
    b += b_step;
  }
  BG_INDEPENDENT
  for (int64_t i = 0; i < n; ++i) {
    const T yes = a[i], no = b[i];
    y[i] = condition[i] != 0 ? yes : no;
  }
}

#undef BG_INLINE

/// Lines shorter than a few vectors would take longest in their rests: the last vector of a line
/// reaches into the next one, which is written after it.
template <class T>
void spread(std::byte* to, const std::byte* from, int64_t outers, int64_t n, int64_t columns) {
  typedef T Vector __attribute__((vector_size(vector_bytes)));
  constexpr int64_t width = vector_bytes / sizeof(T);
  T* out = reinterpret_cast<T*>(to);
  const T* in = reinterpret_cast<const T*>(from);
  const T* const end = out + outers * n * columns;
  const auto row = static_cast<std::size_t>(columns) * sizeof(T);
  if (n == 1) {
    __builtin_memmove(out, in, static_cast<std::size_t>(outers) * row);
  } else if (columns == 1) {
    for (int64_t o = 0; o < outers; ++o) {
      const T value = in[o];
      const Vector values = Vector{} + value;
      T* const next = out + n;
      if (end - next >= width) {
        for (T* at = out; at < next; at += width) __builtin_memcpy(at, &values, sizeof values);
      } else {
        for (T* at = out; at < next; ++at) *at = value;
      }
      out = next;
    }
  } else {
    for (int64_t o = 0; o < outers; ++o, in += columns) {
      for (int64_t k = 0; k < n; ++k, out += columns) __builtin_memcpy(out, in, row);
    }
  }
}

template <class F, class T>
constexpr SweepTable::Flushed flushed() {
  return {sweep<F, T, T>, sweep<Flushed<F>, T, T>};
}

template <class T>
constexpr void add_sweeps(SweepTable& table) {
  constexpr int d = math::Same<T, float>::value ? 0 : 1;
#define BG_SWEEP(name, R) \
  table.single[static_cast<int>(ScalarOp::name)][d] = sweep<Two<row::name>, T, R>
  BG_SWEEP(add, T);
  BG_SWEEP(subtract, T);
  BG_SWEEP(multiply, T);
  BG_SWEEP(divide, T);
  BG_SWEEP(maximum, T);
  BG_SWEEP(minimum, T);
  BG_SWEEP(equal, bool);
  BG_SWEEP(not_equal, bool);
  BG_SWEEP(less, bool);
  BG_SWEEP(less_equal, bool);
  BG_SWEEP(greater, bool);
  BG_SWEEP(greater_equal, bool);
#undef BG_SWEEP
  table.single[static_cast<int>(ScalarOp::where)][d] = sweep_where<T>;
  table.single[static_cast<int>(ScalarOp::fma)][d] = sweep<FusedMultiplyAdd, T, T>;
  SweepFn(&pairs)[3][4][2] = table.pairs;
  pairs[0][0][d] = sweep<Pair<Add, Add>, T, T>;
  pairs[0][1][d] = sweep<Pair<Add, Subtract>, T, T>;
  pairs[0][2][d] = sweep<Pair<Add, Multiply>, T, T>;
  pairs[0][3][d] = sweep<Pair<Add, SubtractFrom>, T, T>;
  pairs[1][0][d] = sweep<Pair<Subtract, Add>, T, T>;
  pairs[1][1][d] = sweep<Pair<Subtract, Subtract>, T, T>;
  pairs[1][2][d] = sweep<Pair<Subtract, Multiply>, T, T>;
  pairs[1][3][d] = sweep<Pair<Subtract, SubtractFrom>, T, T>;
  pairs[2][0][d] = sweep<Pair<Multiply, Add>, T, T>;
  pairs[2][1][d] = sweep<Pair<Multiply, Subtract>, T, T>;
  pairs[2][2][d] = sweep<Pair<Multiply, Multiply>, T, T>;
  pairs[2][3][d] = sweep<Pair<Multiply, SubtractFrom>, T, T>;
  table.products[0][d] = sweep<Products<Add>, T, T>;
  table.products[1][d] = sweep<Products<Subtract>, T, T>;
  table.single[static_cast<int>(ScalarOp::flush_subnormal)][d] = sweep<FlushSubnormal, T, T>;
  table.flushed[0][d] = flushed<Products<Add>, T>();
  table.flushed[1][d] = flushed<Pair<Multiply, Add>, T>();
  table.flushed[2][d] = flushed<FusedMultiplyAdd, T>();
  table.selects[0][d] = sweep<Select<row::less>, T, T>;
  table.selects[1][d] = sweep<Select<row::less_equal>, T, T>;
  table.selects[2][d] = sweep<Select<row::greater>, T, T>;
  table.selects[3][d] = sweep<Select<row::greater_equal>, T, T>;
}

constexpr SweepTable sweep_kernels() {
  SweepTable table;
  add_sweeps<float>(table);
  add_sweeps<double>(table);
  table.copies[0] = sweep<First, std::uint8_t, std::uint8_t>;
  table.copies[1] = sweep<First, std::uint16_t, std::uint16_t>;
  table.copies[2] = sweep<First, std::uint32_t, std::uint32_t>;
  table.copies[3] = sweep<First, std::uint64_t, std::uint64_t>;
  table.spreads[0] = spread<std::uint8_t>;
  table.spreads[1] = spread<std::uint16_t>;
  table.spreads[2] = spread<std::uint32_t>;
  table.spreads[3] = spread<std::uint64_t>;
  return table;
}

}  // namespace
}  // namespace blockgrad::detail
