#include "blockgrad/graph/map.h"

#include "blockgrad/graph/view.h"

namespace blockgrad {

bool Map::makes(int result, const Layout& layout) const {
  constexpr std::int64_t least_row = 256;  // bytes
  const int last = layout.shape.rank() - 1;
  if (layout.is_dense()) return true;
  if (last < 1 || layout.strides[static_cast<std::size_t>(last)] != 1) return false;
  for (int a = 0; a + 1 < last; ++a) {
    const auto axis = static_cast<std::size_t>(a);
    if (layout.strides[axis] != layout.strides[axis + 1] * layout.shape[a + 1]) return false;
  }
  return layout.shape[last] * static_cast<std::int64_t>(size_of(fn.result_dtype(result))) >=
         least_row;
}

std::vector<TensorType> Map::infer(Types in) const {
  check_internal(in.size() == fn.inputs().size() && !in.empty(), "a map over ", fn.inputs().size(),
                 " inputs got ", in.size());
  for (std::size_t i = 0; i < in.size(); ++i) {
    require(in[i].dtype == fn.inputs()[i], "input ", i, " must be ", fn.inputs()[i], ", got ",
            in[i].dtype);
    require(in[i].shape == in[0].shape, "shapes differ: ", in[0].shape, " and ", in[i].shape);
  }
  std::vector<TensorType> out;
  out.reserve(fn.results().size());
  for (std::size_t r = 0; r < fn.results().size(); ++r) {
    out.push_back({fn.result_dtype(static_cast<int>(r)), in[0].shape});
  }
  return out;
}

Expr Map::log(std::span<const Expr> inputs) const {
  if (!is_function(fn, ScalarOp::sigmoid)) return {};
  ScalarRecorder recorder(fn.inputs());
  const Scalar results[] = {recorder.cast(-softplus(-recorder.input(0)), fn.result_dtype(0))};
  return make(Map{recorder.finish(results), "logsigmoid"}, {inputs[0]});
}

std::string Map::print() const { return to_string(fn); }

Cost Map::cost(Types in, Types out) const {
  Cost cost = detail::default_cost(in, out);
  double instructions = 0;
  for (const ScalarInstr& instr : fn.code()) instructions += arity(instr.op) > 0 ? 1 : 0;
  cost.flops = instructions * static_cast<double>(in[0].shape.size());
  return cost;
}

ScalarFn without_unused_inputs(const ScalarFn& fn, std::vector<int>& kept) {
  std::vector<DType> dtypes;
  std::vector<ScalarInstr> code(fn.code().begin(), fn.code().end());
  for (ScalarInstr& instr : code) {
    if (instr.op != ScalarOp::input) continue;
    kept.push_back(static_cast<int>(instr.bits));
    instr.bits = dtypes.size();
    dtypes.push_back(instr.dtype);
  }
  if (kept.empty()) {
    kept.push_back(0);
    dtypes.push_back(fn.inputs()[0]);
  }
  return {std::move(dtypes), std::move(code), {fn.results().begin(), fn.results().end()}};
}

std::vector<Expr> Map::vjp(const Backward& b) const {
  std::vector<int> wants;
  for (int i = 0; i < b.input_count(); ++i) {
    if (b.wants(i) && is_floating(b.input(i).dtype())) wants.push_back(i);
  }
  std::vector<Expr> gradients(static_cast<std::size_t>(b.input_count()));
  if (wants.empty()) return gradients;

  const ScalarFn adjoints = derivative(fn, wants);
  const int inputs = b.input_count();
  const int results = static_cast<int>(fn.results().size());
  const auto operand = [&](int i) {
    if (i < inputs) return b.input(i);
    return i < inputs + results ? b.y(i - inputs) : b.dy(i - inputs - results);
  };
  // An adjoint that is just one of the operands needs no node; the rest share one Map.
  std::vector<int> computed;
  std::vector<std::int32_t> registers;
  for (std::size_t w = 0; w < wants.size(); ++w) {
    const ScalarInstr& instr = adjoints.code()[static_cast<std::size_t>(adjoints.results()[w])];
    if (instr.op == ScalarOp::input) {
      gradients[static_cast<std::size_t>(wants[w])] = operand(static_cast<int>(instr.bits));
    } else if (instr.op == ScalarOp::constant && instr.bits == 0) {
      const Expr& in = b.input(wants[w]);  // a flat function: an exact zero that costs nothing
      gradients[static_cast<std::size_t>(wants[w])] =
          broadcast_to(constant(zeros({}, in.dtype())), in.shape());
    } else {
      computed.push_back(wants[w]);
      registers.push_back(adjoints.results()[w]);
    }
  }
  if (computed.empty()) return gradients;
  ScalarRecorder recorder(adjoints.inputs());
  std::vector<Scalar> args;
  for (std::size_t i = 0; i < adjoints.inputs().size(); ++i)
    args.push_back(recorder.input(static_cast<int>(i)));
  const ScalarFn selected({adjoints.inputs().begin(), adjoints.inputs().end()},
                          {adjoints.code().begin(), adjoints.code().end()}, registers);
  const std::vector<Scalar> values = recorder.inlined(selected, args);
  std::vector<int> kept;
  const ScalarFn pruned = without_unused_inputs(recorder.finish(values), kept);
  std::vector<Expr> operands;
  for (const int i : kept) operands.push_back(operand(i));
  const std::vector<Expr> made = make_all(Map{pruned, short_name}, std::move(operands));
  for (std::size_t c = 0; c < computed.size(); ++c)
    gradients[static_cast<std::size_t>(computed[c])] = made[c];
  return gradients;
}

namespace {

// bf16 or f16 if the inputs are, whose result is rounded once, at its end; else f32.
DType common_half(std::span<const DType> dtypes) {
  DType half = DType::f32;
  bool any = false;
  for (const DType dtype : dtypes) {
    if (!is_floating(dtype)) continue;
    require(!any || half == dtype || (!is_half(half) && !is_half(dtype)), "wants one dtype, got ",
            half, " and ", dtype, "; convert one with astype");
    half = dtype;
    any = true;
  }
  return half;
}

}  // namespace

Expr map(std::string_view short_name, std::initializer_list<Arg> args,
         const std::function<Scalar(std::span<const Scalar>)>& formula) {
  const Arg* lead = args.begin();
  for (const Arg& arg : args) {
    if (!arg.is_number()) {
      lead = &arg;
      break;
    }
  }
  try {
    std::vector<Expr> inputs;
    std::vector<DType> dtypes;
    std::vector<int> slot;  // of each argument; -1 for a number
    Shape shape;
    for (const Arg& arg : args) {
      if (arg.is_number() && &arg != lead) {
        slot.push_back(-1);
        continue;
      }
      const Expr expr = as_expr(arg, DType::f32);
      std::size_t at = 0;
      while (at < inputs.size() && !(inputs[at] == expr)) ++at;
      slot.push_back(static_cast<int>(at));
      if (at < inputs.size()) continue;
      shape = inputs.empty() ? expr.shape() : broadcast(shape, expr.shape());
      inputs.push_back(expr);
      dtypes.push_back(expr.dtype());
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> values;
    for (std::size_t i = 0; i < args.size(); ++i) {
      values.push_back(slot[i] < 0 ? Scalar((args.begin() + i)->number())
                                   : recorder.input(slot[i]));
    }
    const DType stored = common_half(dtypes);
    Scalar result = formula(values);
    if (result.is_number()) result = recorder.cast(result, dtypes[0]);
    if (is_half(stored) && result.dtype() == DType::f32) result = recorder.cast(result, stored);
    require(recorder.owns(result), "the formula gave a Scalar of another formula");
    for (Expr& in : inputs) in = broadcast_to(in, shape, lead->where());
    // A formula that is one of its arguments is that argument.
    const ScalarInstr& instr = recorder.instr(result);
    if (instr.op == ScalarOp::input) return inputs[static_cast<std::size_t>(instr.bits)];
    const Scalar results[] = {result};
    std::vector<int> kept;
    const ScalarFn fn = without_unused_inputs(recorder.finish(results), kept);
    std::vector<Expr> operands;
    for (const int i : kept) operands.push_back(inputs[static_cast<std::size_t>(i)]);
    return make(Map{fn, short_name}, std::move(operands), lead->where());
  } catch (const Error& error) {
    const std::string context = to_string(current_origin(lead->where()), short_name);
    if (std::string_view(error.what()).starts_with(context)) throw;
    throw Error(context + ": " + error.what());
  }
}

Expr cast(const Expr& x, DType dtype, SourceLoc where) {
  if (x.dtype() == dtype) return x;
  const DType inputs[] = {x.dtype()};
  ScalarRecorder recorder(inputs);
  const Scalar results[] = {recorder.cast(recorder.input(0), dtype)};
  return make(Map{recorder.finish(results), "astype"}, {x}, where);
}

Expr sum_of(std::span<const Expr> parts) {
  constexpr std::size_t most = 8;  // streams of one Map
  check_internal(!parts.empty(), "a sum of nothing");
  if (parts.size() == 1) return parts[0];
  std::vector<Expr> level;
  for (std::size_t first = 0; first < parts.size(); first += most) {
    const auto group = parts.subspan(first, std::min(most, parts.size() - first));
    if (group.size() == 1) {
      level.push_back(group[0]);
      continue;
    }
    const std::vector<DType> dtypes(group.size(), group[0].dtype());
    ScalarRecorder recorder(dtypes);
    Scalar total = recorder.input(0);
    for (std::size_t i = 1; i < group.size(); ++i)
      total = total + recorder.input(static_cast<int>(i));
    const Scalar results[] = {recorder.cast(total, group[0].dtype())};
    level.push_back(make(Map{recorder.finish(results), "add"}, {group.begin(), group.end()}));
  }
  return sum_of(level);
}

}  // namespace blockgrad
