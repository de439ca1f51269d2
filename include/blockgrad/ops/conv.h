#pragma once
// Convolutions of neural networks (cross-correlations: the kernel is not flipped), and their
// transposes. Conv2d, Conv2dInput and Conv2dWeight are the three derivatives of one trilinear form
//   sum over n, o, c, i, j, p, q of dy[n, o, i, j] w[o, c, p, q] x[n, c, i s + p d - P, j s + q d -
//   P],
// so each one's gradients are the other two. All expand to windows and a matrix product; bf16 and
// f16 are multiplied as f32 and rounded once, to `result` as in MatMul.
// Padding adds 0, and what is infinite or NaN touches the results that have a term with it: the CPU
// leaves terms outside of x out; CUDA and the expansions multiply with zeros there, which gives NaN
// for an infinite w, and for an infinite dy in the gradient to w.
// Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".

#include <cstdint>
#include <optional>

#include "blockgrad/graph/op.h"

namespace blockgrad {

/// A number for rows and one for columns; a single number stands for both.
struct Pair {
  std::int64_t rows = 0, columns = 0;
  Pair(std::int64_t both) : rows(both), columns(both) {}
  Pair(std::int64_t for_rows, std::int64_t for_columns) : rows(for_rows), columns(for_columns) {}
  bool operator==(const Pair&) const = default;
};

struct Conv2dOptions {
  Pair stride = 1;
  Pair padding = 0;   // zeros on both sides
  Pair dilation = 1;  // distance of a kernel's elements
  std::int64_t groups = 1;
  bool operator==(const Conv2dOptions&) const = default;
};

/// x [N, C, H, W], w [O, C/groups, h, w] -> y [N, O, H', W'], floating;
/// H' = (H + 2 padding - dilation (h - 1) - 1) / stride + 1, rounded down.
struct Conv2d {
  static constexpr std::string_view name = "conv2d";
  Conv2dOptions options;
  std::string_view short_name = name;  // a literal; for messages only, not compared
  std::optional<DType> result = {};

  bool operator==(const Conv2d& other) const {
    return options == other.options && result == other.result;
  }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
  Cost cost(Types in, Types out) const;
};

/// dy [N, O, H', W'], w [O, C/groups, h, w] -> [N, C, H, W]: what Conv2d sends back to its input.
struct Conv2dInput {
  static constexpr std::string_view name = "conv2d_input";
  Conv2dOptions options;
  Pair size;  // H, W
  std::string_view short_name = name;
  std::optional<DType> result = {};

  bool operator==(const Conv2dInput& other) const {
    return options == other.options && size == other.size && result == other.result;
  }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
  Cost cost(Types in, Types out) const;
};

/// x [N, C, H, W], dy [N, O, H', W'] -> [O, C/groups, h, w]: what Conv2d sends back to its weight.
struct Conv2dWeight {
  static constexpr std::string_view name = "conv2d_weight";
  Conv2dOptions options;
  Pair size;  // h, w
  std::string_view short_name = name;
  std::optional<DType> result = {};

  bool operator==(const Conv2dWeight& other) const {
    return options == other.options && size == other.size && result == other.result;
  }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
  Cost cost(Types in, Types out) const;
};

/// Convolution: y[n, o, i, j] = bias[o] + sum over c, p, q of w[o, c, p, q] x[n, first(o) + c,
/// i stride + p dilation - padding, j stride + q dilation - padding], where first(o) is the first
/// channel of o's group and x is 0 outside. x: floating [N, C, H, W], w: [O, C/groups, h, w], bias:
/// [O] or empty -> [N, O, H', W'], H' = (H + 2 padding - dilation (h - 1) - 1) / stride + 1 rounded
/// down. Throws Error if H' or W' is below 1, if groups does not divide C and O, or if channels do
/// not fit.
Expr conv2d(Arg x, Arg w, const Conv2dOptions& options = {}, const Expr& bias = {});

struct Conv1dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
};
/// The same over one axis: x [N, C, L], w [O, C/groups, l], bias [O] or empty -> [N, O, L'].
Expr conv1d(Arg x, Arg w, const Conv1dOptions& options = {}, const Expr& bias = {});

struct ConvTranspose2dOptions {
  Pair stride = 1;
  Pair padding = 0;         // taken away on both sides
  Pair output_padding = 0;  // rows and columns more at the end
  Pair dilation = 1;
  std::int64_t groups = 1;
};
/// The transpose of conv2d (PyTorch's conv_transpose2d): every element of x adds its multiple of
/// the kernel. x: floating [N, C, H, W], w: [C, O/groups, h, w], bias: [O] or empty ->
/// [N, O, H', W'], H' = (H - 1) stride - 2 padding + dilation (h - 1) + output_padding + 1. Throws
/// Error if H' or W' is below 1, if output_padding is not below stride or dilation, if groups does
/// not divide C, or if channels do not fit.
Expr conv_transpose2d(Arg x, Arg w, const ConvTranspose2dOptions& options = {},
                      const Expr& bias = {});

struct ConvTranspose1dOptions {
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  std::int64_t output_padding = 0;
  std::int64_t dilation = 1;
  std::int64_t groups = 1;
};
/// The same over one axis: x [N, C, L], w [C, O/groups, l], bias [O] or empty -> [N, O, L'].
Expr conv_transpose1d(Arg x, Arg w, const ConvTranspose1dOptions& options = {},
                      const Expr& bias = {});

}  // namespace blockgrad
