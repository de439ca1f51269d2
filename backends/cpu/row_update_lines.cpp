#include "backends/cpu/row_update_lines.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "backends/cpu/prefetch.h"
#include "backends/cpu/tape_program.h"

namespace blockgrad {

namespace {

constexpr std::int64_t least_bytes = 256;     // of a row
constexpr std::int64_t most_elements = 512;   // of a row at a time
constexpr std::int64_t part_elements = 8192;  // of the rows of a part
constexpr std::int64_t ahead = 4;             // rows on their way to the cache
constexpr std::int64_t most_near = 1024;      // bytes of such a row

/// An operand that has a row, or a number, for each number of a row or position.
struct Source {
  std::size_t operand = 0;
  std::int64_t element = 0;  // bytes
  bool is_number = false;
  Walk rows = Walk(Layout{});

  const std::byte* at(const KernelCall& call, std::int64_t row) const {
    return call.in[operand] + rows.place(row) * element;
  }
};

class RowLines {
 public:
  explicit RowLines(const KernelRequest& request)
      : op_(*request.node.op.as<RowUpdate>()), results_(request.outputs.size()) {
    const Shape& table = request.outputs[0].layout.shape;
    height_ = table[0];
    inner_ = table.size() / height_;
    largest_ = request.inputs[results_].layout.shape[0];
    is_narrow_ = request.inputs[results_].dtype == DType::i32;
    width_ = std::min(inner_, most_elements);
    for (const Operand& out : request.outputs)
      row_bytes_.push_back(inner_ * static_cast<std::int64_t>(size_of(out.dtype)));
    for (std::size_t r = 0; r < results_; ++r)
      is_in_place_ = is_in_place_ && request.inputs[r].place == request.outputs[r].place &&
                     request.inputs[r].at == request.outputs[r].at;
    find_sources(request);
    make_formula(request);
    if (op_.has_sums()) make_sum(request);
  }

  Kernel kernel(std::shared_ptr<const RowLines> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      if (self->is_narrow_) self->run<std::int32_t>(call, first, last);
      else self->run<std::int64_t>(call, first, last);
    };
    kernel.parts = std::max<std::int64_t>(1, (largest_ + per_part() - 1) / per_part());
    kernel.scratch = static_cast<std::size_t>(scratch_);
    const auto moved = static_cast<double>(is_in_place_ ? 0 : height_ * inner_);
    const auto pieces = static_cast<double>((inner_ + width_ - 1) / width_);
    const double of_row = formula_.cost() * pieces, of_position = sum_ ? sum_->cost() * pieces : 0;
    kernel.cost = 20 + of_row * static_cast<double>(largest_) +
                  of_position * static_cast<double>(positions_) + moved;
    kernel.why = join({largest_, " rows of ", inner_, " elements at most, ",
                       is_in_place_ ? "in place, " : "into copies, ", formula_.code.size(),
                       " instructions where they lie"});
    if (op_.terms) kernel.why += join({", ", sum_->code.size(), " for what is added up"});
    return kernel;
  }

 private:
  // In rows. Who copies a table first does all of them.
  std::int64_t per_part() const {
    return std::max<std::int64_t>(1, is_in_place_ ? part_elements / inner_ : largest_);
  }

  Source source_of(const KernelRequest& request, std::size_t operand, std::int64_t rows) const {
    const Operand& it = request.inputs[operand];
    const std::optional<RowLayout> found = row_layout(it.layout, rows, inner_);
    check_internal(found.has_value(), "an update of rows got ", to_string(it.layout));
    return {operand, static_cast<std::int64_t>(size_of(it.dtype)), found->is_number,
            Walk(found->rows)};
  }

  void find_sources(const KernelRequest& request) {
    std::size_t next = op_.first_value();
    for (const std::int32_t table : op_.tables) {
      if (table >= 0) {
        inputs_.push_back(source_of(request, static_cast<std::size_t>(table), height_));
      } else if (table == RowUpdate::values) {
        inputs_.push_back(source_of(request, next++, largest_));
      } else {
        inputs_.push_back({});
        positions_ = request.inputs[results_ + 2].layout.shape[0];
        for (std::size_t t = 0; t < op_.term_count(); ++t)
          terms_.push_back(source_of(request, next++, positions_));
      }
    }
  }

  std::int64_t element_of(std::size_t table) const { return row_bytes_[table] / inner_; }

  std::int64_t add_scratch(std::int64_t bytes) {
    const std::int64_t begin = scratch_;
    scratch_ += (bytes + 63) / 64 * 64 + 64;
    return begin;
  }

