#include "backends/cpu/row_draft.h"

#include <algorithm>

#include "backends/cpu/numerics.h"
#include "backends/cpu/row_joins.h"
#include "backends/cpu/row_passes.h"
#include "backends/cpu/tape_steps.h"

namespace blockgrad {

using Kind = RowInstruction::Kind;
using From = RowDraftValue::From;

RowLines lines_of(const RowProgram& program) {
  constexpr std::int64_t long_line = 512;
  const RowSpace& space = program.space;
  const bool picks =
      std::any_of(program.steps.begin(), program.steps.end(),
                  [](const RowStep& step) { return step.reduce && picks_index(*step.reduce); });
  if (space.tail == 1 && (space.inner > 1 || space.n < long_line)) return RowLines::together;
  const bool goes_in_passes = !picks && space.length() > RowTape::pass_chunk;
  return goes_in_passes ? RowLines::in_passes : RowLines::alone;
}

RowDraft::RowDraft(const KernelRequest& request, RowLines lines)
    : space_(request.node.op.as<RowProgram>()->space),
      lines_(lines),
      is_long_(lines != RowLines::together) {
  const RowProgram& program = *request.node.op.as<RowProgram>();
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    Operand in = request.inputs[i];
    if (program.take_of(i)) {
      check_internal(!is_long_, "long lines are not taken by number");
      in.layout = Layout::dense(Shape{space_.elements()});
    }
    add_input(in);
  }
  for (const RowStep& step : program.steps) add_step(step);
  for (std::size_t r = 0; r < program.results.size(); ++r) add_result(program, r);
  if (lines == RowLines::in_passes)
    order_passes(values, code, space_.tail % RowTape::pass_chunk != 0);
  find_carried();
  join(request.isa);
  find_reads();
}

std::int32_t RowDraft::add_value(From from, DType dtype, bool by_line) {
  RowDraftValue made;
  made.from = from;
  made.dtype = dtype;
  made.by_line = by_line;
  values.push_back(std::move(made));
  const auto number = static_cast<std::int32_t>(values.size()) - 1;
  if (from != From::instruction) leaves.push_back(number);
  return number;
}

// A value per line in the layout of elements is taken once per line.
void RowDraft::add_input(const Operand& in) {
  const Walk walk(in.layout), spread(space_.spread());
  const bool by_line = in.layout.shape.size() == space_.lines();
  const bool is_spread = !by_line && !walk.is_scalar() && walk.rank == spread.rank &&
                         walk.sizes == spread.sizes && walk.strides == spread.strides;
  const std::int32_t v = add_value(From::input, in.dtype, by_line || is_spread);
  value(v).input = static_cast<std::int32_t>(inputs.size());
  inputs.push_back(v);
  input_walks_.push_back(is_spread ? Walk(Layout::dense(Shape{space_.lines()})) : walk);
  input_walks_.back().offset = walk.offset;
}

std::int32_t RowDraft::number(std::uint64_t bits, DType dtype) {
  for (const std::int32_t v : numbers_) {
    if (value(v).bits == bits && value(v).dtype == dtype) return v;
  }
  numbers_.push_back(add_value(From::number, dtype, false));
  value(numbers_.back()).bits = bits;
  return numbers_.back();
}

std::int32_t RowDraft::counter(bool by_line) {
  std::int32_t& known = counters_[by_line ? 1 : 0];
  if (known < 0) known = add_value(From::counter, DType::i64, by_line);
  return known;
}

bool RowDraft::is_scalar(std::int32_t v) {
  const RowDraftValue& it = value(v);
  return it.from == From::number || (it.from == From::input && walk(it).is_scalar());
}

bool RowDraft::is_spread(std::int32_t v) const {
  return std::any_of(spreads_.begin(), spreads_.end(), [&](auto s) { return s.second == v; });
}

