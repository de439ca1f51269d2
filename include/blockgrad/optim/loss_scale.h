#pragma once
// The scale of a loss: gradients are computed from the loss times a number that keeps them inside
// the range of their dtype, and divided again (Micikevicius et al. 2018, section 3.2).

#include <string>
#include <vector>

#include "blockgrad/optim/gradients.h"

namespace blockgrad {

class LossScale {
 public:
  /// Starts at `initial`, halves after a step that is not finite, which updates nothing, and
  /// doubles after `grow_after` finite steps in a row; it stays in [2^-100, 2^100]. Throws Error
  /// unless initial lies there and grow_after >= 1.
  explicit LossScale(double initial = 65536, std::int64_t grow_after = 2000,
                     std::string name = "loss_scale", SourceLoc where = SourceLoc::here());

  /// The gradients of mean(loss) as `gradients` gives them, computed scaled: bit-equal to those
  /// where nothing overflows or underflows, since the scale is a power of two if `initial` is.
  Gradients gradients(const Loss& loss, std::span<const Expr> only = {},
                      SourceLoc where = SourceLoc::here()) const;

  /// The scale now.
  double value() const { return scale_.value().at(0); }
  /// The scale and the number of finite steps since it changed, for saving.
  std::vector<Expr> states() const { return {scale_, clean_steps_}; }

 private:
  std::int64_t grow_after_;
  Expr scale_, clean_steps_;
};

}  // namespace blockgrad
