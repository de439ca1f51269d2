#pragma once
// Reduce: one value per line of elements along some axes.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/op.h"

namespace blockgrad {

enum class ReduceKind : std::uint8_t { sum, max, min, argmax, argmin };

std::string_view name(ReduceKind kind);

/// sum: f32, f64 -> same; bf16 and f16 -> f32, as they are added; integers and bool -> i64; order
/// of sums fixed: on the CPU by the number of elements alone, on CUDA by shape, layout, the
/// device's processors and what it is fused with. Size 0: 0. max, min: NaN wins; bool too (any,
/// all); size 0 throws Error, for bool it gives false and true. argmax, argmin: row-major number
/// along the axes as i32; first of ties, first NaN if there is one. Gradients: sum repeats dy; max
/// and min share it evenly among the equal ones (the NaNs if the result is NaN).
struct Reduce {
  static constexpr std::string_view name = "reduce";
  ReduceKind kind = ReduceKind::sum;
  std::uint32_t axes = 0;  // bit a: axis a is reduced
  bool keepdims = false;

  bool operator==(const Reduce&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  bool not_differentiable(int) const {
    return kind == ReduceKind::argmax || kind == ReduceKind::argmin;
  }
  std::string_view title() const { return blockgrad::name(kind); }
  std::string print() const;
  bool accepts(int, const Layout&) const { return true; }
  Cost cost(Types in, Types out) const;
};

/// Reduces over `axes` (negative ones count from the end); over all if there are none. bf16 and f16
/// are reduced as f32 and rounded once.
Expr reduce(const Expr& x, ReduceKind kind, std::span<const int> axes, bool keepdims,
            SourceLoc where = SourceLoc::here());

}  // namespace blockgrad
