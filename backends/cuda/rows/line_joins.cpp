#include "backends/cuda/rows/line_joins.h"

#include <fmt/format.h>

#include "backends/cuda/maps/emit.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

// On the CPU the threads of a kernel leave in shuffles and barriers.
constexpr std::string_view text = R"(
namespace blockgrad::lines {

template <class T>
struct Sum {
  T value;
};
template <class T, bool greatest>
struct Extreme {
  T value;
};
template <class T, bool greatest>
struct Arg {
  T value;
  int index;
};

template <class T>
BG_SCALAR T least() {
  if constexpr (math::Kind<T>::is_floating) return -math::infinity<T>();
  else return static_cast<T>(math::u64{1} << (sizeof(T) * 8 - 1));
}
template <class T>
BG_SCALAR T most() {
  if constexpr (math::Kind<T>::is_floating) return math::infinity<T>();
  else return static_cast<T>(~math::u64{0} >> (65 - sizeof(T) * 8));
}

template <class T>
BG_SCALAR Sum<T> join(Sum<T> a, Sum<T> b) {
  return {a.value + b.value};
}
template <class T, bool greatest>
BG_SCALAR Extreme<T, greatest> join(Extreme<T, greatest> a, Extreme<T, greatest> b) {
  const T y = (greatest ? a.value > b.value : a.value < b.value) ? a.value : b.value;
  return {a.value == a.value ? y : a.value};
}
template <class T, bool greatest>
BG_SCALAR Arg<T, greatest> join(Arg<T, greatest> a, Arg<T, greatest> b) {
  const bool is_a = a.value == a.value, is_b = b.value == b.value;
  const bool beats = is_a && (!is_b || (greatest ? b.value > a.value : b.value < a.value));
  const bool ties = is_a == is_b && (!is_a || a.value == b.value);
  return beats || (ties && b.index < a.index) ? b : a;
}

template <class T>
BG_SCALAR Sum<T> from_lane(Sum<T> a, int lane) {
  return {__shfl_sync(0xffffffffu, a.value, lane)};
}
template <class T, bool greatest>
BG_SCALAR Extreme<T, greatest> from_lane(Extreme<T, greatest> a, int lane) {
  return {__shfl_sync(0xffffffffu, a.value, lane)};
}
template <class T, bool greatest>
BG_SCALAR Arg<T, greatest> from_lane(Arg<T, greatest> a, int lane) {
  return {__shfl_sync(0xffffffffu, a.value, lane), __shfl_sync(0xffffffffu, a.index, lane)};
}

/// Of `count` lanes side by side, a power of two; all get the first one's.
template <int count, class A>
BG_SCALAR A across_lanes(A a) {
  const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int bits = count / 2; bits > 0; bits /= 2) a = join(a, from_lane(a, lane ^ bits));
  return from_lane(a, lane / count * count);
}

/// The warps' in shared memory, one for each.
template <class A>
BG_SCALAR void leave_warp(A a, A* shared) {
  a = across_lanes<32>(a);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = a;
}

/// Of so many in shared memory, `step` apart.
template <int count, int step, class A>
BG_SCALAR A across(const A* shared) {
  A all = shared[0];
  for (int i = 1; i < count; ++i) all = join(all, shared[i * step]);
  return all;
}

}  // namespace blockgrad::lines
)";

}  // namespace

std::string_view line_joins_text() { return text; }

LineGathering::LineGathering(ReduceKind kind, DType in) {
  const DType made = reduced_dtype(kind, in);
  const bool is_small = in == DType::boolean || in == DType::u8;
  const DType held = kind == ReduceKind::sum ? made : is_small ? DType::i32 : in;
  const std::string_view value = cuda_type(held);
  number = value;
  const bool greatest = kind == ReduceKind::max || kind == ReduceKind::argmax;
  picks_index = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
  bytes = static_cast<std::int64_t>(size_of(held)) * (picks_index ? 2 : 1);
  if (kind == ReduceKind::sum) {
    type = fmt::format("lines::Sum<{}>", value);
    none = "{0}";
    return;
  }
  const std::string edge = in == DType::boolean ? (greatest ? "0" : "1")
                           : greatest           ? fmt::format("lines::least<{}>()", value)
                                                : fmt::format("lines::most<{}>()", value);
  type = fmt::format("lines::{}<{}, {}>", picks_index ? "Arg" : "Extreme", value, greatest);
  none = picks_index ? fmt::format("{{{}, 0x7fffffff}}", edge) : fmt::format("{{{}}}", edge);
}

}  // namespace blockgrad
