// Reduce on the CPU: lines that lie in a row, lines side by side in columns, and any other layout
// line by line, a group of blocks at a time, gathered where they do not lie in a row. All add in
// the same order, which depends on the number of elements alone.
#include <algorithm>
#include <array>
#include <memory>

#include "backends/cpu/block_tree.h"
#include "backends/cpu/cache_size.h"
#include "backends/cpu/families.h"
#include "backends/cpu/handover.h"
#include "backends/cpu/prefetch.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_elements = 32768;
constexpr std::int64_t lanes = 16;  // of a block; see ReduceFn
// Of a line's group, which is a power of two of blocks: its copy stays in the first cache level.
constexpr std::int64_t most_group_bytes = 32 * 1024;

Layout axes_of(const Layout& layout, std::uint32_t axes, bool reduced) {
  std::vector<std::int64_t> sizes;
  Layout result;
  for (int a = 0; a < layout.shape.rank(); ++a) {
    if ((axes >> a & 1u) != static_cast<std::uint32_t>(reduced)) continue;
    result.strides[sizes.size()] = layout.strides[static_cast<std::size_t>(a)];
    sizes.push_back(layout.shape[a]);
  }
  result.shape = Shape(sizes);
  return result;
}

class Reduction {
 public:
  explicit Reduction(const KernelRequest& request)
      : kept_(axes_of(request.inputs[0].layout, request.node.op.as<Reduce>()->axes, false)),
        line_(axes_of(request.inputs[0].layout, request.node.op.as<Reduce>()->axes, true)) {
    const Reduce& op = *request.node.op.as<Reduce>();
    const DType in = request.inputs[0].dtype;
    offset_ = request.inputs[0].layout.offset;
    in_size_ = static_cast<std::int64_t>(size_of(in));
    out_size_ = static_cast<std::int64_t>(size_of(request.outputs[0].dtype));
    lines_ = request.outputs[0].layout.shape.size();
    n_ = lines_ == 0 ? 0 : request.inputs[0].layout.shape.size() / lines_;
    picks_index_ = op.kind == ReduceKind::argmax || op.kind == ReduceKind::argmin;
    run_ = kept_.rank > 0 ? kept_.sizes[static_cast<std::size_t>(kept_.rank - 1)] : 1;
    step_ = kept_.rank > 0 ? kept_.strides[static_cast<std::size_t>(kept_.rank - 1)] : 0;
    const TapeTable& table = tape_table(request.isa);
    rows_ = table.find_rows(op.kind, in);
    columns_ = table.find_columns(op.kind, in);
    check_internal(rows_ && columns_, "no kernel for ", name(op.kind), " of ", in);
    if (line_.is_contiguous()) form_ = Form::rows;
    else if (line_.rank == 1 && step_ == 1 && run_ > 1 && line_.strides[0] > 0)
      form_ = Form::columns;
    else
      form_ = n_ > 0 && !picks_index_ && (in == DType::f32 || in == DType::f64) ? Form::groups
                                                                                : Form::gathered;
    choose_group();
    if (request.makes(0)) choose_halves(op.kind, in, table);
    lines_per_part_ = std::max<std::int64_t>(1, part_elements / std::max<std::int64_t>(n_, 1));
    if (form_ == Form::columns)
      lines_per_part_ = std::max<std::int64_t>(64, lines_per_part_ / 64 * 64);
  }

