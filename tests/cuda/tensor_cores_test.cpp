// Products and convolutions of halves and, where asked for, of f32 as TF32: nodes with the rung of
// tensor cores against sums in f64 of the same numbers.
#include <boost/test/unit_test.hpp>

#include <bit>
#include <cmath>
#include <functional>
#include <string>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/products/cuda_conv.h"
#include "backends/cuda/products/cuda_matmul.h"
#include "blockgrad/blockgrad.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/linalg.h"
#include "tests/cuda/cubin.h"
#include "tests/cuda/run_nodes.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::drawn;
using test_support::NodeCase;
using test_support::NodeInput;
using test_support::NodeRun;
using test_support::run_nodes;
using test_support::skips_cuda_programs;

namespace {

/// How the matrices of an operand lie.
struct Form {
  bool is_transposed = false;
  std::int64_t pitch = 8;  // lines in memory begin at multiples of so many elements
  std::int64_t offset = 0;
  std::int64_t batch_stride = -1;  // in matrices; -1: one behind the other
};

/// [batch, rows, columns] in random numbers; all of the memory that is not of the value is NaN.
NodeInput matrix(DType dtype, std::int64_t batch, std::int64_t rows, std::int64_t columns,
                 const Form& form, std::uint64_t seed) {
  const std::int64_t lines = form.is_transposed ? columns : rows;
  const std::int64_t length = form.is_transposed ? rows : columns;
  const std::int64_t pitch = (length + form.pitch - 1) / form.pitch * form.pitch;
  const std::int64_t next =
      form.batch_stride < 0 ? lines * pitch : form.batch_stride * lines * pitch;
  Layout layout{Shape{batch, rows, columns}, {}, form.offset};
  layout.strides[0] = next;
  layout.strides[1] = form.is_transposed ? 1 : pitch;
  layout.strides[2] = form.is_transposed ? pitch : 1;
  const std::int64_t size = form.offset + std::max<std::int64_t>(batch, 1) * lines * pitch;
  const Tensor numbers = drawn({size}, DType::f64, seed, -1, 1);
  std::vector<double> values(static_cast<std::size_t>(size), NAN);
  for (std::int64_t i = 0; i < batch; ++i)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t column = 0; column < columns; ++column) {
        const std::int64_t at = layout.offset + i * layout.strides[0] + row * layout.strides[1] +
                                column * layout.strides[2];
        values[static_cast<std::size_t>(at)] = numbers.at(at);
      }
  return {tensor(std::span<const double>(values), Shape{size}).astype(dtype), layout};
}

/// What a tensor core multiplies.
double seen(double x, bool is_tf32) {
  if (!is_tf32) return x;
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(x));
  return static_cast<double>(std::bit_cast<float>((bits + 0x1000u) & 0xffffe000u));
}

/// How far a sum of these terms may be off: of its f32 sums in any order, and of one rounding.
double bound(DType result, double terms, double size, double sum) {
  const double rounding = result == DType::bf16 ? 0x1p-8 : result == DType::f16 ? 0x1p-11 : 0x1p-24;
  return (terms + 1) * 0x1p-24 * size + rounding * std::fabs(sum) + 0x1p-25;
}

struct Sum {
  double sum = 0, size = 0, terms = 0;
  void add(double term) {
    sum += term;
    size += std::fabs(term);
    ++terms;
  }
};

/// Compares element by element with what `expected` says of each position.
void check(const NodeRun& run, const std::function<Sum(std::int64_t)>& expected) {
  for (std::int64_t i = 0; i < run.result.size(); ++i) {
    const Sum sum = expected(i);
    const double off = std::fabs(run.result.at(i) - sum.sum);
    if (off <= bound(run.result.dtype(), sum.terms, sum.size, sum.sum)) continue;
    BOOST_ERROR(run.why << ": element " << i << " of " << to_string(run.result.type()) << " is "
                        << run.result.at(i) << ", not " << sum.sum);
    return;
  }
}

