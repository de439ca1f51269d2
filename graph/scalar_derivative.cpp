// The derivative of a scalar program, by one backward walk over its instructions.
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

namespace {

// An adjoint and the conditions of the `where` branches it came through. They are applied last, so
// that a branch that is not taken adds exactly 0 even where its slope is infinite or NaN.
struct Adjoint {
  Scalar value = 0;
  Scalar condition = 1;  // a number: no condition
};

Scalar resolved(const Adjoint& adjoint) {
  return adjoint.condition.is_number() ? adjoint.value : where(adjoint.condition, adjoint.value, 0);
}

Adjoint total(std::span<const Adjoint> parts) {
  if (parts.size() == 1) return parts[0];
  Scalar sum = resolved(parts[0]);
  for (const Adjoint& part : parts.subspan(1)) sum = sum + resolved(part);
  return {sum, 1};
}

// d where a > b, half of it where both are equal; a NaN attracts the whole adjoint (half if both
// are NaN).
Scalar share_of_larger(Scalar d, Scalar a, Scalar b) {
  if (!is_floating(d.dtype())) return 0;
  const Scalar half = d * Scalar(0.5);
  const Scalar ordered = where(a > b, d, where(equal(a, b), half, 0));
  return where(isnan(a), where(isnan(b), half, d), ordered);
}

class Backwards {
 public:
  Backwards(const ScalarFn& fn, ScalarRecorder& recorder) : fn_(fn), recorder_(recorder) {
    const int inputs = static_cast<int>(fn.inputs().size());
    const int results = static_cast<int>(fn.results().size());
    replay();
    for (int r = 0; r < results; ++r) {
      const auto at = static_cast<std::size_t>(fn.results()[static_cast<std::size_t>(r)]);
      adjoints_[at].push_back({recorder.input(inputs + results + r), 1});
    }
    for (std::size_t i = fn.code().size(); i-- > 0;) {
      if (!adjoints_[i].empty()) send(i, total(adjoints_[i]));
    }
  }

  Scalar adjoint_of_input(int input) {
    for (std::size_t i = 0; i < fn_.code().size(); ++i) {
      const ScalarInstr& instr = fn_.code()[i];
      if (instr.op == ScalarOp::input && instr.bits == static_cast<std::uint64_t>(input) &&
          !adjoints_[i].empty()) {
        return recorder_.cast(resolved(total(adjoints_[i])), instr.dtype);
      }
    }
    return recorder_.constant(0, fn_.inputs()[static_cast<std::size_t>(input)]);
  }

 private:
  // Results are read from the inputs y instead of being computed again.
  void replay() {
    const auto code = fn_.code();
    adjoints_.resize(code.size());
    for (std::size_t i = 0; i < code.size(); ++i) {
      const ScalarInstr& instr = code[i];
      if (instr.op == ScalarOp::input) {
        values_.push_back(recorder_.input(static_cast<int>(instr.bits)));
      } else if (instr.op == ScalarOp::constant) {
        values_.push_back(recorder_.constant_bits(instr.bits, instr.dtype));
      } else if (const int r = result_number(i); r >= 0) {
        values_.push_back(recorder_.input(static_cast<int>(fn_.inputs().size()) + r));
      } else {
        std::array<Scalar, 3> args{0, 0, 0};
        const int count = arity(instr.op);
        for (int a = 0; a < count; ++a) args[static_cast<std::size_t>(a)] = value(instr, a);
        values_.push_back(
            recorder_.again(instr, std::span(args).first(static_cast<std::size_t>(count))));
      }
    }
  }

  int result_number(std::size_t instr) const {
    for (std::size_t r = 0; r < fn_.results().size(); ++r) {
      if (fn_.results()[r] == static_cast<std::int32_t>(instr)) return static_cast<int>(r);
    }
    return -1;
  }

  Scalar value(const ScalarInstr& instr, int arg) const {
    return values_[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(arg)])];
  }

  void give(const ScalarInstr& instr, int arg, Scalar adjoint, Scalar condition) {
    if (adjoint.is_number()) return;  // T(0): nothing flows
    adjoints_[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(arg)])].push_back(
        {adjoint, condition});
  }

  void send(std::size_t i, const Adjoint& adjoint) {
    const ScalarInstr& instr = fn_.code()[i];
    if (!is_floating(instr.dtype) || arity(instr.op) == 0) return;
    using T = Scalar;
    const Scalar d = adjoint.value;
    const Scalar y = values_[i];
    const Scalar a = value(instr, 0);
    const Scalar b = arity(instr.op) > 1 ? value(instr, 1) : a;
    static_cast<void>(y);
    switch (instr.op) {
#define BG_UNARY(name, types, value, adjoint_of_a) \
  case ScalarOp::name: give(instr, 0, adjoint_of_a, adjoint.condition); return;
#define BG_BINARY(name, types, value, to_a, to_b) \
  case ScalarOp::name:                            \
    give(instr, 0, to_a, adjoint.condition);      \
    give(instr, 1, to_b, adjoint.condition);      \
    return;
#define BG_PREDICATE(name, value)
#define BG_COMPARE(name, value)
#define BG_LOGICAL(name, value)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
      case ScalarOp::where: {
        const bool free = adjoint.condition.is_number();
        give(instr, 1, d, free ? a : logical_and(adjoint.condition, a));
        give(instr, 2, d, free ? logical_not(a) : logical_and(adjoint.condition, logical_not(a)));
        return;
      }
      case ScalarOp::fma:
        give(instr, 0, d * b, adjoint.condition);
        give(instr, 1, d * a, adjoint.condition);
        give(instr, 2, d, adjoint.condition);
        return;
      case ScalarOp::cast:
        if (is_floating(a.dtype())) give(instr, 0, recorder_.cast(d, a.dtype()), adjoint.condition);
        return;
      default: return;
    }
  }

  const ScalarFn& fn_;
  ScalarRecorder& recorder_;
  std::vector<Scalar> values_;
  std::vector<std::vector<Adjoint>> adjoints_;
};

}  // namespace

ScalarFn derivative(const ScalarFn& fn, std::span<const int> wants) {
  std::vector<DType> inputs(fn.inputs().begin(), fn.inputs().end());
  for (int pass = 0; pass < 2; ++pass) {
    for (std::size_t r = 0; r < fn.results().size(); ++r)
      inputs.push_back(fn.result_dtype(static_cast<int>(r)));
  }
  ScalarRecorder recorder(inputs);
  Backwards backwards(fn, recorder);
  std::vector<Scalar> results;
  for (const int want : wants) {
    check_internal(is_floating(fn.inputs()[static_cast<std::size_t>(want)]),
                   "derivative by an input of ", fn.inputs()[static_cast<std::size_t>(want)]);
    results.push_back(backwards.adjoint_of_input(want));
  }
  return recorder.finish(results);
}

}  // namespace blockgrad
