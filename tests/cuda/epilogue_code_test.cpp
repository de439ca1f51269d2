// Machine code of products with usual formulas on their elements: nothing of a tile leaves the
// registers, and results are written 16 bytes at a time. NVRTC makes it; no GPU is needed.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <string_view>
#include <vector>

#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/products/cuda_epilogue.h"
#include "backends/product_space.h"
#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"
#include "graph/product_map.h"
#include "tests/cuda/cubin.h"

using namespace blockgrad;

namespace {

using Formula = std::function<Expr(Expr, Expr, Expr)>;

/// The kernel of formula(c, bias, other) behind an n x n x 64 product c.
CudaText text_of(std::int64_t n, DType dtype, const Formula& formula) {
  const Expr a = input("a", {n, 64}, dtype), b = input("b", {64, n}, dtype);
  const Expr c = is_half(dtype) ? make(MatMul{dtype}, {a, b}) : matmul(a, b);
  const Expr y = formula(c, input("bias", {n}, dtype), input("other", {n, n}, dtype));
  const auto keeps = [](const Op& op) { return cuda_maker(op) != nullptr; };
  const Graph graph =
      fuse_epilogues(fuse_maps(merge_equal(simplify(build_graph(std::vector<Expr>{y}, {}, keeps)))),
                     {product_space});
  const GraphNode& node = graph.node(graph.outputs[0]);
  BOOST_TEST_REQUIRE((node.op.as<ProductMap>() != nullptr));
  std::vector<Operand> inputs, outputs;
  for (const Value v : node.inputs) {
    const View* view = graph.node(v).op.as<View>();
    const TensorType& type = graph.type(v);
    inputs.push_back({Place::feed, 0, type.dtype, view ? view->layout : Layout::dense(type.shape)});
  }
  for (const TensorType& type : node.types)
    outputs.push_back({Place::arena, 0, type.dtype, Layout::dense(type.shape)});
  return cuda_maker(node.op)({node, inputs, outputs}).launches.at(0).text;
}

const Formula with_relu = [](Expr c, Expr bias, Expr) { return relu(c + bias); };
const Formula with_gelu = [](Expr c, Expr bias, Expr) { return gelu(c + bias); };
const Formula residual = [](Expr c, Expr bias, Expr other) { return c + bias + other; };
const Formula masked = [](Expr c, Expr, Expr other) { return where(other > 0.0, c, 0.0); };
// Of bf16: 28 and 33 thousand instructions on the widest tile.
const Formula slope_of_gelu = [](Expr c, Expr bias, Expr other) {
  const Expr x = other + bias;
  return c * grad(sum(gelu(x)), {x})[0];
};
const Formula power = [](Expr c, Expr bias, Expr) { return pow(c + bias, 0.3); };

bool has_tile(const CudaText& text, std::string_view tile) {
  return text.text.find(tile) != std::string::npos;
}
constexpr std::string_view widest = "multiply_mma<Cut<128, 256, 32>",
                           half_as_wide = "multiply_mma<Cut<128, 128, 32>";

}  // namespace

BOOST_AUTO_TEST_SUITE(epilogue_code)

BOOST_AUTO_TEST_CASE(tiles_stay_in_registers) {
  std::vector<CudaText> texts;
  for (const std::int64_t n : {4096, 640}) {
    for (const Formula& formula : {with_relu, with_gelu, residual, masked})
      texts.push_back(text_of(n, DType::f32, formula));
  }
  const std::vector<cubin::Kernel> all = cubin::compiled(texts);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const cubin::Kernel& kernel = all[i];
    const bool is_large = has_tile(texts[i], "multiply_warps<Cut<128, 128,");
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.count(cubin::Kind::load_local) == 0);
      BOOST_TEST(kernel.count(cubin::Kind::store_local) == 0);
      // Packs of 4 of a thread's 64 or 16 elements.
      BOOST_TEST(kernel.count(cubin::Kind::store_global, 128) == (is_large ? 16 : 4));
    }
  }
}

BOOST_AUTO_TEST_CASE(tiles_of_tensor_cores_stay_in_registers_with_usual_formulas) {
  std::vector<CudaText> texts;
  for (const std::int64_t n : {8192, 1280}) {
    for (const Formula& formula : {with_gelu, residual})
      texts.push_back(text_of(n, DType::bf16, formula));
  }
  const std::vector<cubin::Kernel> all = cubin::compiled(texts);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const cubin::Kernel& kernel = all[i];
    const bool is_widest = i < 2;
    BOOST_TEST_CONTEXT(kernel.name << " " << kernel.instructions << " instructions") {
      BOOST_TEST(has_tile(texts[i], is_widest ? widest : half_as_wide));
      // Two blocks share a processor's registers with the smaller tile; an address goes to memory.
      BOOST_TEST(kernel.registers <= (is_widest ? 255 : 128));
      BOOST_TEST(kernel.count(cubin::Kind::load_local) <= (is_widest ? 0 : 2));
      BOOST_TEST(kernel.count(cubin::Kind::store_local) <= (is_widest ? 0 : 2));
      // A lane's two columns of a row at once: 128 or 64 elements.
      BOOST_TEST(kernel.count(cubin::Kind::store_global, 32) == (is_widest ? 64 : 32));
      BOOST_TEST(kernel.instructions < (is_widest ? 24000 : 13000));
    }
  }
}

BOOST_AUTO_TEST_CASE(long_formulas_take_a_smaller_tile) {
  std::vector<CudaText> texts;
  for (const Formula& formula : {slope_of_gelu, power})
    texts.push_back(text_of(8192, DType::bf16, formula));
  for (const CudaText& text : texts) BOOST_TEST(has_tile(text, half_as_wide));
  for (const cubin::Kernel& kernel : cubin::compiled(texts))
    BOOST_TEST(kernel.instructions < 20000, kernel.name << ": " << kernel.instructions);
}

BOOST_AUTO_TEST_SUITE_END()