const GraphNode& matmul_node() {
  static const GraphNode node{MatMul{}, {}, {}, {}};
  return node;
}

CudaTarget target_of(CudaMath math) {
  CudaTarget target;
  target.math = math;
  return target;
}

/// batch of m x k times k x n.
struct ProductOf {
  std::int64_t m, n, k;
  DType dtype, result;
  Form a = {}, b = {};
  std::int64_t batch = 1;
  CudaMath math = CudaMath::exact;

  NodeCase node(std::uint64_t seed) const {
    return {matmul_node(),
            matmul_kernel,
            {matrix(dtype, batch, m, k, a, seed), matrix(dtype, batch, k, n, b, seed + 1000)},
            {result, Shape{batch, m, n}},
            target_of(math)};
  }
};

void check(const std::vector<ProductOf>& products, std::string_view kernel) {
  std::vector<NodeCase> nodes;
  for (const ProductOf& product : products) nodes.push_back(product.node(nodes.size()));
  const std::vector<NodeRun> runs = run_nodes(nodes);
  for (std::size_t i = 0; i < products.size(); ++i) {
    const ProductOf& p = products[i];
    const bool is_tf32 = p.math == CudaMath::tf32;
    BOOST_TEST(runs[i].why.find(kernel) == 0U, runs[i].why);
    check(runs[i], [&](std::int64_t at) {
      const std::int64_t column = at % p.n, row = at / p.n % p.m, batch = at / p.n / p.m;
      Sum sum;
      for (std::int64_t k = 0; k < p.k; ++k)
        sum.add(seen(nodes[i].inputs[0].at({batch, row, k}), is_tf32) *
                seen(nodes[i].inputs[1].at({batch, k, column}), is_tf32));
      return sum;
    });
  }
}

constexpr Form rows{}, columns{.is_transposed = true}, odd{.pitch = 1, .offset = 1},
    odd_columns{.is_transposed = true, .pitch = 3, .offset = 1};

}  // namespace

BOOST_AUTO_TEST_SUITE(tensor_cores)

BOOST_AUTO_TEST_CASE(halves_are_multiplied_in_every_layout) {
  if (skips_cuda_programs()) return;
  const auto b16 = DType::bf16, f16 = DType::f16, f32 = DType::f32;
  check({{33, 70, 45, b16, b16, rows, rows},
         {64, 64, 64, b16, b16, rows, rows},
         {40, 9, 130, b16, f32, rows, columns},
         {1, 1, 1, b16, f32, rows, columns},
         {17, 65, 96, b16, f32, columns, rows},
         {70, 33, 40, b16, f32, columns, columns, 2},
         {19, 21, 23, b16, b16, odd, odd, 2},
         {19, 30, 77, b16, b16, odd_columns, odd_columns},
         {5, 7, 0, b16, b16, rows, rows}},
        "mma bf16");
  check({{0, 5, 3, f16, f16},
         {65, 66, 35, f16, f16, rows, rows},
         {30, 20, 50, f16, f32, columns, columns, 3},
         {30, 20, 50, f16, f32, odd_columns, odd}},
        "mma f16");
}

BOOST_AUTO_TEST_CASE(matrices_of_a_batch_are_shared) {
  if (skips_cuda_programs()) return;
  check({{20, 40, 24, DType::bf16, DType::bf16, rows, {.batch_stride = 0}, 3}}, "mma bf16");
}

BOOST_AUTO_TEST_CASE(slices_of_a_long_sum_are_joined_in_f32_and_rounded_once) {
  if (skips_cuda_programs()) return;
  const std::vector<ProductOf> products = {{24, 40, 1000, DType::bf16, DType::bf16, columns, rows},
                                           {24, 40, 1000, DType::f16, DType::f32, columns, rows}};
  check({products[0]}, "mma bf16 | m,n,k 24x40x1000");
  check({products[1]}, "mma f16 to f32 | m,n,k 24x40x1000");
  const std::string why = run_nodes({products[0].node(1)})[0].why;
  BOOST_TEST(why.find("5 splits") != std::string::npos, why);
}

