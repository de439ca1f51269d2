#include "backends/cuda/rows/line_launches.h"

#include <algorithm>
#include <bit>

#include "backends/cuda/rows/line_joins.h"
#include "backends/cuda/rows/line_text.h"

namespace blockgrad {

namespace {

constexpr int block_threads = 256, most_threads = 1024;
constexpr int most_elements = 16;                // of a thread that keeps them, of which one more
constexpr int most_elements_of_largest = 32;     // in the largest block
constexpr int most_registers = 65536;            // of a processor, for all that a block keeps
constexpr std::int64_t most_shared = 40 * 1024;  // bytes of a block
// What any processor has for variables of a block.
constexpr std::int64_t most_static_shared = 48 * 1024;
constexpr std::int64_t longest_of_warp = 512;  // elements of a line
constexpr std::int64_t wanted_blocks = 528;    // four for each processor of the largest devices
constexpr std::int64_t least_turns = 4;        // tiles of a slice

std::int64_t divided_up(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

int power_of_two_up_to(std::int64_t n, int most) {
  return static_cast<int>(std::min<std::uint64_t>(
      std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(n, 1))),
      static_cast<std::uint64_t>(most)));
}

/// With what passes share in registers, if that fits; a tile is a line then.
bool keep(LineForm& form, const LineWork& work, int rows, int columns) {
  const std::int64_t turns = divided_up(work.lines.length(), std::int64_t{rows} * form.vector);
  const std::int64_t elements = turns * form.vector;
  const bool is_largest = rows * columns == most_threads;
  if (elements > (is_largest || rows <= 32 ? most_elements_of_largest : most_elements))
    return false;
  // Half of the registers are for everything else.
  if (2 * elements * work.registers() * std::max(rows * columns, 512) > most_registers)
    return false;
  if (form.is_wide && work.gathered_bytes() * rows * columns > most_shared) return false;
  form.rows = rows;
  form.columns = columns;
  form.turns = static_cast<int>(turns);
  return form.keeps = true;
}

/// Neighbouring threads have neighbouring lines.
void choose_wide(LineForm& form, const LineWork& work) {
  const std::int64_t length = work.lines.length();
  const int columns = power_of_two_up_to(work.lines.lines(), 32);
  for (int rows = 1; work.last > 0 && rows <= most_threads / 32; rows *= 2) {
    const int threads = std::max(block_threads, 32 * rows);
    if (keep(form, work, rows, threads / rows)) return;
  }
  int threads = block_threads;
  while (threads > 32 && work.gathered_bytes() * threads > most_shared) threads /= 2;
  form.rows = power_of_two_up_to(length / form.turns, threads / columns);
  form.columns = threads / form.rows;
}

/// Neighbouring threads have neighbouring elements of a line.
void choose_long(LineForm& form, const LineWork& work) {
  const std::int64_t length = work.lines.length();
  form.vector = static_cast<int>(work.run());
  const std::int64_t packs = divided_up(length, form.vector);
  if (length <= longest_of_warp) {
    form.rows = power_of_two_up_to(packs, 32);
    form.columns = block_threads / form.rows;
    form.turns = static_cast<int>(std::clamp<std::int64_t>(divided_up(packs, form.rows), 1, 4));
    if (work.last > 0) keep(form, work, form.rows, form.columns);
    return;
  }
  // With as few idle threads as can be, then as few threads.
  int best = 0;
  std::int64_t least_idle = 0;
  for (int turns = 1; turns * form.vector <= most_elements; ++turns) {
    const std::int64_t rows = divided_up(divided_up(packs, turns), 32) * 32;
    if (rows < 64 || rows > most_threads) continue;
    const std::int64_t idle = rows * turns - packs;
    if (best > 0 && idle > least_idle) continue;
    best = static_cast<int>(rows);
    least_idle = idle;
  }
  if (work.last > 0 && best > 0 && keep(form, work, best, 1)) return;
  if (work.last > 0 && keep(form, work, most_threads, 1)) return;
  form.rows = block_threads;
  form.turns = form.vector >= 4 ? 2 : 4;
}

LineForm form_of(const LineWork& work) {
  LineForm form;
  form.is_wide = !work.lines.innermost().is_along && work.lines.innermost().size > 1;
  if (form.is_wide) choose_wide(form, work);
  else choose_long(form, work);
  return form;
}

/// The launches of one program, behind those of others.
class LineLaunches {
 public:
  /// The operands begin with these ones of the node.
  LineLaunches(const LineWork& work, std::span<const Operand> in, std::size_t first_in,
               std::size_t first_out)
      : work_(work), form_(form_of(work_)), in_(in), first_in_(first_in), first_out_(first_out) {}