// What elements read of a value: one per line is spread first, of a long line in front of the
// instructions that run chunk by chunk.
std::int32_t RowDraft::for_elements(std::int32_t v) {
  if (!value(v).by_line || is_scalar(v)) return v;
  for (const auto& [line, spread] : spreads_) {
    if (line == v) return spread;
  }
  const std::int32_t out = add_value(From::instruction, value(v).dtype, false);
  auto at = code.end();
  while (is_long_ && at != code.begin() && !(at - 1)->by_line && is_elementwise((at - 1)->kind))
    --at;
  code.insert(at, {Kind::spread, ScalarOp::input, ReduceKind::sum, false, out, {v}});
  spreads_.emplace_back(v, out);
  return out;
}

std::int32_t RowDraft::copied(std::int32_t v, bool by_line) {
  const std::int32_t out = add_value(From::instruction, value(v).dtype, by_line);
  code.push_back({Kind::copy, ScalarOp::input, ReduceKind::sum, by_line, out, {v}});
  return out;
}

std::int32_t RowDraft::source(RowValue v) const {
  return v.step < 0 ? inputs[static_cast<std::size_t>(v.result)]
                    : made_[static_cast<std::size_t>(v.step)][static_cast<std::size_t>(v.result)];
}

void RowDraft::add_step(const RowStep& step) {
  std::vector<std::int32_t> in;
  for (const RowValue v : step.inputs)
    in.push_back(step.by_line && !step.reduce ? source(v) : for_elements(source(v)));
  if (step.reduce) return add_reduce(step, in[0]);
  std::vector<std::int32_t> local;
  for (const ScalarInstr& instr : step.fn.code())
    local.push_back(add_scalar(step, instr, in, local));
  made_.emplace_back();
  for (const std::int32_t r : step.fn.results())
    made_.back().push_back(local[static_cast<std::size_t>(r)]);
}

// Equal instructions give one value: two Reduces may differ only in the shape of their results.
std::int32_t RowDraft::made_by(RowDraftInstruction wanted, DType dtype) {
  for (const RowDraftInstruction& step : code) {
    const bool equal = step.kind == wanted.kind && step.op == wanted.op &&
                       step.reduce == wanted.reduce && step.by_line == wanted.by_line &&
                       step.args == wanted.args;
    if (equal && value(step.out).dtype == dtype) return step.out;
  }
  wanted.out = add_value(From::instruction, dtype, wanted.by_line);
  code.push_back(wanted);
  return wanted.out;
}

// Lines are added as f32.
void RowDraft::add_reduce(const RowStep& step, std::int32_t of) {
  if (is_half(value(of).dtype))
    of = made_by({Kind::map, ScalarOp::cast, ReduceKind::sum, value(of).by_line, -1, {of}},
                 DType::f32);
  if (is_scalar(of) || (is_long_ && is_spread(of))) of = copied(of, false);
  made_.push_back({made_by({Kind::reduce, ScalarOp::input, *step.reduce, true, -1, {of}},
                           reduced_dtype(*step.reduce, value(of).dtype))});
}

std::int32_t RowDraft::add_scalar(const RowStep& step, const ScalarInstr& instr,
                                  const std::vector<std::int32_t>& in,
                                  const std::vector<std::int32_t>& local) {
  if (instr.op == ScalarOp::input) return in[static_cast<std::size_t>(instr.bits)];
  if (instr.op == ScalarOp::constant) return number(instr.bits, instr.dtype);
  if (instr.op == ScalarOp::flat_index) return counter(step.by_line);
  std::vector<std::int32_t> args;
  for (int a = 0; a < arity(instr.op); ++a)
    args.push_back(local[static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)])]);
  return made_by({Kind::map, instr.op, ReduceKind::sum, step.by_line, -1, std::move(args)},
                 instr.dtype);
}

