// ProductMap on the CPU, as fuse_product_updates makes it: some rows of a gradient, then the
// formula of the update on them while they are in the cache.
#include <algorithm>
#include <array>
#include <memory>

#include "backends/cpu/families.h"
#include "backends/cpu/matrix_shape.h"
#include "backends/cpu/rows_product.h"
#include "backends/cpu/tape_program.h"
#include "blockgrad/ops/linalg.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

std::size_t whole_lines_of(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

std::int64_t bytes_of_element(const Operand& operand) {
  return static_cast<std::int64_t>(size_of(operand.dtype));
}

/// Where a row of an operand of the formula is: bytes from where the operand begins to the first
/// one, and from a row to the next; 0 for one number for all elements.
struct RowPlace {
  std::int64_t first = 0, step = 0;
};

class ProductRows {
 public:
  explicit ProductRows(const KernelRequest& request)
      : shape_(matrix_shape(request.inputs[0], request.inputs[1])),
        product_(shape_, bytes_beside(request), request.isa) {
    for (std::size_t i = 0; i < ProductMap::operands; ++i)
      offsets_[i] = request.inputs[i].layout.offset * bytes_of_element(request.inputs[i]);
    make_program(request);
    tape_scratch_ = whole_lines_of(product_.scratch());
    made_ = tape_scratch_ + whole_lines_of(tape_.scratch());
    scratch_ = made_ + static_cast<std::size_t>(product_.rows() * shape_.n *
                                                bytes_of_element(request.inputs[0]));
  }

  Kernel kernel(std::shared_ptr<const ProductRows> self) const {
    Kernel kernel;
    kernel.parts = (shape_.m + product_.rows() - 1) / product_.rows();
    kernel.scratch = whole_lines_of(scratch_);
    kernel.cost = 20 + 2.0 * static_cast<double>(shape_.m * shape_.n * shape_.k) / 60 +
                  tape_.cost() * static_cast<double>(kernel.parts);
    kernel.why = to_string(product_.plan()) +
                 join({", each updated by ", tape_.code.size(),
                       tape_.code.size() == 1 ? " instruction" : " instructions"});
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      self->run(call, first, last);
    };
    return kernel;
  }

 private:
  static std::int64_t bytes_beside(const KernelRequest& request) {
    std::int64_t bytes = 0;
    for (const Operand& out : request.outputs) bytes += bytes_of_element(out);
    return bytes;
  }

  // The formula on some rows, which lie one behind the other.
  void make_program(const KernelRequest& request) {
    const Shape rows{product_.rows(), shape_.n};
    std::vector<Operand> in{{Place::arena, -1, request.inputs[0].dtype, Layout::dense(rows)}}, out;
    for (Operand operand : request.inputs.subspan(ProductMap::operands)) {
      const std::int64_t size = bytes_of_element(operand);
      const bool is_number = !operand.layout.is_dense();
      inputs_.push_back({operand.layout.offset * size, is_number ? 0 : shape_.n * size});
      operand.layout = Layout::dense(rows);
      if (is_number) operand.layout.strides = {0, 0};
      in.push_back(operand);
    }
    for (Operand operand : request.outputs) {
      outputs_.push_back({0, shape_.n * bytes_of_element(operand)});
      operand.layout = Layout::dense(rows);
      out.push_back(operand);
    }
    const ScalarFn& formula = request.node.op.as<ProductMap>()->fn;
    const GraphNode map{Map{formula}, {}, {{out[0].dtype, rows}}, {}};
    tape_ = make_tape({map, in, out, request.isa});
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    std::array<const std::byte*, TapeProgram::most_registers> in;
    std::array<std::byte*, TapeProgram::most_registers> out;
    const std::byte* const a = call.in[0] + offsets_[0];
    const std::byte* const b = call.in[1] + offsets_[1];
    std::byte* const made = call.scratch + made_;
    KernelCall own = call;
    own.in = in.data();
    own.out = out.data();
    own.scratch = call.scratch + tape_scratch_;
    in[0] = made;
    product_.begin(b, call.scratch);
    for (std::int64_t part = first; part < last; ++part) {
      const std::int64_t row = part * product_.rows();
      const std::int64_t end = std::min(row + product_.rows(), shape_.m);
      product_.run(a, b, made, row, end, call.scratch);
      for (std::size_t i = 0; i < inputs_.size(); ++i)
        in[i + 1] = call.in[ProductMap::operands + i] + inputs_[i].first + row * inputs_[i].step;
      for (std::size_t r = 0; r < outputs_.size(); ++r)
        out[r] = call.out[r] + row * outputs_[r].step;
      tape_.run_elements(own, 0, (end - row) * shape_.n);
    }
  }

  const GemmShape shape_;
  const RowsProduct product_;
  std::array<std::int64_t, ProductMap::operands> offsets_{};  // bytes
  std::vector<RowPlace> inputs_, outputs_;                    // of the formula, but the product
  TapeProgram tape_;
  std::size_t tape_scratch_ = 0, made_ = 0, scratch_ = 0;  // of the product, too
};

}  // namespace

void add_product_map_kernels(KernelTable& table) {
  table.add<ProductMap>([](const KernelRequest& request) {
    if (!request.node.op.as<ProductMap>()->product.as<MatMul>()) return part_map_kernel(request);
    const auto rows = std::make_shared<const ProductRows>(request);
    return rows->kernel(rows);
  });
}

}  // namespace blockgrad