  Operand line(std::int64_t place, DType dtype, bool is_number) const {
    Layout layout = Layout::dense(Shape{1, width_});
    if (is_number) layout.strides = {0, 0};
    return {Place::arena, place, dtype, layout};
  }

  TapeProgram make_program(const ScalarFn& fn, std::span<const Operand> in,
                           std::span<const Operand> out, Isa isa) {
    const GraphNode map{Map{fn}, {}, {{out[0].dtype, out[0].layout.shape}}, {}};
    TapeProgram tape = make_tape({map, in, out, isa});
    width_ = std::min(width_, tape.chunk);
    return tape;
  }

  // Tables are read where results go.
  void make_formula(const KernelRequest& request) {
    std::vector<Operand> in, out;
    auto other = static_cast<std::int64_t>(results_);
    for (std::size_t j = 0; j < inputs_.size(); ++j) {
      const std::int32_t table = op_.tables[j];
      in.push_back(line(table >= 0 ? table : other++, op_.fn.inputs()[j], inputs_[j].is_number));
    }
    for (std::size_t r = 0; r < results_; ++r)
      out.push_back(line(static_cast<std::int64_t>(r), request.outputs[r].dtype, false));
    formula_ = make_program(op_.fn, in, out, request.isa);
    formula_at_ = add_scratch(formula_.scratch_bytes);
  }

  // What there is, and one more term; first of zeros.
  void make_sum(const KernelRequest& request) {
    const auto sum = std::find(op_.tables.begin(), op_.tables.end(), RowUpdate::sums);
    const DType dtype = op_.fn.inputs()[static_cast<std::size_t>(sum - op_.tables.begin())];
    std::vector<DType> dtypes{dtype};
    std::vector<Operand> in{line(0, dtype, false)};
    for (const Source& term : terms_) {
      dtypes.push_back(request.inputs[term.operand].dtype);
      in.push_back(line(std::ssize(in), dtypes.back(), term.is_number));
      has_numbers_ = has_numbers_ || term.is_number;
    }
    ScalarRecorder recorder(dtypes);
    std::vector<Scalar> args;
    for (std::size_t t = 0; t < terms_.size(); ++t)
      args.push_back(recorder.input(static_cast<int>(t) + 1));
    const Scalar term = op_.terms ? recorder.inlined(*op_.terms, args)[0] : args[0];
    const Scalar made[] = {recorder.input(0) + term};
    sum_ = make_program(recorder.finish(made), in, std::span(in).first(1), request.isa);
    sum_at_ = add_scratch(sum_->scratch_bytes);
    const std::int64_t bytes = width_ * static_cast<std::int64_t>(size_of(dtype));
    total_at_ = add_scratch(bytes);
    zeros_at_ = add_scratch(bytes);
    total_bytes_ = bytes;
  }

  template <class Index>
  class Run;

  template <class Index>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    for (std::size_t r = 0; !is_in_place_ && r < results_; ++r)
      std::memcpy(call.out[r], call.in[r], static_cast<std::size_t>(height_ * row_bytes_[r]));
    const std::int64_t count =
        std::min(*reinterpret_cast<const std::int64_t*>(call.in[results_ + 1]), largest_);
    const std::int64_t begin = first * per_part(), end = std::min(count, last * per_part());
    if (begin < end) Run<Index>(*this, call).rows(begin, end);
  }

  const RowUpdate op_;
  std::size_t results_;
  std::int64_t height_ = 0, inner_ = 0, largest_ = 0;
  std::int64_t positions_ = 0;  // of what is added up
  std::int64_t width_ = 0;      // of a row at a time
  bool is_narrow_ = false, is_in_place_ = true, has_numbers_ = false;
  std::vector<std::int64_t> row_bytes_;  // of each table
  std::vector<Source> inputs_, terms_;
  TapeProgram formula_;
  std::optional<TapeProgram> sum_;
  std::int64_t scratch_ = 0, formula_at_ = 0, sum_at_ = 0;
  std::int64_t total_at_ = 0, zeros_at_ = 0, total_bytes_ = 0;
};

