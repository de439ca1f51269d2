#include "backends/cpu/bounds.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace blockgrad {

namespace {

Bounds hull(std::initializer_list<double> values) { return {std::min(values), std::max(values)}; }

Bounds product(const Bounds& a, const Bounds& b) {
  return hull({a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high});
}

// Room for the rounding of one instruction in f32, signs kept.
Bounds widened(Bounds b) {
  constexpr double slack = 1e-6, least = 1e-44;
  b.low = b.low >= 0 ? b.low * (1 - slack) : b.low * (1 + slack) - least;
  b.high = b.high <= 0 ? b.high * (1 - slack) : b.high * (1 + slack) + least;
  return b;
}

// Unbounded where the instruction is not known or may leave the numbers.
Bounds apply(const ScalarInstr& instr, const Bounds& a, const Bounds& b, const Bounds& c) {
  switch (instr.op) {
    case ScalarOp::add: return {a.low + b.low, a.high + b.high};
    case ScalarOp::subtract: return {a.low - b.high, a.high - b.low};
    case ScalarOp::multiply: return product(a, b);
    case ScalarOp::fma: {
      const Bounds p = product(a, b);
      return {p.low + c.low, p.high + c.high};
    }
    case ScalarOp::negative: return {-a.high, -a.low};
    case ScalarOp::square: {
      const double most = std::max(a.low * a.low, a.high * a.high);
      return {a.low <= 0 && a.high >= 0 ? 0 : std::min(a.low * a.low, a.high * a.high), most};
    }
    case ScalarOp::abs:
      return {a.low <= 0 && a.high >= 0 ? 0 : std::min(std::abs(a.low), std::abs(a.high)),
              std::max(std::abs(a.low), std::abs(a.high))};
    case ScalarOp::sqrt: return a.low >= 0 ? Bounds{std::sqrt(a.low), std::sqrt(a.high)} : Bounds{};
    case ScalarOp::divide:
      if (a.low == 0 && a.high == 0 && (b.low > 0 || b.high < 0)) return {0, 0};
      return b.low > 0 || b.high < 0 ? product(a, {1 / b.high, 1 / b.low}) : Bounds{};
    case ScalarOp::maximum: return {std::max(a.low, b.low), std::max(a.high, b.high)};
    case ScalarOp::minimum: return {std::min(a.low, b.low), std::min(a.high, b.high)};
    case ScalarOp::where: return {std::min(b.low, c.low), std::max(b.high, c.high)};
    case ScalarOp::flush_subnormal: return {std::min(a.low, 0.0), std::max(a.high, 0.0)};
    case ScalarOp::cast: return a;
    default: return {};
  }
}

double largest_of(DType dtype) {
  return dtype == DType::f64 ? std::numeric_limits<double>::max()
                             : static_cast<double>(std::numeric_limits<float>::max());
}

}  // namespace

bool find_bounds(const ScalarFn& fn, std::span<const Bounds> inputs, std::vector<Bounds>& values) {
  values.clear();
  for (const ScalarInstr& instr : fn.code()) {
    if (instr.op == ScalarOp::input) {
      values.push_back(inputs[static_cast<std::size_t>(instr.bits)]);
    } else if (instr.op == ScalarOp::constant && is_floating(instr.dtype)) {
      const double value = std::bit_cast<double>(instr.bits);
      values.push_back({value, value});
    } else if (arity(instr.op) == 0) {
      values.push_back({0, 1});  // a truth value or an integer: only conditions may read it
    } else {
      const auto arg = [&](int a) {
        return values[static_cast<std::size_t>(
            instr.args[static_cast<std::size_t>(std::min(a, arity(instr.op) - 1))])];
      };
      values.push_back(widened(apply(instr, arg(0), arg(1), arg(2))));
      if (!is_floating(instr.dtype)) {
        values.back() = {0, 1};
        continue;
      }
      for (int a = instr.op == ScalarOp::where ? 1 : 0; a < arity(instr.op); ++a) {
        const auto source = static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)]);
        if (!is_floating(fn.code()[source].dtype)) return false;
      }
    }
    if (!is_floating(instr.dtype)) continue;
    if (size_of(instr.dtype) < 4) return false;  // rounds more than is counted
    const double most = largest_of(instr.dtype) * (1 - 1e-6);
    if (!(values.back().low >= -most && values.back().high <= most)) return false;
  }
  return true;
}

}  // namespace blockgrad
