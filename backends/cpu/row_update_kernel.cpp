// RowUpdate on the CPU: rows of the tables are copied to the cache some at a time, run through the
// formula there and copied back, while the next ones are on their way.
#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/families.h"
#include "backends/cpu/prefetch.h"
#include "backends/cpu/row_update_lines.h"
#include "backends/cpu/tape_program.h"
#include "graph/row_update.h"

namespace blockgrad {

namespace {

// The rows of the next block are in the nearest cache beside them.
constexpr std::int64_t block_elements = 512;
constexpr std::int64_t part_elements = 8192;

struct Column {
  std::size_t operand = 0;   // of the node
  std::int64_t element = 0;  // bytes
  std::int64_t buffer = 0;   // where its rows are in the scratch
};

class RowUpdates {
 public:
  explicit RowUpdates(const KernelRequest& request)
      : op_(*request.node.op.as<RowUpdate>()), results_(request.outputs.size()) {
    const Shape& table = request.outputs[0].layout.shape;
    height_ = table[0];
    inner_ = height_ == 0 ? 0 : table.size() / height_;
    largest_ = request.inputs[results_].layout.shape[0];
    is_narrow_ = request.inputs[results_].dtype == DType::i32;
    width_ = std::min(inner_, block_elements);
    rows_ = std::clamp<std::int64_t>(block_elements / std::max<std::int64_t>(1, inner_), 1,
                                     std::max<std::int64_t>(1, largest_));
    for (std::size_t r = 0; r < results_; ++r)
      is_in_place_ = is_in_place_ && request.inputs[r].place == request.outputs[r].place &&
                     request.inputs[r].at == request.outputs[r].at;
    make_program(request);
  }

  Kernel kernel(std::shared_ptr<const RowUpdates> self) const {
    Kernel kernel;
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      if (self->is_narrow_) self->run<std::int32_t>(call, first, last);
      else self->run<std::int64_t>(call, first, last);
    };
    kernel.parts = std::max<std::int64_t>(1, (blocks() + per_part() - 1) / per_part());
    kernel.scratch = static_cast<std::size_t>(scratch_);
    const auto moved = static_cast<double>(is_in_place_ ? 0 : height_ * inner_);
    const std::int64_t pieces = (inner_ + width_ - 1) / std::max<std::int64_t>(1, width_);
    kernel.cost = 20 + tape_.cost() * static_cast<double>(blocks() * pieces) + moved;
    kernel.why = join({largest_, " rows of ", inner_, " elements at most, ",
                       is_in_place_ ? "in place, " : "into copies, ", tape_.code.size(),
                       " instructions, ", rows_, rows_ == 1 ? " row" : " rows", " at a time"});
    return kernel;
  }

 private:
  std::int64_t blocks() const { return (largest_ + rows_ - 1) / rows_; }
  // In blocks. Who copies a table first does all of them.
  std::int64_t per_part() const {
    if (!is_in_place_) return std::max<std::int64_t>(1, blocks());
    return std::max<std::int64_t>(1, part_elements / std::max<std::int64_t>(1, rows_ * width_));
  }

  // The formula on a block of rows, each operand in memory of its own.
  void make_program(const KernelRequest& request) {
    const Shape block{rows_, width_};
    std::vector<Operand> in, out;
    std::int64_t end = 0;
    const auto operand = [&](DType dtype, const Layout& layout) {
      return Operand{Place::arena, end++, dtype, layout};
    };
    const auto fill = [&](Column& column, std::int64_t& at) {
      column.buffer = at;
      at += (rows_ * width_ * column.element + 63) / 64 * 64 + 64;
    };
    std::size_t next = op_.first_value();
    for (const std::int32_t table : op_.tables) {
      const std::size_t from = table >= 0 ? static_cast<std::size_t>(table) : next++;
      const Operand& whole = request.inputs[from];
      Layout layout = Layout::dense(block);
      const bool is_number = table == RowUpdate::values && !whole.layout.is_dense();
      if (is_number) layout.strides = {0, 0};
      is_number_.push_back(is_number);
      in.push_back(operand(whole.dtype, layout));
      inputs_.push_back({from, static_cast<std::int64_t>(size_of(whole.dtype)), 0});
      offsets_.push_back(table < 0 ? whole.layout.offset * inputs_.back().element : 0);
    }
    for (std::size_t r = 0; r < results_; ++r) {
      const DType dtype = request.outputs[r].dtype;
      out.push_back(operand(dtype, Layout::dense(block)));
      outputs_.push_back({r, static_cast<std::int64_t>(size_of(dtype)), 0});
    }
    const GraphNode map{Map{op_.fn}, {}, {{out[0].dtype, block}}, {}};
    tape_ = make_tape({map, in, out, request.isa});
    scratch_ = (static_cast<std::int64_t>(tape_.scratch()) + 63) / 64 * 64;
    for (std::size_t j = 0; j < inputs_.size(); ++j) {
      if (op_.tables[j] != RowUpdate::values) fill(inputs_[j], scratch_);
    }
    for (Column& column : outputs_) fill(column, scratch_);
  }

