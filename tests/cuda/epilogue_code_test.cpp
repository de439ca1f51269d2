// Machine code of products with usual formulas on their elements: nothing of a tile leaves the
// registers, and results are written 16 bytes at a time. NVRTC makes it; no GPU is needed.
#include <boost/test/unit_test.hpp>
#include <functional>

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

/// The kernel of formula(c, bias, other) behind an n x n x 64 product c.
CudaText text_of(std::int64_t n, const std::function<Expr(Expr, Expr, Expr)>& formula) {
  const Expr c = matmul(input("a", {n, 64}), input("b", {64, n}));
  const Expr y = formula(c, input("bias", {n}), input("other", {n, n}));
  const auto keeps = [](const Op& op) { return cuda_maker(op) != nullptr; };
  const Graph graph =
      fuse_epilogues(fuse_maps(merge_equal(simplify(build_graph(std::vector<Expr>{y}, {}, keeps)))),
                     product_space);
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

}  // namespace

BOOST_AUTO_TEST_SUITE(epilogue_code)

BOOST_AUTO_TEST_CASE(tiles_stay_in_registers) {
  const std::function<Expr(Expr, Expr, Expr)> formulas[] = {
      [](Expr c, Expr bias, Expr) { return relu(c + bias); },
      [](Expr c, Expr bias, Expr) { return gelu(c + bias); },
      [](Expr c, Expr bias, Expr other) { return c + bias + other; },
      [](Expr c, Expr, Expr other) { return where(other > 0.0, c, 0.0); },
  };
  std::vector<CudaText> texts;
  for (const std::int64_t n : {4096, 640}) {
    for (const auto& formula : formulas) texts.push_back(text_of(n, formula));
  }
  const std::vector<cubin::Kernel> all = cubin::compiled(texts);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const cubin::Kernel& kernel = all[i];
    const bool is_large = texts[i].text.find("multiply_warps<Cut<128, 128,") != std::string::npos;
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.count(cubin::Kind::load_local) == 0);
      BOOST_TEST(kernel.count(cubin::Kind::store_local) == 0);
      // Packs of 4 of a thread's 64 or 16 elements.
      BOOST_TEST(kernel.count(cubin::Kind::store_global, 128) == (is_large ? 16 : 4));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
