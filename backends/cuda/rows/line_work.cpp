#include "backends/cuda/rows/line_work.h"

#include <algorithm>

#include "backends/cuda/rows/line_joins.h"

namespace blockgrad {

namespace {

bool has(const std::vector<RowValue>& values, RowValue v) {
  return std::find(values.begin(), values.end(), v) != values.end();
}

bool is_same_memory(const Operand& a, const Operand& b) {
  return a.place == b.place && a.at == b.at;
}

}  // namespace

LineWork::LineWork(CudaLines space, const RowProgram& program, std::span<const Operand> in,
                   std::span<const Operand> out)
    : lines(std::move(space)) {
  for (const Operand& operand : in) {
    Input input{operand.dtype, operand.layout.shape.size() == lines.lines(), {}};
    input.place =
        input.by_line ? place_of_lines(operand.layout) : place_of_elements(lines, operand.layout);
    while (input.place.run > 1 && operand.layout.offset % input.place.run != 0)
      input.place.run /= 2;
    input.by_line = input.by_line || (input.place.is_same_along && lines.length() > 0);
    inputs.push_back(std::move(input));
  }
  for (const RowStep& step : program.steps) {
    steps.push_back({step, 0, {}});
    if (step.reduce) {
      steps.back().dtypes = {reduced_dtype(*step.reduce, dtype(step.inputs[0]))};
      continue;
    }
    for (std::size_t r = 0; r < step.fn.results().size(); ++r)
      steps.back().dtypes.push_back(step.fn.result_dtype(static_cast<int>(r)));
  }
  find_passes();
  find_results(program, in, out);
}

DType LineWork::dtype(RowValue v) const {
  if (v.step < 0) return inputs[static_cast<std::size_t>(v.result)].dtype;
  return steps[static_cast<std::size_t>(v.step)].dtypes[static_cast<std::size_t>(v.result)];
}

bool LineWork::by_line(RowValue v) const {
  if (v.step < 0) return inputs[static_cast<std::size_t>(v.result)].by_line;
  const RowStep& step = steps[static_cast<std::size_t>(v.step)].step;
  return step.by_line || step.reduce;
}

bool LineWork::has_reduces(int pass) const {
  return std::any_of(steps.begin(), steps.end(),
                     [&](const Step& it) { return it.step.reduce && it.pass == pass; });
}

bool LineWork::needs_numbers() const {
  const auto counts = [](const Step& it) {
    return !it.step.reduce && !it.step.by_line &&
           std::any_of(it.step.fn.code().begin(), it.step.fn.code().end(),
                       [](const ScalarInstr& instr) { return instr.op == ScalarOp::flat_index; });
  };
  return std::any_of(inputs.begin(), inputs.end(),
                     [](const Input& in) { return in.place.needs_number; }) ||
         std::any_of(steps.begin(), steps.end(), counts);
}

void LineWork::find_passes() {
  for (Step& it : steps) {
    for (const RowValue v : it.step.inputs) {
      if (v.step < 0) continue;
      const Step& made = steps[static_cast<std::size_t>(v.step)];
      it.pass = std::max(it.pass, made.pass + (made.step.reduce ? 1 : 0));
    }
    if (it.step.reduce) last = std::max(last, it.pass);
  }
}

// A result in the place of an input waits for the last pass: every one before it may read that.
void LineWork::find_results(const RowProgram& program, std::span<const Operand> in,
                            std::span<const Operand> out) {
  for (std::size_t r = 0; r < program.results.size(); ++r) {
    Result result{program.results[r].value, DType::f32, false, 0, false};
    result.dtype = dtype(result.value);
    result.by_line = by_line(result.value);
    if (result.value.step >= 0)
      result.pass = steps[static_cast<std::size_t>(result.value.step)].pass;
    result.is_over_input = std::any_of(in.begin(), in.end(), [&](const Operand& operand) {
      return is_same_memory(operand, out[r]);
    });
    if (!result.by_line) last = std::max(last, result.pass);
    results.push_back(result);
  }
  for (Result& result : results) {
    if (result.is_over_input) result.pass = last;
  }
}

std::vector<LineWork::Pass> LineWork::passes(bool keeps) const {
  std::vector<Pass> all(static_cast<std::size_t>(last) + 1);
  std::vector<RowValue> known;  // of passes before
  for (int p = 0; p <= last; ++p) {
    Pass& pass = all[static_cast<std::size_t>(p)];
    std::vector<char> is_made(steps.size(), 0), is_loaded(inputs.size(), 0);
    const auto need = [&](auto self, RowValue v) -> void {
      if (by_line(v)) return;
      if (keeps && has(known, v)) {
        if (!has(pass.kept, v)) pass.kept.push_back(v);
        return;
      }
      if (v.step < 0) {
        is_loaded[static_cast<std::size_t>(v.result)] = 1;
        return;
      }
      if (is_made[static_cast<std::size_t>(v.step)]) return;
      is_made[static_cast<std::size_t>(v.step)] = 1;
      for (const RowValue in : steps[static_cast<std::size_t>(v.step)].step.inputs) self(self, in);
    };
    for (std::size_t s = 0; s < steps.size(); ++s) {
      if (!steps[s].step.reduce || steps[s].pass != p) continue;
      pass.reduces.push_back(static_cast<int>(s));
      need(need, steps[s].step.inputs[0]);
    }
    for (std::size_t r = 0; r < results.size(); ++r) {
      if (results[r].by_line || results[r].pass != p) continue;
      pass.results.push_back(static_cast<int>(r));
      need(need, results[r].value);
    }
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      if (!is_loaded[k]) continue;
      pass.loads.push_back(static_cast<int>(k));
      known.push_back({-1, static_cast<std::int32_t>(k)});
    }
    for (std::size_t s = 0; s < steps.size(); ++s) {
      if (!is_made[s]) continue;
      pass.steps.push_back(static_cast<int>(s));
      for (std::size_t r = 0; r < steps[s].dtypes.size(); ++r)
        known.push_back({static_cast<std::int32_t>(s), static_cast<std::int32_t>(r)});
    }
  }
  return all;
}

