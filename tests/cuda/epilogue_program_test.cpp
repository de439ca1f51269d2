// Products with formulas on their elements, on CUDA's executable: equal bits with the two nodes
// apart, and fewer kernels.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>

#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

/// Feeds drawn from seeds that count up.
struct Inputs {
  Feeds feeds;
  std::uint64_t seed = 0;

  Expr operator()(const Shape& shape, DType dtype = DType::f32) {
    const Expr x = input("x" + std::to_string(seed), shape, dtype);
    feeds.push_back({x, test_support::drawn(shape, dtype, ++seed, -1, 1)});
    return x;
  }
};

/// That the pass makes `fewer` kernels less, and that all outputs keep their bits.
void check_equal_bits(const std::vector<Output>& outputs, const Feeds& feeds, std::int64_t fewer,
                      MathMode math = MathMode::exact) {
  const Device& device = test_support::cuda_test_device();
  Program apart = compile(outputs, {}, device, {.skip = {"fuse_epilogues"}, .math = math});
  Program fused = compile(outputs, {}, device, {.math = math});
  BOOST_TEST(apart.report().kernels - fused.report().kernels == fewer, fused.to_text());
  const Results expected = apart.run(feeds), got = fused.run(feeds);
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    const Tensor a = expected.tensor(i), b = got.tensor(i);
    BOOST_TEST_REQUIRE((a.type() == b.type()));
    BOOST_TEST(std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0,
               "output " << i << " of " << fused.to_text());
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(epilogue_program)

BOOST_AUTO_TEST_CASE(a_formula_on_every_rung_and_tail) {
  if (test_support::skips_cuda_programs()) return;
  // Tiny products, tiles with tails, rows in packs and not, slices of k.
  const std::int64_t sizes[][3] = {{3, 4, 5},   {33, 70, 21}, {68, 64, 130}, {65, 1, 50},
                                   {1, 70, 64}, {5, 7, 1100}, {40, 40, 0},   {130, 132, 8}};
  for (const DType dtype : {DType::f32, DType::f64}) {
    Inputs inputs;
    std::vector<Output> outputs;
    for (const auto& [m, n, k] : sizes) {
      const Expr product = matmul(inputs(Shape{m, k}, dtype), inputs(Shape{k, n}, dtype));
      const Expr row = inputs(Shape{n}, dtype), column = inputs(Shape{m, 1}, dtype);
      outputs.push_back(relu(product + row) * column + inputs(Shape{m, n}, dtype));
    }
    check_equal_bits(outputs, inputs.feeds, static_cast<std::int64_t>(std::size(sizes)));
  }
}

BOOST_AUTO_TEST_CASE(several_results_of_several_types) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr product = matmul(inputs(Shape{35, 20}), inputs(Shape{20, 37}));
  const Expr hidden = product + inputs(Shape{37});
  // The product, its activation and what a gradient keeps, and a narrow copy.
  check_equal_bits({product, gelu(hidden), cast(hidden, DType::bf16), hidden > 0.0}, inputs.feeds,
                   1);
}

BOOST_AUTO_TEST_CASE(batches_and_reshaped_products) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr x = inputs(Shape{2, 9, 12}), w = inputs(Shape{12, 16});
  const Expr a = inputs(Shape{2, 3, 7, 8}), b = inputs(Shape{3, 8, 12});
  const Expr mask = inputs(Shape{7, 12}), scale = inputs(Shape{2, 1, 1, 1});
  check_equal_bits({relu(linear(x, w, inputs(Shape{16}))) + inputs(Shape{2, 9, 16}),
                    where(mask > 0.0, matmul(a, b) * scale, -1e9),
                    matmul(x, inputs(Shape{12, 5})) * inputs(Shape{2, 9, 1})},
                   inputs.feeds, 3);
}

BOOST_AUTO_TEST_CASE(products_of_two_products) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr x = inputs(Shape{34, 20});
  const Expr gate = matmul(x, inputs(Shape{20, 36})), value = matmul(x, inputs(Shape{20, 36}));
  check_equal_bits({sigmoid(gate) * value}, inputs.feeds, 1);
}

