#include "backends/cuda/rows/line_text.h"

#include <fmt/format.h>

#include "backends/cuda/maps/emit.h"
#include "backends/cuda/rows/line_joins.h"

namespace blockgrad {

namespace {

class LineText {
 public:
  LineText(const LineWork& work, const LineForm& form, const LineTask& task)
      : work_(work),
        form_(form),
        task_(task),
        passes_(work.passes(form.keeps)),
        dense_(work.dense()) {}

  std::string text() {
    open();
    find_line();
    load_lines();
    for (int p = 0; p < task_.first; ++p) join_parts(p);
    by_line_steps(task_.first);
    if (form_.keeps) declare_kept();
    for (int p = task_.first; p <= task_.last; ++p) {
      const LineWork::Pass& pass = passes_[static_cast<std::size_t>(p)];
      if (!pass.is_empty()) walk(pass);
      finish(pass.reduces);
      if (!task_.is_split) by_line_steps(p + 1);
    }
    if (task_.writes_lines) store_lines();
    return text_ + "}\n}  // namespace blockgrad\n";
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> text, Args&&... args) {
    text_ += fmt::format(text, std::forward<Args>(args)...);
    text_ += "\n";
  }

  const LineWork::Input& input(int k) const { return work_.inputs[static_cast<std::size_t>(k)]; }
  const LineWork::Step& step(int s) const { return work_.steps[static_cast<std::size_t>(s)]; }
  LineGathering gathering(int s) const {
    return {*step(s).step.reduce, work_.dtype(step(s).step.inputs[0])};
  }

  std::string name(RowValue v) const {
    if (v.step < 0) return fmt::format("{}{}", input(v.result).by_line ? "l" : "e", v.result);
    const RowStep& made = step(v.step).step;
    if (made.reduce) return fmt::format("m{}", v.step);
    return fmt::format("s{}_{}", v.step, made.fn.results()[static_cast<std::size_t>(v.result)]);
  }

  std::string body(int s, std::string_view position, std::string_view indent) const {
    std::vector<std::string> inputs;
    for (const RowValue v : step(s).step.inputs) inputs.push_back(name(v));
    return cuda_body(step(s).step.fn, inputs, fmt::format("s{}_", s), position, indent);
  }

  void open() {
    text_ = fmt::format(
        "\nnamespace blockgrad {{\nextern \"C\" __global__ void __launch_bounds__({}) "
        "KERNEL(long lines, long slices, long slice",
        form_.threads());
    for (std::size_t k = 0; k < work_.inputs.size(); ++k)
      text_ += fmt::format(", const {}* x{}", cuda_type(work_.inputs[k].dtype), k);
    for (std::size_t r = 0; r < work_.results.size(); ++r)
      text_ += fmt::format(", {}* y{}", cuda_type(work_.results[r].dtype), r);
    for (std::size_t s = 0; s < work_.steps.size(); ++s) {
      if (work_.steps[s].step.reduce)
        text_ += fmt::format(", {}* parts{}", gathering(static_cast<int>(s)).type, s);
    }
    text_ += ") {\n";
  }

  // Threads without a line of their own go along with the last one, and have no elements.
  void find_line() {
    line("  const int lane = static_cast<int>(threadIdx.x);");
    if (form_.is_wide) line("  const int x = lane % {0}, y = lane / {0};", form_.columns);
    else line("  const int x = lane / {0}, y = lane % {0};", form_.rows);
    line("  const long block = blockIdx.x{};", task_.is_split ? " / slices" : "");
    line("  const long own = block * {} + x;", form_.columns);
    line("  const bool has_line = own < lines;");
    line("  const long line = has_line ? own : lines - 1;");
    if (task_.is_split) {
      line("  const long number = blockIdx.x % slices;");
      line("  const long begin = number * slice, beyond = begin + slice;");
      line("  const long last = beyond < {0} ? beyond : {0};", work_.lines.length());
      line("  const long end = has_line ? last : begin;");
    } else {
      line("  const long begin = 0, end = has_line ? {} : 0;", work_.lines.length());
    }
    text_ += work_.lines.coordinates(false, "line", "  ");
    if (work_.needs_numbers()) {
      line("  const long e_line = {};", dense_.line);
    }
  }

  void load_lines() {
    for (std::size_t k = 0; k < work_.inputs.size(); ++k) {
      const LineWork::Input& in = work_.inputs[k];
      const std::string_view type = cuda_type(in.dtype);
      if (in.by_line) line("  const {0} l{1} = x{1}[{2}];", type, k, in.place.line);
      else line("  const {0}* const b{1} = x{1} + ({2});", type, k, in.place.line);
    }
    for (std::size_t r = 0; r < work_.results.size(); ++r) {
      const LineWork::Result& result = work_.results[r];
      if (!result.by_line)
        line("  {0}* const z{1} = y{1} + ({2});", cuda_type(result.dtype), r, dense_.line);
    }
    for (std::size_t s = 0; s < work_.steps.size(); ++s) declare_shared(static_cast<int>(s));
    // A line of one element has its place in common with values per line.
    if (work_.lines.length() == 1) line("  __syncthreads();");
  }