  Kernel kernel(std::shared_ptr<const Reduction> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      if (self->handover_ && call.shares == 2) self->run_half(call, first == 0 ? 0 : 1);
      else self->run(call, first, last);
    };
    if (handover_) kernel.shared = static_cast<std::size_t>(lanes * lines_ * in_size_);
    kernel.parts = std::max<std::int64_t>(1, (lines_ + lines_per_part_ - 1) / lines_per_part_);
    const std::int64_t copied = form_ == Form::gathered                  ? n_
                                : form_ == Form::groups && !is_in_place_ ? std::min(n_, group_)
                                                                         : 0;
    kernel.scratch = static_cast<std::size_t>((copied * in_size_ + 63) / 64 * 64);
    kernel.cost = 20 + static_cast<double>(lines_ * n_) * 0.2;
    kernel.why = join({lines_, " lines of ", n_,
                       form_ == Form::rows      ? " in rows"
                       : form_ == Form::columns ? " in columns"
                       : is_in_place_           ? " in pieces"
                                                : " gathered",
                       handover_ ? ", for two threads halves of rows" : ""});
    return kernel;
  }

 private:
  enum class Form { rows, columns, groups, gathered };

  // Of blocks that lie in a row, where all of them do.
  void choose_group() {
    const std::int64_t run = line_.rank > 0 && line_.step() == 1
                                 ? line_.sizes[static_cast<std::size_t>(line_.rank - 1)]
                                 : 0;
    is_in_place_ = form_ == Form::groups && run > 0 && run % block_elements == 0;
    group_ = most_group_bytes / in_size_;
    if (is_in_place_) group_ = std::min(group_, run & -run);
  }

  // Two threads have a half of the rows each in their caches, and of columns side by side each
  // would read both: one begins the sums of its rows, the other goes on with them.
  void choose_halves(ReduceKind kind, DType in, const TapeTable& table) {
    constexpr std::int64_t least_rows = 256;  // many more than the lanes, which change hands
    constexpr std::int64_t most_blocks = 4, least_block_bytes = 256;  // of each row
    const bool is_one_block = n_ >= least_rows && n_ <= block_elements;
    if (form_ != Form::columns || kind != ReduceKind::sum || !is_one_block || lines_ != run_)
      return;
    if (lines_ * n_ * in_size_ > 2 * detail::second_cache_bytes()) return;
    begin_sums_ = table.find_begin_sums(in);
    end_sums_ = table.find_end_sums(in);
    if (!begin_sums_ || !end_sums_) return;
    const std::int64_t blocks = std::min(most_blocks, lines_ * in_size_ / least_block_bytes);
    if (blocks < 2) return;
    split_ = n_ / 2 / lanes * lanes;
    handover_ = std::make_unique<Handover>(blocks);
  }

  void run_half(const KernelCall& call, int half) const {
    const std::int64_t stride = line_.strides[0];
    const std::byte* const in =
        call.in[0] + (offset_ + (half == 0 ? 0 : split_ * stride)) * in_size_;
    for (std::int64_t block = 0; block < handover_->blocks(); ++block) {
      const std::int64_t line = lines_ * block / handover_->blocks();
      const std::int64_t count = lines_ * (block + 1) / handover_->blocks() - line;
      std::byte* const sums = call.shared + line * lanes * in_size_;
      if (half == 0) {
        begin_sums_(sums, nullptr, in + line * in_size_, split_, count, stride);
        handover_->pass(block, call.turn);
        continue;
      }
      handover_->wait(block, call.turn);
      // All at once: what another core wrote comes slowly one by one.
      prefetch_to_write(sums, lanes * count * in_size_);
      end_sums_(sums, call.out[0] + line * out_size_, in + line * in_size_, n_ - split_, count,
                stride);
    }
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    std::int64_t line = first * lines_per_part_;
    const std::int64_t end = std::min(lines_, last * lines_per_part_);
    while (line < end) {
      const bool one_by_one = form_ == Form::groups || form_ == Form::gathered;
      const std::int64_t count = one_by_one ? 1 : std::min(end - line, run_ - line % run_);
      reduce_run(call, line, count);
      line += count;
    }
  }

  // Lines line .. line+count-1, which step evenly through memory.
  void reduce_run(const KernelCall& call, std::int64_t line, std::int64_t count) const {
    const std::byte* in = call.in[0] + (offset_ + place_of(line)) * in_size_;
    std::byte* out = call.out[0] + line * out_size_;
    void* values = picks_index_ ? nullptr : out;
    auto* index = picks_index_ ? reinterpret_cast<std::int32_t*>(out) : nullptr;
    if (form_ == Form::rows) {
      rows_(values, index, in, n_, count, step_);
    } else if (form_ == Form::columns) {
      columns_(values, index, in, n_, count, line_.strides[0]);
    } else if (form_ == Form::groups) {
      if (in_size_ == sizeof(float)) reduce_groups<float>(call.scratch, in, out);
      else reduce_groups<double>(call.scratch, in, out);
    } else {
      gather(call.scratch, in);
      rows_(values, index, call.scratch, n_, 1, 0);
    }
  }

  template <class T>
  void reduce_groups(std::byte* scratch, const std::byte* in, std::byte* out) const {
    const T* const line = reinterpret_cast<const T*>(in);
    T* const gathered = reinterpret_cast<T*>(scratch);
    BlockTree tree(rows_, sizeof(T));
    for (std::int64_t k = 0; k < n_; k += group_) {
      const std::int64_t count = std::min(group_, n_ - k);
      const T* group = gathered;
      if (is_in_place_) line_.runs(k, 1, [&](std::int64_t at, std::int64_t) { group = line + at; });
      else line_.load(gathered, line, k, count);
      T y;
      rows_(&y, nullptr, group, count, 1, 0);
      tree.add(reinterpret_cast<const std::byte*>(&y));
    }
    tree.end(out);
  }

  std::int64_t place_of(std::int64_t line) const {
    std::int64_t place = 0;
    for (int a = kept_.rank - 1; a >= 0; --a) {
      const auto i = static_cast<std::size_t>(a);
      place += line % kept_.sizes[i] * kept_.strides[i];
      line /= kept_.sizes[i];
    }
    return place;
  }

  void gather(std::byte* out, const std::byte* in) const {
    switch (in_size_) {
      case 1:
        line_.load(reinterpret_cast<std::uint8_t*>(out), reinterpret_cast<const std::uint8_t*>(in),
                   0, n_);
        return;
      case 4:
        line_.load(reinterpret_cast<std::uint32_t*>(out),
                   reinterpret_cast<const std::uint32_t*>(in), 0, n_);
        return;
      default:
        line_.load(reinterpret_cast<std::uint64_t*>(out),
                   reinterpret_cast<const std::uint64_t*>(in), 0, n_);
        return;
    }
  }

  Walk kept_, line_;
  std::int64_t offset_ = 0, in_size_ = 0, out_size_ = 0;
  std::int64_t lines_ = 0, n_ = 0;   // outputs, elements of each
  std::int64_t run_ = 1, step_ = 0;  // how many lines step evenly, and by how much
  std::int64_t lines_per_part_ = 1;
  std::int64_t group_ = 0;  // elements
  bool picks_index_ = false, is_in_place_ = false;
  std::int64_t split_ = 0;  // the rows of the first one, where two threads take halves of them
  LanesFn begin_sums_ = nullptr, end_sums_ = nullptr;
  std::unique_ptr<Handover> handover_;  // of blocks of columns
  Form form_ = Form::rows;
  ReduceFn rows_ = nullptr, columns_ = nullptr;
};

}  // namespace

void add_reduce_kernels(KernelTable& table) {
  table.add<Reduce>([](const KernelRequest& request) {
    auto reduction = std::make_shared<const Reduction>(request);
    return reduction->kernel(reduction);
  });
}

}  // namespace blockgrad