BOOST_AUTO_TEST_CASE(f32_is_rounded_to_tf32_where_asked_for_and_never_else) {
  if (skips_cuda_programs()) return;
  const auto f32 = DType::f32;
  const CudaMath tf32 = CudaMath::tf32;
  check({{33, 70, 45, f32, f32, rows, rows, 1, tf32},
         {17, 65, 96, f32, f32, rows, columns, 2, tf32},
         {17, 33, 50, f32, f32, columns, columns, 1, tf32},
         {19, 21, 23, f32, f32, odd, odd_columns, 1, tf32},
         {5, 7, 0, f32, f32, rows, rows, 1, tf32},
         {20, 30, 1000, f32, f32, columns, rows, 1, tf32}},
        "mma f32 as tf32");
  for (const std::int64_t size : {1, 30, 600, 5000}) {
    const CudaTile tile = choose_cuda_tile({.m = size, .n = size, .k = size});
    BOOST_TEST((tile.config.kernel != CudaKernel::mma));
    BOOST_TEST(to_string(tile).find("tf32") == std::string::npos);
  }
  // f64 has no such mode.
  const ProductOf wide{8, 9, 10, DType::f64, DType::f64, rows, rows, 1, tf32};
  BOOST_TEST(run_nodes({wide.node(1)})[0].why.find("elements f64") == 0U);
}

