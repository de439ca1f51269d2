#pragma once
// Pooling: the largest or the mean element of every window over the last axes.

#include <optional>

#include "blockgrad/ops/conv.h"

namespace blockgrad {

struct MaxPool2dOptions {
  std::optional<Pair> stride = {};  // not given: the window's size
  Pair padding = 0;                 // on both sides; counts as -inf
};

/// x [.., H, W] -> [.., H', W'], f32 or f64; H' = (H + 2 padding - h) / stride + 1, rounded down.
/// Gradient: dy goes to the first maximum of its window in row-major order, or to the first NaN.
struct MaxPool2d {
  static constexpr std::string_view name = "max_pool2d";
  Pair size, stride, padding;
  std::string_view short_name = name;  // a literal; for messages only, not compared

  bool operator==(const MaxPool2d& other) const {
    return size == other.size && stride == other.stride && padding == other.padding;
  }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
};

/// x [.., H, W], dy [.., H', W'] -> [.., H, W]: what MaxPool2d sends back to its input. Linear in
/// dy; the gradient by x is 0.
struct MaxPool2dInput {
  static constexpr std::string_view name = "max_pool2d_input";
  Pair size, stride, padding;

  bool operator==(const MaxPool2dInput&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string print() const;
};

/// x, v [.., H, W] -> [.., H', W']: the elements of v where x has the first maximum of each window,
/// the transpose of MaxPool2dInput; the gradient by x is 0.
struct MaxPool2dPick {
  static constexpr std::string_view name = "max_pool2d_pick";
  Pair size, stride, padding;

  bool operator==(const MaxPool2dPick&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string print() const;
};

/// The largest element of every h x w window: floating [.., H, W] -> [.., H', W'] with
/// H' = (H + 2 padding - h) / stride + 1, rounded down. NaN wins; the first of equal elements
/// receives the gradient. Throws Error if a window does not fit, or if padding is not below the
/// size: a window of padding only has no maximum.
Expr max_pool2d(Arg x, const Pair& size, const MaxPool2dOptions& options = {});

struct MaxPool1dOptions {
  std::optional<std::int64_t> stride = {};
  std::int64_t padding = 0;
};
/// The same over the last axis: [.., L] -> [.., L'].
Expr max_pool1d(Arg x, std::int64_t size, const MaxPool1dOptions& options = {});

struct AvgPool2dOptions {
  std::optional<Pair> stride = {};  // not given: the window's size
  Pair padding = 0;                 // zeros on both sides
  bool count_padding = false;       // divide by the window's size everywhere, as PyTorch does
};
/// The mean of every h x w window, [.., H, W] -> [.., H', W'] as in max_pool2d; padding is not
/// counted unless asked for (as ONNX, not as PyTorch). Throws Error as max_pool2d does.
Expr avg_pool2d(Arg x, const Pair& size, const AvgPool2dOptions& options = {});

struct AvgPool1dOptions {
  std::optional<std::int64_t> stride = {};
  std::int64_t padding = 0;
  bool count_padding = false;
};
/// The same over the last axis: [.., L] -> [.., L'].
Expr avg_pool1d(Arg x, std::int64_t size, const AvgPool1dOptions& options = {});

/// The mean of each channel: floating [N, C, ..] -> [N, C, 1, ..] (ONNX's GlobalAveragePool).
/// Throws Error for rank below 3.
Expr global_avg_pool(Arg x);

}  // namespace blockgrad
