#pragma once
// Which scalar functions cost more than reading and writing a value.

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

constexpr bool is_costly(ScalarOp op) {
  switch (op) {
    case ScalarOp::exp:
    case ScalarOp::expm1:
    case ScalarOp::log:
    case ScalarOp::log1p:
    case ScalarOp::sin:
    case ScalarOp::cos:
    case ScalarOp::tanh:
    case ScalarOp::erf:
    case ScalarOp::sigmoid:
    case ScalarOp::softplus:
    case ScalarOp::normal_cdf:
    case ScalarOp::normal_cdf_tanh:
    case ScalarOp::gelu_value:
    case ScalarOp::gelu_slope:
    case ScalarOp::pow: return true;
    default: return false;
  }
}

}  // namespace blockgrad