BOOST_AUTO_TEST_CASE(halves_are_rounded_where_they_were) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Inputs inputs;
    const Expr a = inputs(Shape{17, 40}, dtype), b = inputs(Shape{40, 18}, dtype);
    check_equal_bits({gelu(matmul(a, b) + inputs(Shape{18}, dtype))}, inputs.feeds, 1);
  }
}

BOOST_AUTO_TEST_CASE(masks_are_drawn_by_the_place_of_an_element) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr product = matmul(inputs(Shape{2, 9, 21}), inputs(Shape{2, 21, 30}));
  Context context({.seed = 7});
  check_equal_bits({dropout(relu(product), 0.4, context)}, inputs.feeds, 1);
}

BOOST_AUTO_TEST_CASE(convolutions_are_products_too) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr x = inputs(Shape{2, 4, 7, 9});
  const Expr plain = conv2d(x, inputs(Shape{6, 4, 3, 3}), {.padding = 1}, inputs(Shape{6}));
  const Expr grouped =
      conv2d(x, inputs(Shape{6, 2, 3, 2}), {.stride = 2, .groups = 2}, inputs(Shape{6}));
  check_equal_bits({relu(plain), tanh(grouped)}, inputs.feeds, 2);
}

// Their planes lie along a row of the product, image by image.
BOOST_AUTO_TEST_CASE(convolutions_of_many_small_images_are_products_too) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  Context context({.seed = 7});
  const Expr plain = conv2d(inputs(Shape{80, 8, 3, 3}), inputs(Shape{33, 8, 3, 3}), {.padding = 1},
                            inputs(Shape{33}));
  const Expr grouped =
      conv2d(inputs(Shape{80, 16, 3, 4}), inputs(Shape{34, 8, 3, 3}), {.padding = 1, .groups = 2});
  const Expr pointwise = conv2d(inputs(Shape{80, 16, 3, 3}), inputs(Shape{33, 16, 1, 1}), {});
  const Expr slope = make(Conv2dInput{{.padding = 1, .groups = 2}, {3, 4}},
                          {inputs(Shape{80, 34, 3, 4}), inputs(Shape{34, 8, 3, 3})});
  const std::vector<Output> outputs{
      relu(plain), plain, dropout(relu(grouped) * inputs(Shape{80, 34, 1, 1}), 0.4, context),
      pointwise + inputs(Shape{80, 33, 3, 3}),
      where(inputs(Shape{80, 16, 3, 4}) > 0.0, slope, 0.0)};
  for (const MathMode math : {MathMode::exact, MathMode::tf32}) {
    check_equal_bits(outputs, inputs.feeds, 4, math);
    const Program program = compile(outputs, {}, test_support::cuda_test_device(), {.math = math});
    const std::string text = program.explain();
    const std::string cut = math == MathMode::exact ? "m,n,k 8x960x153" : "m,n,k 17x960x72";
    BOOST_TEST(text.find(cut) != std::string::npos, text);
  }
}

BOOST_AUTO_TEST_CASE(the_report_names_what_runs_on_a_product_and_what_does_not) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr product = matmul(inputs(Shape{35, 20}), inputs(Shape{20, 37}));
  const Expr other = matmul(inputs(Shape{37, 20}), inputs(Shape{20, 37}));
  const Program program = compile({relu(product + inputs(Shape{37})), other + transpose(other)}, {},
                                  test_support::cuda_test_device());
  const std::string text = program.explain();
  const auto says = [&](std::string_view part) { return text.find(part) != std::string::npos; };
  BOOST_TEST(says("On the elements of a product: 1 formula, none a sweep over memory"), text);
  BOOST_TEST(says("matmul, add, relu"), text);
  BOOST_TEST(says("1 pair because something between them needs the product: add with matmul"),
             text);
}

BOOST_AUTO_TEST_SUITE_END()
