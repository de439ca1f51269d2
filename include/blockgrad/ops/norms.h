#pragma once
// Normalization: mean 0 and variance 1 over some axes, then a gain and a shift. Variances are
// computed from differences to the mean, corrected for its rounding: in f32 a mean of 1e6 beside a
// spread of 1 costs no digit.

#include "blockgrad/graph/op.h"
#include "blockgrad/ops/axes.h"
#include "blockgrad/ops/context.h"

namespace blockgrad {

/// y = (x - mean x) / sqrt(var x + eps) over the axes whose bits are set; var divides by n.
/// Gradient: (dy - mean dy - y mean(dy y)) / sqrt(var x + eps) (Ioffe and Szegedy 2015, section 3).
struct Normalize {
  static constexpr std::string_view name = "normalize";
  std::uint32_t axes = 0;
  Number eps;
  std::string_view short_name = name;  // a literal; for messages only, not compared

  bool operator==(const Normalize& other) const { return axes == other.axes && eps == other.eps; }
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string_view title() const { return short_name; }
  std::string print() const;
};

/// y = x / sqrt(mean x^2 + eps) over the axes whose bits are set. Gradient:
/// (dy - y mean(dy y)) / sqrt(mean x^2 + eps) (Zhang and Sennrich 2019, section 4).
struct RmsNormalize {
  static constexpr std::string_view name = "rms_norm";
  std::uint32_t axes = 0;
  Number eps;

  bool operator==(const RmsNormalize&) const = default;
  TensorType infer(Types in) const;
  std::vector<Expr> vjp(const Backward& b) const;
  Expr expand(std::span<const Expr> in) const;
  std::string print() const;
};

/// gain (x - mean) / sqrt(variance + eps) + shift over `axes`; floating, same shape. gain and shift
/// have the sizes of x along `axes`, or are empty. A constant row gives the shift, and its gradient
/// is finite. Throws Error if eps is not positive, without axes, or if gain or shift do not fit.
/// Source: Ba, Kiros and Hinton 2016, "Layer normalization".
Expr layer_norm(Arg x, const Expr& gain, const Expr& shift, const Axes& axes = -1,
                double eps = 1e-5);
/// gain x / sqrt(mean of squares + eps) + shift; as layer_norm, without the mean. Source: Zhang and
/// Sennrich 2019, "Root mean square layer normalization".
Expr rms_norm(Arg x, const Expr& gain, const Expr& shift = {}, const Axes& axes = -1,
              double eps = 1e-5);
/// As layer_norm over each of `groups` equal groups of channels and all further axes: x floating
/// [N, C, ..], gain and shift [C] or empty. Throws Error also if groups does not divide C. Source:
/// Wu and He 2018, "Group normalization".
Expr group_norm(Arg x, std::int64_t groups, const Expr& gain, const Expr& shift, double eps = 1e-5);

/// With given statistics, as after training: gain (x - mean) / sqrt(variance + eps) + shift for
/// each channel; x floating [N, C, ..], mean and variance [C], gain and shift [C] or empty. Source:
/// Ioffe and Szegedy 2015, "Batch normalization".
Expr batch_norm(Arg x, const Expr& gain, const Expr& shift, const Expr& mean, const Expr& variance,
                double eps = 1e-5);

/// What batch_norm gives in training.
struct BatchNorm {
  Expr y;         // normalized by the batch's own statistics
  Expr mean;      // [C], of the batch
  Expr variance;  // [C], of the batch, divided by n
};
/// With the statistics of the batch, over all axes but axis 1; x floating [N, C, ..]. Throws Error
/// if there is only one value per channel.
BatchNorm batch_norm_training(Arg x, const Expr& gain, const Expr& shift, double eps = 1e-5);

/// Running statistics of a batch norm, [C] each; states that training changes.
struct BatchStats {
  Expr mean, variance;
};

struct BatchNormOptions {
  double momentum = 0.1;  // weight of the new batch, as in PyTorch (ONNX: of the old value)
  double eps = 1e-5;
};

/// In training by the statistics of the batch, which also enter the running ones in the context's
/// updates: running = (1 - momentum) running + momentum batch, where the variance is the unbiased
/// one, n / (n - 1) times that of the batch. Otherwise by the running ones. Called again in one
/// graph it goes on from the pending values. x, gain and shift as above. Throws Error if the
/// statistics are not states [C] of x's dtype, if momentum is outside [0, 1], and in training if
/// there is only one value per channel; then no update is made.
Expr batch_norm(Arg x, const Expr& gain, const Expr& shift, const BatchStats& stats,
                Context& context, const BatchNormOptions& options = {});

}  // namespace blockgrad
