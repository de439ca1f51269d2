#include "backends/cpu/row_joins.h"

#include "graph/scalar_math.h"

namespace blockgrad {

namespace {

// As the kernel of a Reduce joins its blocks.
template <class T, ReduceKind kind>
void join_as(void* a, const void* b) {
  T& older = *static_cast<T*>(a);
  const T y = *static_cast<const T*>(b);
  if constexpr (kind == ReduceKind::sum) older = static_cast<T>(older + y);
  else if constexpr (kind == ReduceKind::max) older = math::maximum(older, y);
  else older = math::minimum(older, y);
}

template <ReduceKind kind>
RowJoin join_of(DType made) {
  switch (made) {
    case DType::f32: return join_as<float, kind>;
    case DType::f64: return join_as<double, kind>;
    case DType::i32: return join_as<std::int32_t, kind>;
    case DType::i64: return join_as<std::int64_t, kind>;
    case DType::u8:
    case DType::boolean: return join_as<std::uint8_t, kind>;
    default: return nullptr;
  }
}

}  // namespace

bool picks_index(ReduceKind kind) {
  return kind == ReduceKind::argmax || kind == ReduceKind::argmin;
}

RowJoin find_join(ReduceKind kind, DType made) {
  switch (kind) {
    case ReduceKind::sum: return join_of<ReduceKind::sum>(made);
    case ReduceKind::max: return join_of<ReduceKind::max>(made);
    case ReduceKind::min: return join_of<ReduceKind::min>(made);
    default: return nullptr;
  }
}

}  // namespace blockgrad
