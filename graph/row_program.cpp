#include "graph/row_program.h"

namespace blockgrad {

std::optional<RowSpace> space_of(const Reduce& reduce, const Shape& shape) {
  return space_of(shape, [&](int a) { return (reduce.axes >> a & 1u) != 0; });
}

DType reduced_dtype(ReduceKind kind, DType in) {
  switch (kind) {
    case ReduceKind::sum: return is_floating(in) ? working_dtype(in) : DType::i64;
    case ReduceKind::max:
    case ReduceKind::min: return in;
    case ReduceKind::argmax:
    case ReduceKind::argmin: return DType::i32;
  }
  return in;
}

namespace {

std::string text_of(RowValue v) {
  return v.step < 0 ? join({"in", v.result}) : join({"s", v.step, ".", v.result});
}

}  // namespace

std::vector<TensorType> RowProgram::infer(Types in) const {
  std::vector<std::vector<DType>> made(steps.size());
  const auto dtype = [&](RowValue v) {
    return v.step < 0 ? in[static_cast<std::size_t>(v.result)].dtype
                      : made[static_cast<std::size_t>(v.step)][static_cast<std::size_t>(v.result)];
  };
  for (const TensorType& type : in) {
    check_internal(type.shape.size() == space.elements() || type.shape.size() == space.lines(),
                   "a row program over ", space.spread().shape, " got ", to_string(type));
  }
  for (std::size_t s = 0; s < steps.size(); ++s) {
    const RowStep& step = steps[s];
    if (step.reduce) {
      made[s] = {reduced_dtype(*step.reduce, dtype(step.inputs[0]))};
      continue;
    }
    for (std::size_t i = 0; i < step.inputs.size(); ++i)
      check_internal(dtype(step.inputs[i]) == step.fn.inputs()[i], "step ", static_cast<int>(s),
                     " of a row program got ", dtype(step.inputs[i]));
    for (std::size_t r = 0; r < step.fn.results().size(); ++r)
      made[s].push_back(step.fn.result_dtype(static_cast<int>(r)));
  }
  std::vector<TensorType> types;
  for (const Result& result : results) types.push_back({dtype(result.value), result.shape});
  return types;
}

std::vector<Expr> RowProgram::vjp(const Backward&) const {
  fail_internal({"a row program is made after the gradient"});
}

std::string RowProgram::print() const {
  std::string text =
      to_string(space.tail == 1 ? Shape{space.outer, space.n, space.inner} : space.spread().shape);
  for (const RowStep& step : steps) {
    text += join({"; ", step.name, step.by_line && !step.reduce ? " by line(" : "("});
    for (std::size_t i = 0; i < step.inputs.size(); ++i)
      text += (i == 0 ? "" : ", ") + text_of(step.inputs[i]);
    text += ")";
  }
  text += " ->";
  for (const Result& result : results) text += " " + text_of(result.value);
  return text;
}

Cost RowProgram::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  cost.flops = 0;
  for (const RowStep& step : steps) {
    double instructions = step.reduce ? 1 : 0;
    if (!step.reduce) {
      for (const ScalarInstr& instr : step.fn.code()) instructions += arity(instr.op) > 0 ? 1 : 0;
    }
    const bool is_short = step.by_line && !step.reduce;
    cost.flops += instructions * static_cast<double>(is_short ? space.lines() : space.elements());
  }
  return cost;
}

}  // namespace blockgrad
