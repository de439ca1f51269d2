#include "backends/cpu/tape_steps.h"

#include <algorithm>

#include "blockgrad/graph/error.h"
#include "graph/costly.h"

namespace blockgrad {

namespace {

class StepFinder {
 public:
  StepFinder(const ScalarFn& fn, std::span<const char> is_number, Isa isa, bool joins_functions)
      : code_(fn.code()),
        is_number_(is_number),
        joins_functions_(joins_functions),
        tape_(tape_table(isa)),
        sweeps_(sweep_table(isa)),
        uses_(code_.size(), 0),
        step_of_(code_.size(), -1) {
    for (const ScalarInstr& instr : code_) {
      for (int a = 0; a < arity(instr.op); ++a) ++uses_[at(instr.args[at(a)])];
    }
    for (const std::int32_t r : fn.results()) uses_[at(r)] += 2;  // always needed in memory
  }

  std::vector<TapeStep> run() {
    for (std::size_t i = 0; i < code_.size(); ++i) {
      if (arity(code_[i].op) == 0) continue;
      TapeStep step = joined(static_cast<std::int32_t>(i));
      if (step.also < 0) step.value = static_cast<std::int32_t>(i);
      step_of_[i] = static_cast<std::int32_t>(steps_.size());
      steps_.push_back(step);
    }
    std::erase_if(steps_, [](const TapeStep& step) { return step.count == 0; });
    return std::move(steps_);
  }

 private:
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  const ScalarInstr& instr(std::int32_t i) const { return code_[at(i)]; }

  /// An operation on two operands with the values of this one; a square is a product.
  static ScalarOp as_two(ScalarOp op) { return op == ScalarOp::square ? ScalarOp::multiply : op; }
  static std::array<std::int32_t, 2> two_args(const ScalarInstr& instr) {
    return {instr.args[0], arity(instr.op) == 1 ? instr.args[0] : instr.args[1]};
  }

  /// Whether the value of `arg` is needed by instruction i alone, which may make it itself.
  bool may_join(std::int32_t arg, std::int32_t i) const {
    const std::int32_t step = step_of_[at(arg)];
    return uses_[at(arg)] == 1 && step >= 0 && !is_number_[at(arg)] &&
           steps_[at(step)].count == arity(instr(arg).op) &&
           (instr(arg).dtype == instr(i).dtype || instr(arg).dtype == DType::boolean);
  }
  bool may_join_product(std::int32_t arg, std::int32_t i) const {
    return may_join(arg, i) && as_two(instr(arg).op) == ScalarOp::multiply;
  }
  void drop(std::int32_t arg) { steps_[at(step_of_[at(arg)])].count = 0; }

  TapeStep joined(std::int32_t i) {
    const ScalarInstr& op = instr(i);
    if (is_number_[at(i)]) return single(op);
    if (op.op == ScalarOp::where) return select(i);
    if (op.op == ScalarOp::flush_subnormal) return flushed(op);
    if (op.op == ScalarOp::gelu_value) return gelu(i, ScalarOp::gelu_slope);
    if (op.op == ScalarOp::gelu_slope) return gelu(i, ScalarOp::gelu_value);
    if (arity(op.op) != 2) return single(op);
    const auto [a, b] = two_args(op);
    if (a != b && may_join_product(a, i) && may_join_product(b, i)) {
      if (const SweepFn sweep = sweeps_.find_products(op.op, op.dtype)) {
        const auto ab = number_last(a), cd = number_last(b);
        drop(a);
        drop(b);
        return {.sweep = sweep,
                .count = 4,
                .args = {ab[0], ab[1], cd[0], cd[1]},
                .form = {TapeForm::Kind::products, ScalarOp::multiply, op.op}};
      }
    }
    for (const bool is_right : {false, true}) {
      const std::int32_t arg = is_right ? b : a, other = is_right ? a : b;
      if (!may_join(arg, i)) continue;
      const ScalarOp first = as_two(instr(arg).op);
      const SweepFn sweep = sweeps_.find_pair(first, op.op, is_right, op.dtype);
      if (!sweep) continue;
      const auto ab = number_last(arg);
      drop(arg);
      const auto kind = is_right ? TapeForm::Kind::pair_right : TapeForm::Kind::pair;
      return {
          .sweep = sweep, .count = 3, .args = {ab[0], ab[1], other}, .form = {kind, first, op.op}};
    }
    return single(op);
  }

  TapeStep flushed(const ScalarInstr& op) {
    const std::int32_t arg = op.args[0], step = step_of_[at(arg)];
    if (uses_[at(arg)] != 1 || step < 0) return single(op);
    TapeStep made = steps_[at(step)];
    made.sweep = sweeps_.find_flushed(made.sweep);
    if (!made.sweep) return single(op);
    made.form = {.op = op.op};
    drop(arg);
    return made;
  }

