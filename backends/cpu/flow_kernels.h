#pragma once
// The kernels of flow.h, one source for every instruction set: the including unit's flags decide.
// Each step ends in a call of the next one with the same arguments, which compilers turn into a
// jump. Everything has internal linkage.

#include "backends/cpu/flow.h"
#include "backends/cpu/reduce_lanes.h"

namespace blockgrad::detail {
namespace {

using std::int64_t;

#define BG_INLINE inline __attribute__((always_inline))
#define BG_UNROLL _Pragma("GCC unroll 8")

constexpr int flow_stretches = static_cast<int>(FlowTable::stretches);
constexpr int flow_vectors = static_cast<int>(FlowTable::vectors);
constexpr int flow_each = flow_vectors / flow_stretches;  // vectors of a stretch

/// How far a block is from the first elements, and what is fetched meanwhile.
struct FlowWalk {
  static constexpr int64_t block = flow_each * vector_bytes;
  int64_t bytes[3];  // by FlowMove
  int64_t ahead[flow_stretches];
};

template <class T>
struct Flow {
  using L = Lanes<T>;
  using V = typename L::Vector;
  static constexpr int64_t block = flow_each * L::width;

  using Fn = void (*)(const FlowStep* step, FlowWalk* walk, V, V, V, V, V, V, V, V);

  /// Vectors of stretch s are flow_each s and those behind it.
  struct Values {
    V v[flow_vectors];

    static BG_INLINE void jump(const FlowStep* next, FlowWalk* walk, const Values& x) {
      reinterpret_cast<Fn>(next->run)(next, walk, x.v[0], x.v[1], x.v[2], x.v[3], x.v[4], x.v[5],
                                      x.v[6], x.v[7]);
    }
  };

  static BG_INLINE T* place(const FlowOperand& a, const FlowWalk* walk) {
    return reinterpret_cast<T*>(a.base + walk->bytes[static_cast<int>(a.move)]);
  }

  static BG_INLINE T* on_by(T* p, int64_t bytes) {
    return reinterpret_cast<T*>(reinterpret_cast<std::byte*>(p) + bytes);
  }
  static BG_INLINE const T* on_by(const T* p, int64_t bytes) {
    return reinterpret_cast<const T*>(reinterpret_cast<const std::byte*>(p) + bytes);
  }

  /// Vector i of the operand whose first stretch is at p.
  template <class P>
  static BG_INLINE P* at(P* p, int64_t stride, int i) {
    return on_by(p, i / flow_each * stride) + i % flow_each * L::width;
  }

  // An operand that stays is loaded once: loads are what there is too little of.

  template <class F>
  static void with_operand(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g,
                           V h) {
    Values x{{a, b, c, d, e, f, g, h}};
    const int64_t stride = step->on[0].stride;
    const T* const p = place(step->on[0], walk);
    if (stride == 0) {
      const V y = L::load(p);
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i) x.v[i] = F::of(x.v[i], y);
    } else {
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i) x.v[i] = F::of(x.v[i], L::load(at(p, stride, i)));
    }
    Values::jump(step + 1, walk, x);
  }