  template <class Index>
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    for (std::size_t r = 0; !is_in_place_ && r < results_; ++r)
      std::memcpy(call.out[r], call.in[r],
                  static_cast<std::size_t>(height_ * inner_ * outputs_[r].element));
    const std::int64_t count =
        std::min(*reinterpret_cast<const std::int64_t*>(call.in[results_ + 1]), largest_);
    const auto* const numbers = reinterpret_cast<const Index*>(call.in[results_]);
    const std::int64_t end = std::min(count, last * per_part() * rows_);
    for (std::int64_t k = first * per_part() * rows_; k < end; k += rows_) {
      for (std::int64_t c = 0; c < inner_; c += width_)
        run_block(call, numbers, k, std::min(rows_, end - k), end, c, std::min(width_, inner_ - c));
    }
  }

  // `width` columns from `first` on of the rows numbers[k .. k + count - 1].
  template <class Index>
  void run_block(const KernelCall& call, const Index* numbers, std::int64_t k, std::int64_t count,
                 std::int64_t end, std::int64_t first, std::int64_t width) const {
    std::array<const std::byte*, RowUpdate::most_values> in;
    std::array<std::byte*, RowUpdate::most_values> out;
    for (std::size_t j = 0; j < inputs_.size(); ++j) {
      const Column& column = inputs_[j];
      const std::byte* const whole = call.in[column.operand] + offsets_[j];
      if (op_.tables[j] == RowUpdate::values) {
        in[j] = is_number_[j] ? whole : whole + (k * inner_ + first) * column.element;
        continue;
      }
      std::byte* const buffer = call.scratch + column.buffer;
      in[j] = buffer;
      const Piece piece{whole + first * column.element, inner_ * column.element,
                        width * column.element};
      if (op_.tables[j] == RowUpdate::sums) {
        if (column.element == 4) add_rows<float>(call, piece, k, count, end, buffer);
        else add_rows<double>(call, piece, k, count, end, buffer);
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i) {
        if (k + i + rows_ < end) bring_near(piece, numbers[k + i + rows_]);
        if (is_row(numbers[k + i]))
          copy(buffer + i * piece.bytes, piece.from + numbers[k + i] * piece.row, piece.bytes);
      }
    }
    for (std::size_t r = 0; r < results_; ++r) out[r] = call.scratch + outputs_[r].buffer;
    KernelCall own = call;
    own.in = in.data();
    own.out = out.data();
    tape_.run_elements(own, 0, count * width);
    for (std::size_t r = 0; r < results_; ++r) {
      const std::int64_t row = inner_ * outputs_[r].element, bytes = width * outputs_[r].element;
      std::byte* const to = call.out[r] + first * outputs_[r].element;
      for (std::int64_t i = 0; i < count; ++i) {
        if (is_row(numbers[k + i])) copy(to + numbers[k + i] * row, out[r] + i * bytes, bytes);
      }
    }
  }

  // For a row of one element a call takes longer than the copy.
  static void copy(std::byte* to, const std::byte* from, std::int64_t bytes) {
    if (bytes == 4) std::memcpy(to, from, 4);
    else std::memcpy(to, from, static_cast<std::size_t>(bytes));
  }

  // Numbers of a gradient that is made by hand are not checked.
  bool is_row(std::int64_t number) const { return number >= 0 && number < height_; }

  // Columns of rows in memory.
  struct Piece {
    const std::byte* from;
    std::int64_t row, bytes;
  };

  // A row of the next block; a wide one comes by itself.
  void bring_near(const Piece& piece, std::int64_t row) const {
    if (rows_ > 1) prefetch_to_read(piece.from + row * piece.row, piece.bytes);
  }

  // 0 + the rows at the positions of each number.
  template <class T>
  void add_rows(const KernelCall& call, const Piece& piece, std::int64_t k, std::int64_t count,
                std::int64_t end, std::byte* buffer) const {
    const auto* const order = reinterpret_cast<const std::int32_t*>(call.in[results_ + 2]);
    const auto* const starts = reinterpret_cast<const std::int32_t*>(call.in[results_ + 3]);
    const std::int64_t n = piece.bytes / std::int64_t{sizeof(T)};
    for (std::int64_t i = 0; i < count; ++i) {
      if (k + i + rows_ < end) bring_near(piece, order[starts[k + i + rows_]]);
      T* const sum = reinterpret_cast<T*>(buffer + i * piece.bytes);
      for (std::int32_t p = starts[k + i]; p < starts[k + i + 1]; ++p) {
        const T* const row = reinterpret_cast<const T*>(piece.from + order[p] * piece.row);
        const bool adds = p > starts[k + i];
        for (std::int64_t c = 0; c < n; ++c) sum[c] = (adds ? sum[c] : T{0}) + row[c];
      }
    }
  }

  const RowUpdate op_;
  std::size_t results_;
  std::int64_t height_ = 0, inner_ = 0, largest_ = 0;
  std::int64_t rows_ = 1, width_ = 0;  // of a block
  std::int64_t scratch_ = 0;
  bool is_narrow_ = false, is_in_place_ = true;
  std::vector<Column> inputs_, outputs_;  // of the formula
  std::vector<std::int64_t> offsets_;     // bytes, of its inputs
  std::vector<char> is_number_;           // one for all rows
  TapeProgram tape_;
};

}  // namespace

void add_row_update_kernels(KernelTable& table) {
  table.add<RowUpdate>([](const KernelRequest& request) {
    if (goes_by_lines(request)) return row_update_by_lines(request);
    const auto updates = std::make_shared<const RowUpdates>(request);
    return updates->kernel(updates);
  });
}

}  // namespace blockgrad