void RowDraft::add_result(const RowProgram& program, std::size_t r) {
  const RowValue result = program.results[r].value;
  const bool by_line = program.steps[static_cast<std::size_t>(result.step)].by_line;
  std::int32_t v = by_line ? source(result) : for_elements(source(result));
  if (program.results[r].over > 1) {
    check_internal(!is_long_, "long lines are not added up");
    if (is_scalar(v)) v = copied(v, false);
    const std::int32_t sums = add_value(From::instruction, value(v).dtype, false);
    code.push_back({Kind::sum_lines, ScalarOp::input, ReduceKind::sum, false, sums, {v}});
    value(sums).results.push_back(static_cast<std::int32_t>(r));
    return;
  }
  if (value(v).from != From::instruction || is_spread(v) || !value(v).results.empty())
    v = copied(v, by_line);
  value(v).results.push_back(static_cast<std::int32_t>(r));
}

void RowDraft::find_carried() {
  for (auto step = code.rbegin(); step != code.rend(); ++step) {
    for (std::size_t a = 0; a < step->args.size(); ++a) {
      RowDraftValue& arg = value(step->args[a]);
      const bool passes = step->kind == Kind::map         ? carries(step->op, static_cast<int>(a))
                          : step->kind == Kind::reduce    ? step->reduce == ReduceKind::sum
                          : step->kind == Kind::sum_lines ? true
                                                          : value(step->out).is_carried;
      arg.is_carried = arg.is_carried || passes;
    }
  }
}

// Whether elements read the same of it all along a chunk.
bool RowDraft::stays(std::int32_t v) { return is_scalar(v) || (is_long_ && is_spread(v)); }

void RowDraft::join(Isa isa) {
  std::vector<RowDraftInstruction> joined;
  for (std::size_t first = 0; first < code.size();) {
    std::size_t last = first;
    while (last < code.size() && code[last].kind == Kind::map &&
           code[last].by_line == code[first].by_line)
      ++last;
    if (last == first) {
      joined.push_back(code[first++]);
      continue;
    }
    join_run(first, last, isa, joined);
    first = last;
  }
  code = std::move(joined);
}

// Maps first .. last-1 as a scalar program of their own, whose results are what others read.
void RowDraft::join_run(std::size_t first, std::size_t last, Isa isa,
                        std::vector<RowDraftInstruction>& joined) {
  std::vector<DType> dtypes;
  std::vector<ScalarInstr> program;
  std::vector<std::int32_t> values_of;  // of each instruction of the program
  std::vector<char> is_number;
  const auto place = [&](std::int32_t v) {
    const auto known = std::find(values_of.begin(), values_of.end(), v);
    if (known != values_of.end()) return static_cast<std::int32_t>(known - values_of.begin());
    program.push_back({ScalarOp::input, value(v).dtype, {-1, -1, -1}, dtypes.size()});
    dtypes.push_back(value(v).dtype);
    values_of.push_back(v);
    is_number.push_back(stays(v) ? 1 : 0);
    return static_cast<std::int32_t>(values_of.size()) - 1;
  };
  for (std::size_t i = first; i < last; ++i) {
    ScalarInstr instr{code[i].op, value(code[i].out).dtype, {-1, -1, -1}, 0};
    for (std::size_t a = 0; a < code[i].args.size(); ++a) instr.args[a] = place(code[i].args[a]);
    program.push_back(instr);
    values_of.push_back(code[i].out);
    is_number.push_back(0);
  }
  std::vector<std::int32_t> results;
  for (std::size_t p = 0; p < program.size(); ++p) {
    const auto reads = [&](const RowDraftInstruction& step) {
      return std::find(step.args.begin(), step.args.end(), values_of[p]) != step.args.end();
    };
    const auto begin = code.begin();
    const bool is_read = std::any_of(begin, begin + static_cast<std::ptrdiff_t>(first), reads) ||
                         std::any_of(begin + static_cast<std::ptrdiff_t>(last), code.end(), reads);
    const bool is_made = program[p].op != ScalarOp::input;
    if (is_made && (is_read || !value(values_of[p]).results.empty()))
      results.push_back(static_cast<std::int32_t>(p));
  }
  const ScalarFn fn(std::move(dtypes), std::move(program), std::move(results));
  for (const TapeStep& step : tape_steps(fn, is_number, isa, false)) {
    RowDraftInstruction made;
    made.by_line = code[first].by_line;
    made.out = values_of[static_cast<std::size_t>(step.value)];
    for (const std::int32_t a : step.operands())
      made.args.push_back(values_of[static_cast<std::size_t>(a)]);
    made.run = step.run;
    made.sweep = step.sweep;
    made.form = step.form;
    joined.push_back(std::move(made));
  }
}