  bool needs_shared() const { return form_.is_wide || form_.rows > 32; }

  void declare_shared(int s) {
    if (!step(s).step.reduce) return;
    const LineGathering way = gathering(s);
    if (needs_shared())
      line("  __shared__ {} shared{}[{}];", way.type, s,
           form_.is_wide ? form_.threads() : form_.threads() / 32);
    line("  {} r{} = {};", way.type, s, way.none);
  }

  // Lines' steps that are known before a pass, and were not before.
  void by_line_steps(int pass) {
    for (std::size_t s = 0; s < work_.steps.size(); ++s) {
      const LineWork::Step& it = work_.steps[s];
      if (it.step.reduce || !it.step.by_line) continue;
      const bool is_new = pass == task_.first ? it.pass <= pass : it.pass == pass;
      if (is_new) text_ += body(static_cast<int>(s), "line", "  ");
    }
  }

  // Each array in shared memory is written once, so one barrier does.
  void join_across(const std::vector<int>& reduces) {
    for (const int s : reduces) {
      if (form_.is_wide) line("  shared{0}[lane] = r{0};", s);
      else if (form_.rows > 32) line("  lines::leave_warp(r{0}, shared{0});", s);
      else line("  r{0} = lines::across_lanes<{1}>(r{0});", s, form_.rows);
    }
    if (reduces.empty() || !needs_shared()) return;
    line("  __syncthreads();");
    for (const int s : reduces) {
      if (form_.is_wide)
        line("  r{0} = lines::across<{1}, {2}>(shared{0} + x);", s, form_.rows, form_.columns);
      else line("  r{0} = lines::across<{1}, 1>(shared{0});", s, form_.rows / 32);
    }
  }

  void take_value(int s) {
    const LineGathering way = gathering(s);
    line("  const {0} m{1} = static_cast<{0}>(r{1}.{2});", cuda_type(step(s).dtypes[0]), s,
         way.picks_index ? "index" : "value");
  }

  void finish(const std::vector<int>& reduces) {
    join_across(reduces);
    for (const int s : reduces) {
      if (task_.is_split)
        line("  if (has_line && y == 0) parts{0}[number * lines + line] = r{0};", s);
      else take_value(s);
    }
  }

  void join_parts(int pass) {
    std::vector<int> reduces;
    for (std::size_t s = 0; s < work_.steps.size(); ++s) {
      if (work_.steps[s].step.reduce && work_.steps[s].pass == pass)
        reduces.push_back(static_cast<int>(s));
    }
    for (const int s : reduces) {
      line("  for (long part = y; part < slices; part += {})", form_.rows);
      line("    r{0} = lines::join(r{0}, parts{0}[part * lines + line]);", s);
    }
    join_across(reduces);
    for (const int s : reduces) take_value(s);
  }

  int elements() const { return form_.turns * form_.vector; }

  std::string pack(DType dtype) const {
    return fmt::format("Pack<{}, {}>", cuda_type(dtype), form_.vector);
  }

  bool is_kept(RowValue v) const {
    if (!form_.keeps) return false;
    for (const LineWork::Pass& pass : passes_) {
      for (const RowValue kept : pass.kept) {
        if (kept == v) return true;
      }
    }
    return false;
  }

  void declare_kept() {
    for (std::size_t k = 0; k < work_.inputs.size(); ++k) {
      if (is_kept({-1, static_cast<std::int32_t>(k)}))
        line("  {} p{}[{}];", pack(work_.inputs[k].dtype), k, form_.turns);
    }
    for (std::size_t s = 0; s < work_.steps.size(); ++s) {
      for (std::size_t r = 0; r < work_.steps[s].dtypes.size(); ++r) {
        const RowValue v{static_cast<std::int32_t>(s), static_cast<std::int32_t>(r)};
        if (!work_.by_line(v) && is_kept(v))
          line("  {} h{}_{}[{}];", cuda_type(work_.dtype(v)), s, r, elements());
      }
    }
  }