template <class Index>
class RowLines::Run {
 public:
  Run(const RowLines& of, const KernelCall& call)
      : of_(of),
        call_(call),
        numbers_(reinterpret_cast<const Index*>(call.in[of.results_])),
        total_(call.scratch + of.total_at_),
        zeros_(call.scratch + of.zeros_at_),
        formula_(of.formula_, call.scratch + of.formula_at_) {
    for (std::size_t j = 0; j < of.inputs_.size(); ++j)
      in_[j] = of.inputs_[j].is_number ? of.inputs_[j].at(call, 0) : nullptr;
    formula_.set_numbers(in_.data());
    if (!of.sum_) return;
    order_ = reinterpret_cast<const std::int32_t*>(call.in[of.results_ + 2]);
    starts_ = reinterpret_cast<const std::int32_t*>(call.in[of.results_ + 3]);
    std::memset(zeros_, 0, static_cast<std::size_t>(of.total_bytes_));
    sum_.emplace(*of.sum_, call.scratch + of.sum_at_);
    if (!of.has_numbers_) sum_->set_numbers(nullptr);
  }

  void rows(std::int64_t begin, std::int64_t end) {
    for (std::int64_t k = begin; k < end; ++k) {
      if (k + ahead < end) bring_near(k + ahead);
      if (!is_row(k)) continue;
      for (std::int64_t c = 0; c < of_.inner_; c += of_.width_)
        row(k, c, std::min(of_.width_, of_.inner_ - c));
    }
  }

 private:
  // Numbers of a gradient that is made by hand are not checked.
  bool is_row(std::int64_t k) const { return numbers_[k] >= 0 && numbers_[k] < of_.height_; }

  // The columns c .. c + n - 1 of row k.
  void row(std::int64_t k, std::int64_t c, std::int64_t n) {
    if (sum_) add_up(k, c, n);
    for (std::size_t j = 0; j < of_.inputs_.size(); ++j) {
      const Source& it = of_.inputs_[j];
      const std::int32_t table = of_.op_.tables[j];
      if (table == RowUpdate::sums) in_[j] = total_;
      else if (!it.is_number)
        in_[j] = it.at(call_, table >= 0 ? std::int64_t{numbers_[k]} : k) + c * it.element;
    }
    for (std::size_t r = 0; r < of_.results_; ++r)
      out_[r] = call_.out[r] + numbers_[k] * of_.row_bytes_[r] + c * of_.element_of(r);
    formula_.run(in_.data(), out_.data(), n);
  }

  // 0 + the terms at the positions of row k, in their order.
  void add_up(std::int64_t k, std::int64_t c, std::int64_t n) {
    std::array<const std::byte*, RowUpdate::most_values> in;
    std::byte* const out[] = {total_};
    in[0] = zeros_;
    for (std::int32_t p = starts_[k]; p < starts_[k + 1]; ++p) {
      for (std::size_t t = 0; t < of_.terms_.size(); ++t) {
        const Source& it = of_.terms_[t];
        in[t + 1] = it.at(call_, order_[p]) + (it.is_number ? 0 : c * it.element);
      }
      if (of_.has_numbers_) sum_->set_numbers(in.data());
      sum_->run(in.data(), out, n);
      in[0] = total_;
    }
  }

  // What row k reads; a wide one comes by itself.
  void bring_near(std::int64_t k) const {
    if (of_.row_bytes_[0] > most_near || !is_row(k)) return;
    const auto bring = [&](const Source& it, std::int64_t row) {
      prefetch_to_read(it.at(call_, row), it.is_number ? 1 : of_.inner_ * it.element);
    };
    for (std::size_t j = 0; j < of_.inputs_.size(); ++j) {
      if (of_.op_.tables[j] >= 0) bring(of_.inputs_[j], numbers_[k]);
    }
    for (const Source& it : of_.terms_) bring(it, order_[starts_[k]]);
  }

  const RowLines& of_;
  const KernelCall& call_;
  const Index* numbers_;
  const std::int32_t *order_ = nullptr, *starts_ = nullptr;
  std::byte *total_, *zeros_;
  TapeLines formula_;
  std::optional<TapeLines> sum_;
  std::array<const std::byte*, RowUpdate::most_values> in_;
  std::array<std::byte*, RowUpdate::most_values> out_;
};

}  // namespace

bool goes_by_lines(const KernelRequest& request) {
  const RowUpdate& op = *request.node.op.as<RowUpdate>();
  const Shape& table = request.outputs[0].layout.shape;
  if (table.size() == 0) return false;
  const std::int64_t inner = table.size() / table[0];
  return op.terms ||
         inner * static_cast<std::int64_t>(size_of(request.outputs[0].dtype)) >= least_bytes;
}

Kernel row_update_by_lines(const KernelRequest& request) {
  const auto lines = std::make_shared<const RowLines>(request);
  return lines->kernel(lines);
}

}  // namespace blockgrad
