#include "graph/row_program.h"

#include <algorithm>

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
  for (const Take& take : takes) {
    const TensorType& table = in[static_cast<std::size_t>(take.table)];
    const TensorType& numbers = in[static_cast<std::size_t>(take.numbers)];
    check_internal(space.inner == 1 && space.tail == 1 &&
                       table.shape.size() == table.shape[0] * space.n &&
                       numbers.shape.size() == space.outer &&
                       (numbers.dtype == DType::i32 || numbers.dtype == DType::i64),
                   "a row program over ", space.spread().shape, " takes rows of ", to_string(table),
                   " by ", to_string(numbers));
  }
  for (std::size_t i = 0; i < in.size(); ++i) {
    const TensorType& type = in[i];
    check_internal(
        take_of(i) || type.shape.size() == space.elements() || type.shape.size() == space.lines(),
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
  for (const Result& result : results) {
    check_internal(result.over == 1 || (space.inner == 1 && space.tail == 1 &&
                                        result.shape.size() * result.over == space.elements()),
                   "a row program over ", space.spread().shape, " adds up ", result.over, " lines");
    types.push_back({dtype(result.value), result.shape});
  }
  return types;
}

const RowProgram::Take* RowProgram::take_of(std::size_t input) const {
  const auto found = std::find_if(takes.begin(), takes.end(), [&](const Take& take) {
    return static_cast<std::size_t>(take.table) == input;
  });
  return found == takes.end() ? nullptr : &*found;
}

bool RowProgram::accepts(int input, const Layout& layout) const {
  const bool is_taken = std::any_of(takes.begin(), takes.end(), [&](const Take& take) {
    return take.table == input || take.numbers == input;
  });
  return !is_taken || layout.is_dense();
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
  for (const Take& take : takes) text += join({"; in", take.table, " by in", take.numbers});
  text += " ->";
  for (const Result& result : results) {
    text += " " + text_of(result.value);
    if (result.over > 1) text += join({" over ", result.over});
  }
  return text;
}

Cost RowProgram::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  cost.flops = 0;
  for (const Take& take : takes) {
    const TensorType& table = in[static_cast<std::size_t>(take.table)];
    cost.bytes +=
        static_cast<double>(space.elements() * static_cast<std::int64_t>(size_of(table.dtype))) -
        static_cast<double>(bytes_of(table));
  }
  for (const RowStep& step : steps) {
    double instructions = step.reduce ? 1 : 0;
    if (!step.reduce) {
      for (const ScalarInstr& instr : step.fn.code()) instructions += arity(instr.op) > 0 ? 1 : 0;
    }
    const bool is_short = step.by_line && !step.reduce;
    cost.flops += instructions * static_cast<double>(is_short ? space.lines() : space.elements());
  }
  for (const Result& result : results) {
    if (result.over > 1) cost.flops += static_cast<double>(space.elements());
  }
  return cost;
}

ScalarPart part_of(const ScalarFn& fn, std::span<const std::int32_t> results) {
  const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  std::vector<char> is_needed(fn.code().size(), 0), is_read(fn.inputs().size(), 0);
  for (const std::int32_t r : results) is_needed[at(fn.results()[at(r)])] = 1;
  for (std::size_t i = fn.code().size(); i-- > 0;) {
    const ScalarInstr& instr = fn.code()[i];
    if (!is_needed[i]) continue;
    if (instr.op == ScalarOp::input) is_read[static_cast<std::size_t>(instr.bits)] = 1;
    for (int a = 0; a < arity(instr.op); ++a) is_needed[at(instr.args[at(a)])] = 1;
  }
  ScalarPart part;
  std::vector<DType> dtypes;
  for (std::size_t j = 0; j < is_read.size(); ++j) {
    if (!is_read[j]) continue;
    part.inputs.push_back(static_cast<std::int32_t>(j));
    dtypes.push_back(fn.inputs()[j]);
  }
  ScalarRecorder recorder(dtypes);
  std::vector<Scalar> args, made;
  int next = 0;
  for (std::size_t j = 0; j < is_read.size(); ++j)
    args.push_back(is_read[j] ? recorder.input(next++) : recorder.constant(0, fn.inputs()[j]));
  const std::vector<Scalar> all = recorder.inlined(fn, args);
  for (const std::int32_t r : results) made.push_back(all[at(r)]);
  part.fn = recorder.finish(made);
  return part;
}

RowPart part_of(const RowProgram& program, std::vector<RowProgram::Result> results) {
  check_internal(program.takes.empty(), "parts of row programs are made before takes");
  const auto at = [](std::int32_t i) { return static_cast<std::size_t>(i); };
  constexpr std::int32_t unneeded = -1, needed = 0;
  std::vector<std::int32_t> input_of;  // numbers in the part
  std::vector<std::int32_t> step_of(program.steps.size(), unneeded);
  std::vector<std::vector<std::int32_t>> result_of(program.steps.size());
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const RowStep& step = program.steps[s];
    result_of[s].assign(step.reduce ? 1 : step.fn.results().size(), unneeded);
  }
  const auto need = [&](RowValue v) {
    std::vector<std::int32_t>& of = v.step < 0 ? input_of : result_of[at(v.step)];
    if (v.step < 0 && at(v.result) >= of.size()) of.resize(at(v.result) + 1, unneeded);
    of[at(v.result)] = needed;
  };
  for (const RowProgram::Result& result : results) need(result.value);
  std::vector<RowStep> steps;  // the last one first
  for (std::size_t s = program.steps.size(); s-- > 0;) {
    std::vector<std::int32_t> kept;
    for (std::size_t r = 0; r < result_of[s].size(); ++r) {
      if (result_of[s][r] == unneeded) continue;
      result_of[s][r] = static_cast<std::int32_t>(kept.size());
      kept.push_back(static_cast<std::int32_t>(r));
    }
    if (kept.empty()) continue;
    RowStep step = program.steps[s];
    if (!step.reduce) {
      ScalarPart part = part_of(step.fn, kept);
      step.fn = std::move(part.fn);
      step.inputs.clear();
      for (const std::int32_t j : part.inputs)
        step.inputs.push_back(program.steps[s].inputs[at(j)]);
    }
    for (const RowValue v : step.inputs) need(v);
    step_of[s] = needed;
    steps.push_back(std::move(step));
  }
  RowPart part{{program.space, {steps.rbegin(), steps.rend()}, std::move(results)}, {}};
  std::int32_t count = 0;
  for (std::int32_t& step : step_of) step = step == unneeded ? unneeded : count++;
  for (std::size_t j = 0; j < input_of.size(); ++j) {
    if (input_of[j] == unneeded) continue;
    input_of[j] = static_cast<std::int32_t>(part.inputs.size());
    part.inputs.push_back(static_cast<std::int32_t>(j));
  }
  const auto renamed = [&](RowValue v) {
    return v.step < 0 ? RowValue{-1, input_of[at(v.result)]}
                      : RowValue{step_of[at(v.step)], result_of[at(v.step)][at(v.result)]};
  };
  for (RowStep& step : part.program.steps) {
    for (RowValue& v : step.inputs) v = renamed(v);
  }
  for (RowProgram::Result& result : part.program.results) result.value = renamed(result.value);
  return part;
}

}  // namespace blockgrad