  void add_to(CudaWork& made) {
    if (work_.lines.lines() == 0) return;
    choose_slices();
    place_parts(made);
    if (slices_ == 1) add(made, {0, work_.last, false, true}, "lines");
    else add_passes(made);
  }

  std::string why() const {
    return join({work_.lines.lines(), " lines of ", work_.lines.length(), ", ", form_.columns,
                 " by ", form_.rows, " threads of a block",
                 slices_ > 1 ? join({", ", slices_, " slices of each"}) : ""});
  }

 private:
  // As line_text() declares them.
  std::int64_t shared_bytes() const {
    if (form_.is_wide) return work_.gathered_bytes() * form_.threads();
    return form_.rows > 32 ? work_.gathered_bytes() * (form_.threads() / 32) : 0;
  }

  std::int64_t line_blocks() const { return divided_up(work_.lines.lines(), form_.columns); }

  // Few lines that are long are cut, so that there is work for all processors.
  void choose_slices() {
    if (form_.keeps) return;
    const std::int64_t tiles = divided_up(work_.lines.length(), form_.tile());
    const std::int64_t most = std::max<std::int64_t>(1, wanted_blocks / line_blocks());
    const std::int64_t each =
        std::max(least_turns, divided_up(std::max<std::int64_t>(tiles, 1), most));
    slice_ = each * form_.tile();
    slices_ = std::max<std::int64_t>(1, divided_up(tiles, each));
  }

  void place_parts(CudaWork& made) {
    for (const LineWork::Step& it : work_.steps) {
      if (!it.step.reduce) continue;
      parts_.push_back(made.scratch);
      if (slices_ == 1) continue;
      const LineGathering way(*it.step.reduce, work_.dtype(it.step.inputs[0]));
      made.scratch += divided_up(slices_ * work_.lines.lines() * way.bytes, 256) * 256;
    }
  }

  // Values per line lie where another block might still read an input, unless a launch behind the
  // others writes them.
  void add_passes(CudaWork& made) {
    const bool has_lines = std::any_of(work_.results.begin(), work_.results.end(),
                                       [](const auto& result) { return result.by_line; });
    const bool waits = work_.has_reduces(work_.last) ||
                       std::any_of(work_.results.begin(), work_.results.end(),
                                   [](const auto& it) { return it.by_line && it.is_over_input; });
    const std::vector<LineWork::Pass> passes = work_.passes(false);
    for (int p = 0; p <= work_.last; ++p) {
      const bool writes = has_lines && !waits && p == work_.last;
      if (!passes[static_cast<std::size_t>(p)].is_empty() || writes)
        add(made, {p, p, true, writes}, "line slices");
    }
    if (has_lines && waits) add(made, {work_.last + 1, work_.last, false, true}, "line ends");
  }

  void add(CudaWork& made, const LineTask& task, std::string_view name) {
    CudaLaunch launch;
    launch.text = {line_text(work_, form_, task), {line_joins_text()}, name};
    launch.threads = form_.threads();
    check_internal(shared_bytes() <= most_static_shared, why(), " want ", shared_bytes(),
                   " bytes of shared memory");
    launch.blocks = line_blocks() * (task.is_split ? slices_ : 1);
    using Kind = CudaArg::Kind;
    for (const std::int64_t number : {work_.lines.lines(), slices_, slice_})
      launch.args.push_back({Kind::number, 0, number});
    for (std::size_t k = 0; k < in_.size(); ++k) {
      launch.args.push_back(
          {Kind::input, static_cast<std::int32_t>(first_in_ + k),
           in_[k].layout.offset * static_cast<std::int64_t>(size_of(in_[k].dtype))});
    }
    for (std::size_t r = 0; r < work_.results.size(); ++r)
      launch.args.push_back({Kind::output, static_cast<std::int32_t>(first_out_ + r), 0});
    for (const std::int64_t at : parts_) launch.args.push_back({Kind::scratch, 0, at});
    made.launches.push_back(std::move(launch));
  }

  const LineWork& work_;
  const LineForm form_;
  const std::span<const Operand> in_;
  const std::size_t first_in_, first_out_;
  std::int64_t slices_ = 1, slice_ = 0;
  std::vector<std::int64_t> parts_;  // of each Reduce, bytes into the scratch
};

}  // namespace

std::string add_lines(CudaWork& made, const LineWork& work, std::span<const Operand> in,
                      std::size_t first_in, std::size_t first_out) {
  LineLaunches launches(work, in, first_in, first_out);
  launches.add_to(made);
  return launches.why();
}

}  // namespace blockgrad