  template <class F, class G>
  static void with_two(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g,
                       V h) {
    Values x{{a, b, c, d, e, f, g, h}};
    const int64_t first = step->on[0].stride, second = step->on[1].stride;
    const T *const p = place(step->on[0], walk), *const q = place(step->on[1], walk);
    if (first == 0 && second == 0) {
      const V y = L::load(p), z = L::load(q);
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i) x.v[i] = G::of(F::of(x.v[i], y), z);
    } else if (second == 0) {
      const V z = L::load(q);
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i)
        x.v[i] = G::of(F::of(x.v[i], L::load(at(p, first, i))), z);
    } else {
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i)
        x.v[i] = G::of(F::of(x.v[i], L::load(at(p, first, i))), L::load(at(q, second, i)));
    }
    Values::jump(step + 1, walk, x);
  }

  static void store(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g, V h) {
    const Values x{{a, b, c, d, e, f, g, h}};
    const int64_t stride = step->on[0].stride;
    T* const p = place(step->on[0], walk);
    BG_UNROLL
    for (int i = 0; i < flow_vectors; ++i) __builtin_memcpy(at(p, stride, i), &x.v[i], sizeof(V));
    Values::jump(step + 1, walk, x);
  }

  template <class F>
  static void alone(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g, V h) {
    Values x{{a, b, c, d, e, f, g, h}};
    BG_UNROLL
    for (int i = 0; i < flow_vectors; ++i) x.v[i] = F::of(x.v[i]);
    Values::jump(step + 1, walk, x);
  }

  template <class F>
  static void select(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g, V h) {
    Values x{{a, b, c, d, e, f, g, h}};
    const FlowOperand* const on = step->on;
    const T *p = place(on[0], walk), *q = place(on[1], walk), *r = place(on[2], walk);
    if (on[1].stride == 0 && on[2].stride == 0) {
      const V y = L::load(q), z = L::load(r);
      BG_UNROLL
      for (int i = 0; i < flow_vectors; ++i)
        x.v[i] = F::of(L::load(at(p, on[0].stride, i)), y) ? x.v[i] : z;
      return Values::jump(step + 1, walk, x);
    }
    BG_UNROLL
    for (int i = 0; i < flow_vectors; ++i) {
      const int64_t v = i % flow_each * L::width;
      x.v[i] = F::of(L::load(p + v), L::load(q + v)) ? x.v[i] : L::load(r + v);
      if (i % flow_each < flow_each - 1) continue;
      p = on_by(p, on[0].stride);
      q = on_by(q, on[1].stride);
      r = on_by(r, on[2].stride);
    }
    Values::jump(step + 1, walk, x);
  }

  static void sum(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g, V h) {
    const Values x{{a, b, c, d, e, f, g, h}};
    const int64_t done = walk->bytes[static_cast<int>(FlowMove::in_line)] / vector_bytes;
    V* const lanes = reinterpret_cast<V*>(step->on[0].base) + (done & (L::count - 1));
    BG_UNROLL
    for (int s = 0; s < flow_stretches; ++s) {
      V* const own = lanes + s * L::count;
      if constexpr (L::count == 1) {
        V total = *own;
        BG_UNROLL
        for (int i = 0; i < flow_each; ++i) total = total + x.v[s * flow_each + i];
        *own = total;
      } else {
        BG_UNROLL
        for (int i = 0; i < flow_each; ++i) own[i] = own[i] + x.v[s * flow_each + i];
      }
    }
    Values::jump(step + 1, walk, x);
  }

  static void fetch(const FlowStep* step, FlowWalk* walk, V a, V b, V c, V d, V e, V f, V g, V h) {
    const std::byte* const base = step->on[0].base;
    BG_UNROLL
    for (int s = 0; s < flow_stretches; ++s) {
      BG_UNROLL
      for (int64_t k = 0; k < FlowWalk::block; k += 64)
        __builtin_prefetch(base + walk->ahead[s] + k, 0, 2);
    }
    Values::jump(step + 1, walk, Values{{a, b, c, d, e, f, g, h}});
  }

  static void end(const FlowStep*, FlowWalk*, V, V, V, V, V, V, V, V) {}

  static void run(const FlowStep* first, const FlowSpace& space, bool fetches) {
    constexpr int64_t size = sizeof(T);
    const int64_t piece = space.piece * size, over_gap = (space.gap - space.piece) * size;
    FlowWalk walk{};
    int64_t in_memory = 0, left = piece, ahead = 0, ahead_left = piece;
    for (int64_t in_line = 0; in_line < FlowTable::length * size; in_line += FlowWalk::block) {
      walk.bytes[1] = in_line;
      walk.bytes[2] = in_memory;
      in_memory += FlowWalk::block;
      left -= FlowWalk::block;
      if (left <= 0) {
        in_memory += over_gap;
        left = piece;
      }
      // One stretch after the other, which prefetchers see through.
      for (int s = 0; fetches && s < flow_stretches; ++s) {
        walk.ahead[s] = ahead;
        ahead += FlowWalk::block;
        ahead_left -= FlowWalk::block;
        if (ahead_left > 0) continue;
        ahead += over_gap;
        ahead_left = piece;
      }
      Values::jump(first, &walk, Values{});
    }
  }

  static void begin_sum(void* lanes) {
    T* const lane = static_cast<T*>(lanes);
    for (int64_t l = 0; l < FlowTable::stretches * lane_count; ++l) lane[l] = -T(0);
  }
  static void end_sum(void* sums, const void* lanes) {
    T* const made = static_cast<T*>(sums);
    const T* const lane = static_cast<const T*>(lanes);
    for (int64_t s = 0; s < FlowTable::stretches; ++s) {
      V own[L::count];
      for (int v = 0; v < L::count; ++v) own[v] = L::load(lane + s * lane_count + v * L::width);
      made[s] = L::across(own, [](auto a, auto b) { return a + b; });
    }
  }
};

