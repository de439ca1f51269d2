// The text of every kind of product's kernel compiles with NVRTC; no GPU is needed.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/products/cuda_conv.h"
#include "backends/cuda/products/cuda_matmul.h"
#include "blockgrad/graph/error.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/linalg.h"

using namespace blockgrad;

namespace {

/// Appends the different texts of a node's launches.
void add_texts(std::vector<CudaText>& texts, const CudaWork& work) {
  for (const CudaLaunch& launch : work.launches) {
    if (std::find(texts.begin(), texts.end(), launch.text) == texts.end())
      texts.push_back(launch.text);
  }
}

/// Compiles texts with NVRTC, if it is here, and looks for each kernel.
void check_machine_code(const std::vector<CudaText>& texts) {
  try {
    const std::string cubin = compile_cubin(nvrtc(), {.text = cuda_program(texts)});
    for (std::size_t i = 0; i < texts.size(); ++i)
      BOOST_TEST(cubin.find("kernel" + std::to_string(i) + "_") != std::string::npos);
  } catch (const DeviceError& error) {
    BOOST_TEST(!BG_WITH_CUDA, error.what());
    BOOST_TEST_MESSAGE("skipped: " << error.what());
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(product_text)

BOOST_AUTO_TEST_CASE(machine_code_is_made_of_every_kind_of_kernel) {
  const auto turned = [](const Shape& shape) {
    Layout layout = Layout::dense(shape);
    std::swap(layout.strides[0], layout.strides[1]);
    layout.shape = Shape{shape[1], shape[0]};
    return layout;
  };
  const auto uneven = [](Layout layout) {
    layout.strides[0] = 0;
    return layout;
  };
  const Shape square{640, 640}, odd{639, 639}, batch{2, 3, 64, 64};
  struct Case {
    DType dtype;
    Layout a, b;
  };
  const Layout dense = Layout::dense(square);
  const Layout large = Layout::dense({1536, 1536});
  const Case cases[] = {{DType::f32, large, large},
                        {DType::f32, dense, turned(square)},
                        {DType::f32, turned(square), dense},
                        {DType::f32, Layout::dense(odd), turned(odd)},
                        {DType::f32, Layout::dense(batch), uneven(Layout::dense(batch))},
                        {DType::f32, Layout::dense({4, 4}), Layout::dense({4, 4})},
                        {DType::f32, Layout::dense({4, 4096}), Layout::dense({4096, 4})},
                        {DType::f64, turned(square), turned(square)},
                        {DType::f64, Layout::dense({4, 4096}), Layout::dense({4096, 4})}};
  std::vector<CudaText> texts;
  for (const auto& [dtype, a, b] : cases) {
    const int rank = a.shape.rank();
    std::vector<std::int64_t> sizes(a.shape.sizes().begin(), a.shape.sizes().end());
    sizes.back() = b.shape[rank - 1];
    const GraphNode node{MatMul{}, {}, {}, {}};
    const Operand inputs[] = {{Place::feed, 0, dtype, a}, {Place::feed, 1, dtype, b}};
    const Operand outputs[] = {{Place::arena, 0, dtype, Layout::dense(Shape(sizes))}};
    for (const bool is_update : {false, true})
      add_texts(texts, matmul_kernel({node, inputs, outputs, is_update}));
  }
  BOOST_TEST(texts.size() == 19);
  check_machine_code(texts);
}

BOOST_AUTO_TEST_CASE(a_program_has_the_headers_that_its_kernels_include_each_once) {
  const auto headers = kernel_headers({"products/matmul_warps.cuh", "products/matmul_panel.cuh"});
  CudaText tile, join;
  tile.headers = headers;
  join.headers = kernel_headers({"products/matmul_splits.cuh"});
  const std::string text = cuda_headers(std::vector{tile, join});
  const auto count = [&](std::string_view part) {
    int found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  for (const char* once : {"struct Matrices {", "struct Product {", "struct PanelShare {",
                           "void multiply_warps(", "void add_splits("})
    BOOST_TEST(count(once) == 1, once << " is there " << count(once) << " times");
  BOOST_TEST(text.find("struct Matrices {") < text.find("struct Product {"));
  BOOST_TEST(text.find("struct Product {") < text.find("void multiply_warps("));
  BOOST_TEST(count("namespace attention") + count("multiply_mma") + count("#include") == 0);
  BOOST_CHECK_THROW(kernel_headers({"products/none.cuh"}), InternalError);
}

BOOST_AUTO_TEST_CASE(machine_code_is_made_of_convolutions) {
  std::vector<CudaText> texts;
  const auto operand = [](DType dtype, const Shape& shape) {
    return Operand{Place::feed, 0, dtype, Layout::dense(shape)};
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t channels : {2, 64}) {
      for (const std::int64_t groups : {1, 2}) {
        const Conv2dOptions options{.stride = groups, .padding = 1, .groups = groups};
        const std::int64_t size = 15 / groups + 1;
        const Operand x = operand(dtype, {2, channels, 16, 16}),
                      w = operand(dtype, {channels, channels / groups, 3, 3}),
                      y = operand(dtype, {2, channels, groups == 1 ? 16 : size, size});
        const GraphNode forward{Conv2d{options}, {}, {}, {}};
        const GraphNode input{Conv2dInput{options, 16}, {}, {}, {}};
        const GraphNode weight{Conv2dWeight{options, 3}, {}, {}, {}};
        const Operand xw[] = {x, w}, yw[] = {y, w}, xy[] = {x, y};
        add_texts(texts, conv2d_kernel({forward, xw, {&y, 1}}));
        add_texts(texts, conv2d_input_kernel({input, yw, {&x, 1}}));
        add_texts(texts, conv2d_weight_kernel({weight, xy, {&w, 1}}));
      }
    }
  }
  BOOST_TEST(texts.size() == 20);
  check_machine_code(texts);
}

BOOST_AUTO_TEST_SUITE_END()
