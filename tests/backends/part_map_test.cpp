// Formulas on the elements of convolutions and of gradients of pools: the bits of the nodes apart,
// for every instruction set and number of threads, and what stays apart.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "backends/cpu/families.h"
#include "blockgrad/blockgrad.h"
#include "graph/product_map.h"
#include "tests/support/checks.h"
#include "tests/support/instruction_sets.h"
#include "tests/support/waves.h"

using namespace blockgrad;
using namespace test_support;

namespace {

/// Feeds of one dtype, other ones each time.
struct Inputs {
  DType dtype = DType::f32;
  Feeds feeds = {};

  Expr operator()(const Shape& shape) {
    const auto number = static_cast<double>(feeds.size());
    const Expr x = input("x" + std::to_string(feeds.size()), shape, dtype);
    feeds.push_back({x, waves(shape, dtype, number)});
    return x;
  }
};

int count_product_maps(const Program& program) {
  const std::string text = program.to_text();
  int count = 0;
  for (std::size_t at = 0; (at = text.find("product_map", at)) != std::string::npos; ++at) ++count;
  return count;
}

// That so many formulas join their products, and that all outputs have the bits of portable code in
// one thread that keeps everything apart.
void check_equal_bits(const std::vector<Output>& outputs, const Feeds& feeds, int joined,
                      const CompileOptions& base = {}) {
  const auto values = [&](Program program) {
    const Results results = program.run(feeds);
    std::vector<Tensor> all;
    for (int i = 0; i < static_cast<int>(outputs.size()); ++i) all.push_back(results.tensor(i));
    return all;
  };
  CompileOptions options = base;
  options.skip = {"fuse_epilogues"};
  options.isa = "portable";
  options.threads = 1;
  Program apart = compile(outputs, {}, cpu(), options);
  BOOST_TEST(count_product_maps(apart) == 0);
  const std::vector<Tensor> expected = values(std::move(apart));
  options.skip = {};
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2, 3, 7}) {
      options.isa = std::string(isa_name(isa));
      options.threads = threads;
      Program program = compile(outputs, {}, cpu(), options);
      BOOST_TEST(count_product_maps(program) == joined, program.to_text());
      const std::vector<Tensor> got = values(std::move(program));
      for (std::size_t i = 0; i < outputs.size(); ++i) {
        BOOST_TEST(same_bits(got[i], expected[i]), "output " << i << " differs on " << options.isa
                                                             << " with " << threads << " threads");
      }
    }
  }
}

struct Layer {
  Shape x, w;
  Conv2dOptions options = {};
};

// Tails of vectors, strides, groups, channels cut for threads, one image; planes of all kinds.
const Layer layers[] = {
    {{3, 3, 17, 13}, {13, 3, 3, 2}},
    {{2, 2, 28, 28}, {16, 2, 5, 5}, {.padding = 2}},
    {{1, 3, 40, 33}, {35, 3, 3, 3}, {.stride = 2, .padding = 1}},
    {{2, 6, 24, 21}, {18, 2, 3, 3}, {.padding = {2, 1}, .dilation = {2, 1}, .groups = 3}},
    {{2, 7, 16, 19}, {10, 7, 1, 1}},
    {{1, 5, 32, 32}, {4, 5, 3, 3}, {.padding = 1}},
    {{9, 4, 16, 16}, {70, 4, 3, 3}, {.padding = 1}},
    {{5, 80, 6, 6}, {600, 80, 3, 3}, {.padding = 1}},  // rows of the kernel in several pieces
    {{3, 8, 32, 33}, {70, 4, 3, 3}, {.stride = {2, 3}, .padding = 1, .groups = 2}},
    {{2, 8, 32, 35}, {6, 8, 3, 3}, {.stride = 2}},  // residues of several widths
};

// Of an image of a group; fewer are not worth it.
bool are_many(const Shape& images, const Conv2dOptions& options) {
  return images[1] / options.groups * images[2] * images[3] >= 2048;
}
Shape results_of(const Layer& layer) {
  return conv2d(input("x", layer.x), input("w", layer.w), layer.options).shape();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(part_map)

BOOST_AUTO_TEST_CASE(a_bias_and_relu_behind_every_convolution) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Layer& layer : layers) {
      if (!are_many(results_of(layer), layer.options)) continue;
      Inputs inputs{dtype};
      const Expr c = conv2d(inputs(layer.x), inputs(layer.w), layer.options);
      const Expr bias = inputs({layer.w[0], 1, 1});
      check_equal_bits({relu(c + bias)}, inputs.feeds, 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_formula_behind_every_gradient_to_an_input) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Layer& layer : layers) {
      if (!are_many(layer.x, layer.options)) continue;
      Inputs inputs{dtype};
      const Expr dx = make(Conv2dInput{layer.options, {layer.x[2], layer.x[3]}},
                           {inputs(results_of(layer)), inputs(layer.w)});
      const Expr gate = inputs(layer.x), beside = inputs(layer.x);
      check_equal_bits({where(gate > 0.0, dx + beside, 0.0)}, inputs.feeds, 1);
    }
  }
}