namespace {

struct ConvOf {
  Shape x, w;
  Conv2dOptions options;
  DType dtype, result;
  CudaMath math = CudaMath::exact;
};

/// All three of a convolution, against their formula.
void check_conv(const std::vector<ConvOf>& convs) {
  std::vector<NodeCase> nodes;
  std::vector<Shape> shapes;
  for (const ConvOf& c : convs) {
    const auto out = [&](int axis, std::int64_t stride, std::int64_t padding,
                         std::int64_t dilation) {
      return (c.x[axis] + 2 * padding - (c.w[axis] - 1) * dilation - 1) / stride + 1;
    };
    const Conv2dOptions& o = c.options;
    const Shape y{c.x[0], c.w[0], out(2, o.stride.rows, o.padding.rows, o.dilation.rows),
                  out(3, o.stride.columns, o.padding.columns, o.dilation.columns)};
    const auto input = [&](const Shape& shape, std::uint64_t seed) {
      return test_support::dense(drawn(shape, c.dtype, seed, -1, 1));
    };
    const NodeInput x = input(c.x, 1), w = input(c.w, 2), dy = input(y, 3);
    nodes.push_back(
        {{Conv2d{o}, {}, {}, {}}, conv2d_kernel, {x, w}, {c.result, y}, target_of(c.math)});
    nodes.push_back({{Conv2dInput{o, {c.x[2], c.x[3]}}, {}, {}, {}},
                     conv2d_input_kernel,
                     {dy, w},
                     {c.result, c.x},
                     target_of(c.math)});
    nodes.push_back({{Conv2dWeight{o, {c.w[2], c.w[3]}}, {}, {}, {}},
                     conv2d_weight_kernel,
                     {x, dy},
                     {c.result, c.w},
                     target_of(c.math)});
    shapes.push_back(y);
  }
  const std::vector<NodeRun> runs = run_nodes(nodes);
  for (std::size_t i = 0; i < convs.size(); ++i) {
    const ConvOf& c = convs[i];
    const Conv2dOptions& o = c.options;
    const Shape& y = shapes[i];
    std::vector<Sum> of_y(static_cast<std::size_t>(y.size())),
        of_x(static_cast<std::size_t>(c.x.size())), of_w(static_cast<std::size_t>(c.w.size()));
    const Tensor &x = nodes[3 * i].inputs[0].memory, &w = nodes[3 * i].inputs[1].memory,
                 &dy = nodes[3 * i + 1].inputs[0].memory;
    const bool is_tf32 = c.math == CudaMath::tf32;
    const std::int64_t out = c.w[0] / o.groups;
    for (std::int64_t at_y = 0; at_y < y.size(); ++at_y) {
      const std::int64_t column = at_y % y[3], row = at_y / y[3] % y[2],
                         channel = at_y / y[3] / y[2] % y[1], image = at_y / y[3] / y[2] / y[1];
      for (std::int64_t tap = 0; tap < c.w[1] * c.w[2] * c.w[3]; ++tap) {
        const std::int64_t tap_column = tap % c.w[3], tap_row = tap / c.w[3] % c.w[2],
                           in = tap / c.w[3] / c.w[2];
        const std::int64_t x_row = row * o.stride.rows + tap_row * o.dilation.rows - o.padding.rows;
        const std::int64_t x_column =
            column * o.stride.columns + tap_column * o.dilation.columns - o.padding.columns;
        if (x_row < 0 || x_row >= c.x[2] || x_column < 0 || x_column >= c.x[3]) continue;
        const std::int64_t at_x =
            ((image * c.x[1] + channel / out * c.w[1] + in) * c.x[2] + x_row) * c.x[3] + x_column;
        const std::int64_t at_w = channel * c.w[1] * c.w[2] * c.w[3] + tap;
        const double of[] = {seen(x.at(at_x), is_tf32), seen(w.at(at_w), is_tf32),
                             seen(dy.at(at_y), is_tf32)};
        of_y[static_cast<std::size_t>(at_y)].add(of[0] * of[1]);
        of_x[static_cast<std::size_t>(at_x)].add(of[2] * of[1]);
        of_w[static_cast<std::size_t>(at_w)].add(of[0] * of[2]);
      }
    }
    const std::vector<Sum>* const expected[] = {&of_y, &of_x, &of_w};
    for (std::size_t part = 0; part < 3; ++part) {
      BOOST_TEST(runs[3 * i + part].why.find("mma") != std::string::npos, runs[3 * i + part].why);
      check(runs[3 * i + part],
            [&](std::int64_t at) { return (*expected[part])[static_cast<std::size_t>(at)]; });
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(halves_are_convolved) {
  if (skips_cuda_programs()) return;
  const auto b16 = DType::bf16, f16 = DType::f16, f32 = DType::f32;
  check_conv(
      {{{2, 3, 9, 8}, {5, 3, 3, 3}, {.stride = 1, .padding = 1}, b16, b16},
       {{3, 4, 11, 7}, {6, 2, 3, 2}, {.stride = {2, 3}, .padding = {1, 0}, .groups = 2}, b16, f32},
       {{1, 2, 10, 10}, {4, 2, 3, 3}, {.stride = 2, .padding = 2, .dilation = {2, 3}}, b16, f32},
       {{0, 2, 4, 4}, {3, 2, 2, 2}, {}, b16, f32},
       {{3, 9, 16, 16}, {70, 9, 3, 3}, {.padding = 1}, b16, b16},
       {{5, 16, 8, 8}, {24, 16, 1, 1}, {}, f16, f16},
       {{160, 10, 2, 3}, {18, 5, 3, 3}, {.padding = 1, .groups = 2}, b16, f32}});
}

BOOST_AUTO_TEST_CASE(f32_is_convolved_as_tf32) {
  if (skips_cuda_programs()) return;
  const auto f32 = DType::f32;
  check_conv({{{2, 3, 9, 8}, {5, 3, 3, 3}, {.stride = 1, .padding = 1}, f32, f32, CudaMath::tf32},
              {{2, 9, 15, 13},
               {33, 9, 3, 3},
               {.stride = {1, 2}, .padding = 1},
               f32,
               f32,
               CudaMath::tf32}});
}

BOOST_AUTO_TEST_CASE(programs_say_what_their_halves_are_multiplied_by) {
  if (skips_cuda_programs()) return;
  const Expr a = constant(drawn({20, 40}, DType::bf16, 1, -1, 1)),
             b = constant(drawn({40, 24}, DType::bf16, 2, -1, 1));
  const Expr x = constant(drawn({3, 8, 6, 6}, DType::f16, 3, -1, 1)),
             w = constant(drawn({4, 8, 3, 3}, DType::f16, 4, -1, 1));
  const Expr wide = make(MatMul{DType::f32}, {a, b}), half = make(MatMul{DType::bf16}, {a, b}),
             conv = make(Conv2d{.options = {.padding = 1}, .result = DType::f16}, {x, w});
  const std::string text =
      compile({wide, half, conv}, {}, test_support::cuda_test_device()).explain();
  for (const char* line : {"mma bf16 to f32 | m,n,k 20x24x40", "mma bf16 | m,n,k 20x24x40",
                           "implicit mma f16 | m,n,k 4x36x72"})
    BOOST_TEST(text.find(line) != std::string::npos, text);
  test_support::check_on_cuda({wide}, {}, 1e-6);
  test_support::check_on_cuda({half, conv}, {}, 0x1p-7);  // one rounding to the next number
}

BOOST_AUTO_TEST_CASE(machine_code_multiplies_on_tensor_cores_and_spills_nothing) {
  const auto b16 = DType::bf16, f16 = DType::f16, f32 = DType::f32;
  std::vector<NodeCase> nodes;
  const std::vector<ProductOf> products = {{4096, 4096, 64, b16, b16, rows, columns},
                                           {1664, 1664, 64, f16, f32, odd, odd_columns}};
  // Only layouts count, so there is no memory.
  const auto shaped = [](DType dtype, Layout layout) {
    return NodeInput{drawn({1}, dtype, 1, 0, 1), layout};
  };
  for (const ProductOf& p : products) {
    const auto layout = [](std::int64_t rows, std::int64_t columns, const Form& form) {
      Layout made{Shape{1, rows, columns}, {}, form.offset};
      made.strides[1] = form.is_transposed ? 1 : columns + form.offset;
      made.strides[2] = form.is_transposed ? rows + form.offset : 1;
      return made;
    };
    nodes.push_back(
        {matmul_node(),
         matmul_kernel,
         {shaped(p.dtype, layout(p.m, p.k, p.a)), shaped(p.dtype, layout(p.k, p.n, p.b))},
         {p.result, Shape{1, p.m, p.n}},
         target_of(p.math)});
  }
  const Conv2dOptions options{.stride = 2, .padding = 1};
  const auto dense = [&](DType dtype, const Shape& shape) {
    return shaped(dtype, Layout::dense(shape));
  };
  const Shape x{64, 128, 56, 56}, w{128, 128, 3, 3}, y{64, 128, 28, 28};
  nodes.push_back({{Conv2dInput{options, {56, 56}}, {}, {}, {}},
                   conv2d_input_kernel,
                   {dense(b16, y), dense(b16, w)},
                   {b16, x},
                   target_of(CudaMath::exact)});
  nodes.push_back({{Conv2dWeight{options, {3, 3}}, {}, {}, {}},
                   conv2d_weight_kernel,
                   {dense(f32, x), dense(f32, y)},
                   {f32, w},
                   target_of(CudaMath::tf32)});
  std::vector<CudaText> texts;
  for (const auto& node : nodes) texts.push_back(test_support::work_of(node).launches[0].text);
  using cubin::Kind;
  for (const cubin::Kernel& kernel : cubin::compiled(texts)) {
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.count(Kind::tensor_core) >= 16);
      BOOST_TEST(kernel.count(Kind::load_local) + kernel.count(Kind::store_local) == 0);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