void RowDraft::find_reads() {
  for (std::size_t i = 0; i < code.size(); ++i) {
    for (const std::int32_t arg : code[i].args) value(arg).last_read = static_cast<std::int32_t>(i);
  }
}

std::int32_t RowDraft::last_of_pass(std::int32_t i) const {
  const auto ends = [&](std::size_t at) {
    return lines_ == RowLines::in_passes && code[at].kind == Kind::reduce &&
           code[at + 1].kind != Kind::reduce;
  };
  auto at = static_cast<std::size_t>(i);
  while (at + 1 < code.size() && !ends(at)) ++at;
  return static_cast<std::int32_t>(at);
}

std::int32_t RowDraft::last_map_of_pass(std::int32_t i) const {
  std::int32_t last = last_of_pass(i);
  while (last > i && code[static_cast<std::size_t>(last)].kind == Kind::reduce) --last;
  return last;
}

int RowDraft::passes_reading(std::int32_t v) const {
  int passes = 0;
  std::int32_t counted = -1;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(code.size()); ++i) {
    const std::vector<std::int32_t>& args = code[static_cast<std::size_t>(i)].args;
    if (i <= counted || std::find(args.begin(), args.end(), v) == args.end()) continue;
    counted = last_of_pass(i);
    ++passes;
  }
  return passes;
}

int RowDraft::reduces_reading(std::int32_t v) const {
  return static_cast<int>(
      std::count_if(code.begin(), code.end(), [&](const RowDraftInstruction& step) {
        return step.kind == Kind::reduce && step.args[0] == v;
      }));
}

// Made by a Map, reduced once, and neither a result nor read by a later pass.
bool RowDraft::may_lie_anywhere(std::int32_t v) const {
  const RowDraftValue& it = values[static_cast<std::size_t>(v)];
  const auto maker = std::find_if(code.begin(), code.end(),
                                  [&](const RowDraftInstruction& step) { return step.out == v; });
  return maker != code.end() && is_elementwise(maker->kind) && it.results.empty() && !it.is_kept &&
         reduces_reading(v) == 1;
}

std::vector<std::int32_t> RowDraft::reduced_together(std::size_t most) const {
  std::vector<std::int32_t> all;
  const auto is_reduce = [](const RowDraftInstruction& step) { return step.kind == Kind::reduce; };
  for (auto at = code.begin(); lines_ == RowLines::in_passes && at != code.end();) {
    const auto first = std::find_if(at, code.end(), is_reduce);
    at = std::find_if_not(first, code.end(), is_reduce);
    std::vector<std::int32_t> set;
    for (auto step = first; step != at && set.size() < most; ++step) {
      const std::int32_t v = step->args[0];
      const DType dtype = values[static_cast<std::size_t>(v)].dtype;
      const bool is_alike = step->reduce == first->reduce &&
                            dtype == values[static_cast<std::size_t>(first->args[0])].dtype;
      if (is_alike && !picks_index(step->reduce) && may_lie_anywhere(v)) set.push_back(v);
    }
    if (set.size() > 1) all.insert(all.end(), set.begin(), set.end());
  }
  return all;
}

}  // namespace blockgrad
