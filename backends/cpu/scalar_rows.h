#pragma once
// One functor per row of scalar.def, for kernels that are written once for every instruction set.
// Internal linkage throughout.

#include "graph/scalar_math.h"
#include "graph/scalar_pow.h"
#include "graph/scalar_random.h"

namespace blockgrad::detail {
namespace {
namespace row {

#define BG_UNARY(name, types, value, derivative)                   \
  struct name {                                                    \
    template <class T>                                             \
    static inline __attribute__((always_inline)) auto of(T a, T) { \
      return value;                                                \
    }                                                              \
  };
#define BG_BINARY(name, types, value, by_a, by_b)                    \
  struct name {                                                      \
    template <class T>                                               \
    static inline __attribute__((always_inline)) auto of(T a, T b) { \
      return value;                                                  \
    }                                                                \
  };
#define BG_PREDICATE(name, value) BG_UNARY(name, F, value, 0)
#define BG_COMPARE(name, value) BG_BINARY(name, F, value, 0, 0)
#define BG_LOGICAL(name, value) BG_BINARY(name, F, value, 0, 0)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL

}  // namespace row
}  // namespace
}  // namespace blockgrad::detail