// Operands that lie as rows, repeat after a plane or a row, are a number, or turned; long formulas;
// draws that go by an element's number.
BOOST_AUTO_TEST_CASE(formulas_of_all_kinds) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& image : {Shape{3, 2, 17, 23}, Shape{3, 2, 16, 32}, Shape{8, 2, 8, 256}}) {
      Inputs inputs{dtype};
      const Expr x = inputs(image), w = inputs({12, 2, 3, 3});
      const auto conv = [&] { return conv2d(x, w * inputs({}), {.padding = 1}); };
      const std::int64_t n = image[0], h = image[2], v = image[3];
      const Expr turned = transpose(inputs({n, 12, v, h}));
      const Expr wide = slice(inputs({n, 12, h, 2 * v}), 3, v, 2 * v);
      Context context({.seed = 7});
      check_equal_bits(
          {tanh(conv() * inputs({v}) + inputs({})), conv() * inputs({h, v}) + inputs({n, 12, h, v}),
           exp(conv() * 0.1) / (inputs({12, 1, 1}) + 3.0) * inputs({n, 1, 1, 1}),
           conv() * turned - inputs({h, 1}), gelu(conv() + wide) * wide * inputs({v}),
           dropout(relu(conv()), 0.4, context)},
          inputs.feeds, 6);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_reshaped_convolution_and_one_that_is_read_twice) {
  Inputs inputs;
  const Expr x = inputs({3, 2, 15, 15}), w = inputs({13, 2, 3, 3});
  const Expr flat = reshape(conv2d(x, w), {3, 13 * 169});
  const Expr c = conv2d(x, w * 2.0);
  check_equal_bits({relu(flat + inputs({3, 13 * 169})), c * c + c}, inputs.feeds, 2);
}

