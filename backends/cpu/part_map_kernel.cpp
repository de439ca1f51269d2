// ProductMap on the CPU behind convolutions and the gradient of pools: the product's kernel writes
// where the result goes, and tells what it has made; the formula runs on that, in place, while it
// is in the cache. The result's memory is no operand's.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "backends/cpu/families.h"
#include "backends/cpu/tape_program.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/pool.h"
#include "graph/product_map.h"

namespace blockgrad {

namespace {

constexpr std::int64_t most_wanted = 8;  // parts
constexpr std::int64_t of_map = 16384;   // elements of a part of a Map
constexpr std::size_t line = 64;
std::size_t whole_lines_of(std::size_t bytes) { return (bytes + line - 1) / line * line; }

class PartMap {
 public:
  explicit PartMap(const KernelRequest& request)
      : product_(make_product(request)), tape_(make_formula(request)) {
    check_internal(product_.tells_elements && !product_.finish,
                   "a formula is behind a product whose kernel does not tell what it makes");
    scratch_ = whole_lines_of(product_.scratch);
    extras_ = request.inputs.size() - ProductMap::operands;
  }

  Kernel kernel(std::shared_ptr<const PartMap> self) const {
    Kernel kernel;
    kernel.parts = product_.parts;
    kernel.scratch = scratch_ + tape_.scratch();
    kernel.shared = product_.shared;
    kernel.cost = product_.cost + tape_.cost();
    kernel.why = join({product_.why, ", then ", tape_.code.size(),
                       tape_.code.size() == 1 ? " instruction" : " instructions", " in place"});
    kernel.run = [self](const KernelCall& call, std::int64_t first, std::int64_t last) {
      self->run(call, first, last);
    };
    return kernel;
  }

 private:
  static Kernel make_product(const KernelRequest& request) {
    const auto operands = request.inputs.first(ProductMap::operands);
    const Op& op = request.node.op.as<ProductMap>()->product;
    std::vector<TensorType> types;
    for (const Operand& in : operands) types.push_back({in.dtype, in.layout.shape});
    const TensorType raw = op->infer(types)[0];
    const GraphNode node{op, {}, {raw}, request.node.origin};
    Operand result = request.outputs[0];
    result.layout = Layout::dense(raw.shape);
    return (*cpu_kernel_table().find(op))(
        {node, operands, {&result, 1}, request.isa, request.updated});
  }

  static TapeProgram make_formula(const KernelRequest& request) {
    const ProductMap& op = *request.node.op.as<ProductMap>();
    std::vector<Operand> in{request.outputs[0]};
    in[0].dtype = op.fn.inputs()[0];
    in.insert(in.end(), request.inputs.begin() + ProductMap::operands, request.inputs.end());
    const GraphNode map{Map{op.fn}, {}, request.node.types, request.node.origin};
    return make_tape({map, in, request.outputs, request.isa});
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    std::array<const std::byte*, TapeProgram::most_registers> in;
    in[0] = call.out[0];
    std::copy_n(call.in + ProductMap::operands, extras_, in.begin() + 1);
    KernelCall formula = call;
    formula.in = in.data();
    formula.scratch = call.scratch + scratch_;
    const std::pair<const TapeProgram*, const KernelCall*> context{&tape_, &formula};
    KernelCall product = call;
    product.made = {[](const void* of, std::int64_t begin, std::int64_t end) {
                      const auto& [tape, own] = *static_cast<decltype(context)*>(of);
                      tape->run_elements(*own, begin, end);
                    },
                    &context};
    product_.run(product, first, last);
  }

  Kernel product_;
  TapeProgram tape_;
  std::size_t scratch_ = 0, extras_ = 0;  // of the product; operands of the formula beside it
};

}  // namespace

Kernel part_map_kernel(const KernelRequest& request) {
  const auto part_map = std::make_shared<const PartMap>(request);
  return part_map->kernel(part_map);
}

std::optional<Shape> part_map_space(const Op& op, Types in, Types out) {
  const bool is_convolution = op.as<Conv2d>() || op.as<Conv2dInput>();
  if (!is_convolution && !op.as<MaxPool2dInput>()) return {};
  const DType dtype = out[0].dtype;
  const bool is_plain = dtype == DType::f32 || dtype == DType::f64;
  if (!is_plain || in[0].dtype != dtype || in[1].dtype != dtype) return {};
  // A Map of its own has parts for more threads than a product of few images.
  const Shape& shape = out[0].shape;
  const std::int64_t parts = is_convolution ? image_parts(op, in, out) : shape[0] * shape[1];
  const std::int64_t wanted = std::min(most_wanted, (shape.size() + of_map - 1) / of_map);
  if (parts == 0 || parts < wanted) return {};
  return shape;
}

}  // namespace blockgrad