  /// Where the other function of the same number is wanted too, the first one makes both.
  TapeStep gelu(std::int32_t i, ScalarOp other) {
    const ScalarInstr& op = instr(i);
    const auto is_other = [&](const ScalarInstr& o) {
      return o.op == other && o.args[0] == op.args[0];
    };
    const auto found = std::find_if(code_.begin(), code_.end(), is_other);
    if (!joins_functions_ || found == code_.end() || op.dtype != DType::f32) return single(op);
    const auto partner = static_cast<std::int32_t>(found - code_.begin());
    if (partner < i) return {};  // made there
    const bool is_value = other == ScalarOp::gelu_slope;
    return {.value = is_value ? i : partner,
            .also = is_value ? partner : i,
            .function = tape_.find_gelu_pair(),
            .count = 1,
            .args = {op.args[0]}};
  }

  TapeStep select(std::int32_t i) {
    const ScalarInstr& op = instr(i);
    const std::int32_t condition = op.args[0];
    if (!may_join(condition, i) || arity(instr(condition).op) != 2) return single(op);
    auto [a, b] = two_args(instr(condition));
    if (instr(a).dtype != op.dtype) return single(op);
    ScalarOp comparison = instr(condition).op;
    if (is_number_[at(a)]) {
      std::swap(a, b);
      comparison = mirrored(comparison);
    }
    const SweepFn sweep = sweeps_.find_select(comparison, op.dtype);
    if (!sweep) return single(op);
    drop(condition);
    return {.sweep = sweep,
            .count = 4,
            .args = {a, b, op.args[1], op.args[2]},
            .form = {TapeForm::Kind::select, comparison, ScalarOp::where}};
  }

  /// The comparison of b with a that says what this one says of a with b.
  static ScalarOp mirrored(ScalarOp comparison) {
    switch (comparison) {
      case ScalarOp::less: return ScalarOp::greater;
      case ScalarOp::less_equal: return ScalarOp::greater_equal;
      case ScalarOp::greater: return ScalarOp::less;
      case ScalarOp::greater_equal: return ScalarOp::less_equal;
      default: return comparison;
    }
  }

  /// The operands of a sum or product with a number behind, where kernels look for it.
  std::array<std::int32_t, 2> number_last(std::int32_t i) const {
    auto [a, b] = two_args(instr(i));
    const bool commutes = instr(i).op == ScalarOp::add || instr(i).op == ScalarOp::multiply;
    if (commutes && is_number_[at(a)]) std::swap(a, b);
    return {a, b};
  }

  TapeStep single(const ScalarInstr& op) const {
    TapeStep step;
    step.count = arity(op.op);
    step.form.op = op.op;
    std::copy_n(op.args.begin(), step.count, step.args.begin());
    const DType operand = instr(op.args[0]).dtype;
    step.sweep = sweeps_.find(op.op, op.op == ScalarOp::where ? op.dtype : operand);
    if (!step.sweep) step.function = tape_.find_function(op.op, operand);
    if (!step.sweep) step.run = tape_.find(op.op, operand, op.dtype);
    check_internal(step.sweep || step.run, "no kernel for ", name(op.op), " on ", operand);
    return step;
  }

  std::span<const ScalarInstr> code_;
  std::span<const char> is_number_;
  bool joins_functions_;
  const TapeTable& tape_;
  const SweepTable& sweeps_;
  std::vector<std::int32_t> uses_;     // reads of each value, two more if it is a result
  std::vector<std::int32_t> step_of_;  // where each instruction is done, -1 for none
  std::vector<TapeStep> steps_;        // dropped ones have no operands
};

}  // namespace

std::vector<TapeStep> tape_steps(const ScalarFn& fn, std::span<const char> is_number, Isa isa,
                                 bool joins_functions) {
  return StepFinder(fn, is_number, isa, joins_functions).run();
}

bool is_long(ScalarOp op) {
  return op == ScalarOp::normal_cdf || op == ScalarOp::normal_cdf_tanh ||
         op == ScalarOp::gelu_value || op == ScalarOp::gelu_slope;
}

bool takes_long(const ScalarFn& fn, std::span<const TapeStep> steps,
                std::span<const char> is_number) {
  return std::any_of(steps.begin(), steps.end(), [&](const TapeStep& step) {
    const auto value = static_cast<std::size_t>(step.value);
    const ScalarOp op = fn.code()[value].op;
    return !is_number[value] && (is_costly(op) || op == ScalarOp::sqrt || op == ScalarOp::rsqrt ||
                                 op == ScalarOp::divide || op == ScalarOp::reciprocal);
  });
}

}  // namespace blockgrad