BOOST_AUTO_TEST_CASE(relu_behind_the_gradient_of_a_pool) {
  struct Pooled {
    Shape x;
    std::int64_t size;
    MaxPool2dOptions options = {};
  };
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const auto& [shape, size, options] :
         {Pooled{{5, 3, 14, 14}, 2}, Pooled{{130, 3, 7, 9}, 3, {.stride = 2}},
          Pooled{{1, 2, 70, 65}, 3, {.stride = 1, .padding = 1}}, Pooled{{2, 1, 3, 3}, 2}}) {
      Inputs inputs{dtype};
      const Expr x = inputs(shape), hidden = relu(x);
      const Expr y = max_pool2d(hidden, size, options);
      const Expr slope = grad(sum(y * inputs(y.shape())), {x})[0];
      check_equal_bits({slope}, inputs.feeds, 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_stays_so) {
  for (const double value : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    Inputs inputs;
    const Expr x = inputs({2, 3, 20, 20}), w = inputs({8, 3, 3, 3});
    const Expr bias = inputs({8, 1, 1});
    std::vector<float> weight(8 * 3 * 3 * 3, 1.0F);
    weight[5] = static_cast<float>(value);
    inputs.feeds[1].value = tensor(std::span<const float>(weight), {8, 3, 3, 3});
    check_equal_bits({exp(conv2d(x, w, {.padding = 1}) + bias)}, inputs.feeds, 1);
  }
}

BOOST_AUTO_TEST_CASE(results_are_parts_of_others) {
  Inputs inputs;
  const Expr x = inputs({2, 2, 16, 16});
  const auto hidden = [&] {
    return relu(conv2d(x, inputs({16, 2, 3, 3}), {.padding = 1}) + inputs({16, 1, 1}));
  };
  check_equal_bits({concat({hidden(), hidden()}, 0), concat({hidden(), hidden()}, 1)}, inputs.feeds,
                   4);
}

// What reads the product itself, several results, other dtypes, few elements, halves.
BOOST_AUTO_TEST_CASE(what_does_not_take_the_products_place_stays_apart) {
  Inputs inputs;
  const Expr x = inputs({2, 2, 16, 16}), w = inputs({16, 2, 3, 3});
  const auto conv = [&](double scale) { return conv2d(x, w * scale, {.padding = 1}); };
  const Expr read = conv(1), several = conv(2), turned = conv(4);
  check_equal_bits({relu(read), read, sin(several), cos(several), cast(conv(3), DType::f64),
                    turned + transpose(turned), relu(conv2d(x, inputs({7, 2, 3, 3})))},
                   inputs.feeds, 0);
  check_equal_bits({relu(conv(5))}, inputs.feeds, 0, {.math = MathMode::bf16});
}

BOOST_AUTO_TEST_CASE(new_values_of_storage_are_written_last) {
  std::vector<Tensor> values;
  for (const bool skips : {false, true}) {
    const Expr state = parameter(waves({2, 3, 30, 30}, DType::f32, 0), "state");
    const Expr w = parameter(waves({3, 3, 3, 3}, DType::f32, 1), "w");
    const Expr next = conv2d(state, w, {.padding = 1}) * 0.1 + state;
    Updates updates;
    updates.set(state, tanh(next));
    CompileOptions options;
    if (skips) options.skip = {"fuse_epilogues"};
    Program program = compile({sum(next)}, updates, cpu(), options);
    for (int step = 0; step < 3; ++step) values.push_back(program.run({}).tensor(0));
    values.push_back(state.value());
  }
  for (std::size_t i = 0; i < 4; ++i) BOOST_TEST(same_bits(values[i], values[i + 4]));
}

BOOST_AUTO_TEST_CASE(a_limit_of_memory_and_a_look_at_numbers_keep_formulas_apart) {
  Inputs inputs;
  const Expr y = relu(conv2d(inputs({2, 2, 16, 16}), inputs({16, 2, 3, 3})) + inputs({16, 1, 1}));
  for (const CompileOptions& options :
       {CompileOptions{.check_numerics = true}, CompileOptions{.memory_limit = 1 << 30}}) {
    Program program = compile({y}, {}, cpu(), options);
    BOOST_TEST(count_product_maps(program) == 0);
    Program joined = compile({y});
    BOOST_TEST(count_product_maps(joined) == 1);
    BOOST_TEST(same_bits(program.run(inputs.feeds).tensor(0), joined.run(inputs.feeds).tensor(0)));
  }
}

BOOST_AUTO_TEST_CASE(the_report_names_the_formula) {
  Inputs inputs;
  const Expr y = relu(conv2d(inputs({2, 2, 16, 16}), inputs({16, 2, 3, 3})) + inputs({16, 1, 1}));
  const std::string text = compile({y}).explain();
  BOOST_TEST(contains(text, "On the elements of a product: 1 formula"), text);
  BOOST_TEST(contains(text, "conv2d, add, relu"), text);
  BOOST_TEST(contains(text, "in place"), text);
}

// Parts one by one and in any runs, in memory full of NaN, which nothing is written behind.
BOOST_AUTO_TEST_CASE(each_part_makes_its_elements_and_no_others) {
  const Shape x{3, 4, 18, 18}, w{40, 4, 3, 3}, y{3, 40, 16, 16}, bias{1, 40, 1, 1};
  const DType types[] = {DType::f32, DType::f32};
  ScalarRecorder recorder(types);
  const Scalar sum = recorder.input(0) + recorder.input(1);
  const Op op = ProductMap{Conv2d{{}}, recorder.finish(std::vector<Scalar>{sum}), {y}};
  const GraphNode node{op, {}, {{DType::f32, y}}, {}};
  Layout spread = Layout::dense(y);
  spread.strides = {0, 1, 0, 0};
  const std::vector<Operand> in{{Place::feed, 0, DType::f32, Layout::dense(x)},
                                {Place::feed, 1, DType::f32, Layout::dense(w)},
                                {Place::feed, 2, DType::f32, spread}};
  const std::vector<Operand> out{{Place::arena, 0, DType::f32, Layout::dense(y)}};
  const Tensor values[] = {waves(x, DType::f32, 0), waves(w, DType::f32, 1),
                           waves(bias, DType::f32, 2)};
  const std::byte* from[] = {values[0].bytes(), values[1].bytes(), values[2].bytes()};
  for (const Isa isa : supported_isas()) {
    const Kernel kernel = part_map_kernel({node, in, out, isa});
    std::vector<std::vector<float>> made;
    for (const std::int64_t run : {std::int64_t{1}, std::int64_t{5}, kernel.parts}) {
      constexpr std::size_t guard = 64;
      std::vector<float> result(static_cast<std::size_t>(y.size()) + guard, NAN);
      std::vector<std::byte> scratch(kernel.scratch + 128, std::byte{0xFF});
      std::byte* to[] = {reinterpret_cast<std::byte*>(result.data())};
      KernelCall call{from, to};
      call.scratch = scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64);
      for (std::int64_t last = kernel.parts; last > 0; last -= run)
        kernel.run(call, std::max<std::int64_t>(0, last - run), last);
      for (std::size_t i = 0; i < guard; ++i)
        BOOST_TEST(std::isnan(result[static_cast<std::size_t>(y.size()) + i]));
      for (std::byte* p = call.scratch + kernel.scratch; p != scratch.data() + scratch.size(); ++p)
        BOOST_TEST((*p == std::byte{0xFF}));
      result.resize(static_cast<std::size_t>(y.size()));
      BOOST_TEST(std::none_of(result.begin(), result.end(), [](float v) { return std::isnan(v); }));
      made.push_back(result);
    }
    BOOST_TEST((made[0] == made[1] && made[0] == made[2]));
  }
}

BOOST_AUTO_TEST_SUITE_END()