  // A tile at a time: first everything it reads is loaded, then its elements are computed.
  void walk(const LineWork::Pass& pass) {
    if (form_.keeps) line("  {{\n    const long base = begin;");
    else line("  for (long base = begin; base < end; base += {}) {{", form_.tile());
    for (const int k : pass.loads) {
      if (!is_kept({-1, k})) line("    {} p{}[{}];", pack(input(k).dtype), k, form_.turns);
    }
    if (!pass.loads.empty()) {
      open_turn();
      for (const int k : pass.loads) load(k);
      line("    }}");
    }
    open_turn();
    for (const int r : pass.results)
      line("      {} q{};", pack(work_.results[static_cast<std::size_t>(r)].dtype), r);
    compute(pass);
    for (const int r : pass.results) store(r);
    line("    }}\n  }}");
  }

  void open_turn() {
    line("#pragma unroll");
    line("    for (int turn = 0; turn < {}; ++turn) {{", form_.turns);
    line("      const long j = base + (turn * {} + y) * {};", form_.rows, form_.vector);
    line("      if (j >= end) continue;");
  }

  bool is_in_packs(const CudaPlace& place) const {
    return form_.vector > 1 && place.run % form_.vector == 0;
  }

  void open_element(std::string_view number) {
    line("#pragma unroll");
    line("      for (int v = 0; v < {}; ++v) {{", form_.vector);
    text_ += work_.lines.coordinates(true, number, "        ");
    if (work_.needs_numbers()) line("        const long e = e_line + {};", dense_.along);
  }

  void load(int k) {
    const CudaPlace& place = input(k).place;
    if (is_in_packs(place)) {
      line("      {{");
      text_ += work_.lines.coordinates(true, "j", "        ");
      line("        p{0}[turn] = *reinterpret_cast<const {1}*>(b{0} + {2});", k,
           pack(input(k).dtype), place.along);
      line("      }}");
      return;
    }
    open_element("(j + v)");
    line("        p{0}[turn].at[v] = b{0}[{1}];", k, place.along);
    line("      }}");
  }

  void compute(const LineWork::Pass& pass) {
    open_element("(j + v)");
    const auto take = [&](int k) {
      line("        const {0} e{1} = p{1}[turn].at[v];", cuda_type(input(k).dtype), k);
    };
    for (const int k : pass.loads) take(k);
    for (const RowValue v : pass.kept) {
      if (v.step < 0) take(v.result);
      else
        line("        const {} {} = h{}_{}[turn * {} + v];", cuda_type(work_.dtype(v)), name(v),
             v.step, v.result, form_.vector);
    }
    for (const int s : pass.steps) {
      text_ += body(s, "e", "        ");
      for (std::size_t r = 0; r < step(s).dtypes.size(); ++r) {
        const RowValue v{s, static_cast<std::int32_t>(r)};
        if (is_kept(v)) line("        h{}_{}[turn * {} + v] = {};", s, r, form_.vector, name(v));
      }
    }
    for (const int s : pass.reduces) gather(s);
    for (const int r : pass.results)
      line("        q{}.at[v] = {};", r, name(work_.results[static_cast<std::size_t>(r)].value));
    line("      }}");
  }

  void gather(int s) {
    const LineGathering way = gathering(s);
    const std::string value = name(step(s).step.inputs[0]);
    line("        r{0} = lines::join(r{0}, {1}{{static_cast<{2}>({3}){4}}});", s, way.type,
         way.number, value, way.picks_index ? ", static_cast<int>(j + v)" : "");
  }

  void store(int r) {
    const DType dtype = work_.results[static_cast<std::size_t>(r)].dtype;
    if (is_in_packs(dense_)) {
      line("      {{");
      text_ += work_.lines.coordinates(true, "j", "        ");
      line("        *reinterpret_cast<{0}*>(z{1} + {2}) = q{1};", pack(dtype), r, dense_.along);
      line("      }}");
      return;
    }
    open_element("(j + v)");
    line("        z{0}[{1}] = q{0}.at[v];", r, dense_.along);
    line("      }}");
  }

  // Where an input may lie that another thread reads.
  void store_lines() {
    bool is_first = true;
    for (std::size_t r = 0; r < work_.results.size(); ++r) {
      const LineWork::Result& result = work_.results[r];
      if (!result.by_line) continue;
      if (is_first) {
        line("  __syncthreads();");
        line("  if (has_line && y == 0{}) {{", task_.is_split ? " && number == 0" : "");
      }
      is_first = false;
      line("    y{}[line] = {};", r, name(result.value));
    }
    if (!is_first) line("  }}");
  }

  const LineWork& work_;
  const LineForm& form_;
  const LineTask& task_;
  const std::vector<LineWork::Pass> passes_;
  const CudaPlace dense_;
  std::string text_;
};

}  // namespace

std::string line_text(const LineWork& work, const LineForm& form, const LineTask& task) {
  return LineText(work, form, task).text();
}

}  // namespace blockgrad