// Of what is handed on and an operand.
struct FlowLoad {
  static BG_INLINE auto of(auto, auto y) { return y; }
};
struct FlowAdd {
  static BG_INLINE auto of(auto x, auto y) { return x + y; }
};
struct FlowSubtract {
  static BG_INLINE auto of(auto x, auto y) { return x - y; }
};
struct FlowSubtractFrom {
  static BG_INLINE auto of(auto x, auto y) { return y - x; }
};
struct FlowMultiply {
  static BG_INLINE auto of(auto x, auto y) { return x * y; }
};
struct FlowDivide {
  static BG_INLINE auto of(auto x, auto y) { return x / y; }
};
struct FlowDivideInto {
  static BG_INLINE auto of(auto x, auto y) { return y / x; }
};
struct FlowNegative {
  static BG_INLINE auto of(auto x) { return -x; }
};
struct FlowSquare {
  static BG_INLINE auto of(auto x) { return x * x; }
};
struct FlowRelu {
  static BG_INLINE auto of(auto x) {
    const decltype(x) zero{};
    return x <= zero ? zero : x;
  }
};
struct FlowLess {
  static BG_INLINE auto of(auto a, auto b) { return a < b; }
};
struct FlowLessEqual {
  static BG_INLINE auto of(auto a, auto b) { return a <= b; }
};
struct FlowGreater {
  static BG_INLINE auto of(auto a, auto b) { return a > b; }
};
struct FlowGreaterEqual {
  static BG_INLINE auto of(auto a, auto b) { return a >= b; }
};

template <class T>
FlowFn erased_flow(typename Flow<T>::Fn fn) {
  return reinterpret_cast<FlowFn>(fn);
}

template <class T, class F>
FlowFn find_flow_behind(FlowOp then) {
  const auto two = []<class G>(G) { return erased_flow<T>(Flow<T>::template with_two<F, G>); };
  switch (then) {
    case FlowOp::add: return two(FlowAdd{});
    case FlowOp::subtract: return two(FlowSubtract{});
    case FlowOp::subtract_from: return two(FlowSubtractFrom{});
    case FlowOp::multiply: return two(FlowMultiply{});
    case FlowOp::end: return erased_flow<T>(Flow<T>::template with_operand<F>);
    default: return nullptr;
  }
}

template <class T>
FlowFn find_flow(FlowOp op, FlowOp then) {
  using F = Flow<T>;
  const auto erased = [&](typename F::Fn fn) {
    return then == FlowOp::end ? erased_flow<T>(fn) : nullptr;
  };
  switch (op) {
    case FlowOp::load: return find_flow_behind<T, FlowLoad>(then);
    case FlowOp::store: return erased(F::store);
    case FlowOp::add: return find_flow_behind<T, FlowAdd>(then);
    case FlowOp::subtract: return find_flow_behind<T, FlowSubtract>(then);
    case FlowOp::subtract_from: return find_flow_behind<T, FlowSubtractFrom>(then);
    case FlowOp::multiply: return find_flow_behind<T, FlowMultiply>(then);
    case FlowOp::divide: return erased(F::template with_operand<FlowDivide>);
    case FlowOp::divide_into: return erased(F::template with_operand<FlowDivideInto>);
    case FlowOp::negative: return erased(F::template alone<FlowNegative>);
    case FlowOp::square: return erased(F::template alone<FlowSquare>);
    case FlowOp::relu: return erased(F::template alone<FlowRelu>);
    case FlowOp::less: return erased(F::template select<FlowLess>);
    case FlowOp::less_equal: return erased(F::template select<FlowLessEqual>);
    case FlowOp::greater: return erased(F::template select<FlowGreater>);
    case FlowOp::greater_equal: return erased(F::template select<FlowGreaterEqual>);
    case FlowOp::sum: return erased(F::sum);
    case FlowOp::fetch: return erased(F::fetch);
    case FlowOp::end: return erased(F::end);
  }
  return nullptr;
}

template <class T>
constexpr void add_flows(FlowTable& table, int d) {
  using F = Flow<T>;
  table.block[d] = F::block;
  table.find[d] = find_flow<T>;
  table.run[d] = F::run;
  table.begin_sum[d] = F::begin_sum;
  table.end_sum[d] = F::end_sum;
}

constexpr FlowTable flow_kernels() {
  FlowTable table;
  table.value_bytes = flow_vectors * vector_bytes;
  table.is_for_stretches = vector_bytes >= 64;
  add_flows<float>(table, 0);
  add_flows<double>(table, 1);
  return table;
}

#undef BG_UNROLL
#undef BG_INLINE

}  // namespace
}  // namespace blockgrad::detail