int LineWork::registers() const {
  const std::vector<Pass> all = passes(true);
  const auto first_of = [&](RowValue v) {
    const auto makes = [&](const Pass& pass) {
      const std::vector<int>& made = v.step < 0 ? pass.loads : pass.steps;
      return std::find(made.begin(), made.end(), v.step < 0 ? v.result : v.step) != made.end();
    };
    return std::find_if(all.begin(), all.end(), makes) - all.begin();
  };
  std::vector<std::int64_t> bytes(all.size());
  std::vector<RowValue> seen;
  for (std::size_t p = all.size(); p-- > 0;) {
    for (const RowValue v : all[p].kept) {
      if (has(seen, v)) continue;
      seen.push_back(v);
      for (auto q = static_cast<std::size_t>(first_of(v)); q <= p; ++q)
        bytes[q] += std::max<std::int64_t>(4, size_of(dtype(v)));
    }
    for (const int k : all[p].loads) {
      const RowValue v{-1, k};
      if (!has(seen, v)) bytes[p] += std::max<std::int64_t>(4, size_of(dtype(v)));
    }
  }
  return static_cast<int>(*std::max_element(bytes.begin(), bytes.end()) / 4);
}

std::int64_t LineWork::gathered_bytes() const {
  std::int64_t bytes = 0;
  for (const Step& it : steps) {
    if (it.step.reduce) bytes += LineGathering(*it.step.reduce, dtype(it.step.inputs[0])).bytes;
  }
  return bytes;
}

CudaPlace LineWork::dense() const {
  std::vector<std::int64_t> sizes;
  for (const CudaLines::Stretch& stretch : lines.stretches) sizes.push_back(stretch.size);
  return place_of_elements(lines, Layout::dense(Shape(sizes)));
}

std::int64_t LineWork::run() const {
  std::int64_t run = dense().run, widest = 1;
  for (const Input& in : inputs) {
    if (in.by_line) continue;
    run = std::min(run, in.place.run);
    widest = std::max<std::int64_t>(widest, size_of(in.dtype));
  }
  for (const Result& result : results) {
    if (!result.by_line) widest = std::max<std::int64_t>(widest, size_of(result.dtype));
  }
  run = std::min(run, 16 / widest);
  while (lines.innermost().size % run != 0) run /= 2;
  return run;
}

}  // namespace blockgrad
