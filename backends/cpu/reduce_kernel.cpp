// Reduce on the CPU: lines that lie in a row, lines side by side in columns, and any other layout
// gathered line by line. All three add in the same order, which depends on the number of elements
// alone.
#include <algorithm>
#include <memory>

#include "backends/cpu/families.h"
#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_elements = 32768;

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
    else form_ = Form::gathered;
    lines_per_part_ = std::max<std::int64_t>(1, part_elements / std::max<std::int64_t>(n_, 1));
    if (form_ == Form::columns)
      lines_per_part_ = std::max<std::int64_t>(64, lines_per_part_ / 64 * 64);
  }

  Kernel kernel(std::shared_ptr<const Reduction> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      self->run(call, first, last);
    };
    kernel.parts = std::max<std::int64_t>(1, (lines_ + lines_per_part_ - 1) / lines_per_part_);
    kernel.scratch =
        form_ == Form::gathered ? static_cast<std::size_t>((n_ * in_size_ + 63) / 64 * 64) : 0;
    kernel.cost = 20 + static_cast<double>(lines_ * n_) * 0.2;
    kernel.why = join({lines_, " lines of ", n_,
                       form_ == Form::rows      ? " in rows"
                       : form_ == Form::columns ? " in columns"
                                                : " gathered"});
    return kernel;
  }

 private:
  enum class Form { rows, columns, gathered };

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    std::int64_t line = first * lines_per_part_;
    const std::int64_t end = std::min(lines_, last * lines_per_part_);
    while (line < end) {
      const std::int64_t count = std::min(end - line, run_ - line % run_);
      reduce_run(call, line, form_ == Form::gathered ? 1 : count);
      line += form_ == Form::gathered ? 1 : count;
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
    } else {
      gather(call.scratch, in);
      rows_(values, index, call.scratch, n_, 1, 0);
    }
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
  bool picks_index_ = false;
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
