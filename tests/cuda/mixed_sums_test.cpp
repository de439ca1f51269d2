// Sums of gradients in programs with CompileOptions::math: which read what products read, their
// bits, their error, and what a step stores for them.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "backends/mixed.h"
#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/reduce.h"
#include "graph/passes/passes.h"
#include "models/models.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using test_support::contains;
using test_support::drawn;
using test_support::same_bits;

namespace {

struct Mode {
  MathMode math;
  DType half;
  double unit;      // no number is rounded by more of itself,
  double smallest;  // or by more than this
};
const Mode modes[] = {{MathMode::bf16, DType::bf16, 0x1p-8, 0},
                      {MathMode::f16, DType::f16, 0x1p-11, 0x1p-25}};

Expr drawn_f32(const Shape& shape, std::uint64_t seed) {
  return constant(drawn(shape, DType::f32, seed, -1, 1));
}

/// r(x).
Expr rounded(const Expr& x, DType half) { return astype(astype(x, half), DType::f32); }

std::vector<Tensor> run(const std::vector<Expr>& outputs, MathMode math,
                        const Device& device = cpu()) {
  Program program =
      compile(std::vector<Output>(outputs.begin(), outputs.end()), {}, device, {.math = math});
  const Results results = program.run();
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    values.push_back(results.tensor(static_cast<int>(i)));
  return values;
}

/// What the sums of the way back read in a mixed graph, in the order of nodes.
std::vector<DType> summed_dtypes(const std::vector<Expr>& outputs, DType half) {
  const auto keeps = [](const Op& op) { return op.as<Attention>() || !op->has_expand(); };
  const Graph graph = mixed(build_graph(outputs, {}, keeps), half);
  std::vector<DType> dtypes;
  for (const GraphNode& node : graph.nodes) {
    if (!node.op.as<Reduce>() || node.origin.role != gradient_role) continue;
    BOOST_TEST((node.types[0].dtype == DType::f32));
    dtypes.push_back(graph.type(node.inputs[0]).dtype);
  }
  return dtypes;
}

/// Two layers with a bias each, and what they make.
struct Layers {
  Expr x = drawn_f32({37, 12}, 1), w = drawn_f32({12, 19}, 2), b = drawn_f32({19}, 3),
       v = drawn_f32({19, 5}, 4), c = drawn_f32({5}, 5);
  Expr inner = linear(x, w, b), h = relu(inner), outer = linear(h, v, c),
       loss = mean(square(outer));
};

}  // namespace

BOOST_AUTO_TEST_SUITE(mixed_sums)

BOOST_AUTO_TEST_CASE(biases_of_layers_and_heads_add_up_halves) {
  const Layers net;
  const std::vector<Expr> wanted = grad(net.loss, {net.w, net.b, net.v, net.c});
  for (const Mode& mode : modes) {
    const std::vector<DType> dtypes = summed_dtypes(wanted, mode.half);
    BOOST_TEST((dtypes == std::vector<DType>{mode.half, mode.half}));
  }
}

BOOST_AUTO_TEST_CASE(without_a_product_that_reads_it_a_sum_reads_a_gradient_as_it_is) {
  const Layers net;
  const std::vector<DType> dtypes = summed_dtypes(grad(net.loss, {net.c}), DType::bf16);
  BOOST_TEST((dtypes == std::vector<DType>{DType::f32}));
}

BOOST_AUTO_TEST_CASE(norms_and_softmax_add_up_what_is_not_rounded) {
  const Expr x = drawn_f32({16, 12}, 1), w = drawn_f32({12, 12}, 2), gain = drawn_f32({12}, 3),
             shift = drawn_f32({12}, 4), v = drawn_f32({12, 12}, 5);
  const Expr y = softmax(matmul(layer_norm(matmul(x, w), gain, shift), v));
  const Expr loss = mean(square(matmul(y, drawn_f32({12, 3}, 6))));
  const std::vector<DType> dtypes = summed_dtypes(grad(loss, {w, gain, shift, v}), DType::bf16);
  BOOST_TEST(dtypes.size() >= 5);
  for (const DType dtype : dtypes) BOOST_TEST((dtype == DType::f32));
}

BOOST_AUTO_TEST_CASE(a_sum_that_the_way_back_goes_on_from_is_of_f32) {
  const Expr x = drawn_f32({16, 12}, 1), w = drawn_f32({12, 1}, 2), v = drawn_f32({12, 9}, 3);
  const Expr y = matmul(x, w) + matmul(x, v);  // [16, 1] spread over 9 columns
  const std::vector<DType> dtypes =
      summed_dtypes(grad(mean(square(matmul(tanh(y), drawn_f32({9, 3}, 4)))), {w, v}), DType::f16);
  BOOST_TEST((dtypes == std::vector<DType>{DType::f32}));
}

BOOST_AUTO_TEST_CASE(a_sum_has_the_bits_of_the_rounded_gradient_summed_by_hand) {
  const Layers net;
  for (const Mode& mode : modes) {
    const auto r = [&](const Expr& e) { return rounded(e, mode.half); };
    const std::vector<Expr> wanted = grad(net.loss, {net.b, net.c, net.outer, net.w});
    const std::vector<Tensor> got = run(wanted, mode.math);
    const Expr dy = constant(got[2]);
    const Expr inner = r(matmul(r(net.x), r(net.w))) + net.b;
    const Expr dh = r(where(inner > 0.0, r(matmul(r(dy), transpose(r(net.v)))), 0.0));
    const std::vector<Tensor> expected = run({sum(dh, 0), sum(r(dy), 0)}, MathMode::exact);
    BOOST_TEST(same_bits(got[0], expected[0]), name(mode.math));
    BOOST_TEST(same_bits(got[1], expected[1]), name(mode.math));
    BOOST_TEST(!same_bits(got[1], run({sum(dy, 0)}, MathMode::exact)[0]));
  }
}

// |db - sum dz| <= u sum |dz|, with half a unit of subnormal f16 for each number, beside the
// rounding of f32 sums.
BOOST_AUTO_TEST_CASE(the_error_of_a_sum_is_that_of_rounding_its_numbers) {
  constexpr std::int64_t rows = 301;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const double scale = seed % 2 == 0 ? 1e-7 : 1;
    const Expr x = drawn_f32({rows, 6}, seed), w = drawn_f32({6, 9}, seed + 10),
               b = drawn_f32({9}, seed + 20), v = drawn_f32({9, 4}, seed + 30);
    const Expr inner = linear(x, w, b);
    const Expr loss = scale * sum(square(matmul(tanh(inner), v)));
    for (const Mode& mode : modes) {
      const std::vector<Tensor> got = run(grad(loss, {b, inner}), mode.math);
      for (std::int64_t j = 0; j < 9; ++j) {
        double exact = 0, all = 0;
        for (std::int64_t i = 0; i < rows; ++i) {
          exact += got[1].at(i * 9 + j);
          all += std::abs(got[1].at(i * 9 + j));
        }
        const double bound = (mode.unit + rows * 0x1p-24) * all + rows * mode.smallest;
        BOOST_TEST(std::abs(got[0].at(j) - exact) <= bound, name(mode.math) << ", seed " << seed);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(bits_are_equal_however_sums_are_compiled) {
  std::vector<Expr> all;
  const auto add = [&](const Expr& loss, const std::vector<Expr>& wrt) {
    for (const Expr& gradient : grad(loss, wrt)) all.push_back(gradient);
  };
  const Layers net;
  add(net.loss, {net.w, net.b, net.v, net.c});
  {  // a bias of one number, so many that a sum of all is a node of its own kind
    const Expr x = drawn_f32({33000, 3}, 1), w = drawn_f32({3, 2}, 2), b = drawn_f32({1}, 3),
               v = drawn_f32({2, 1}, 4), c = drawn_f32({1}, 5);
    add(mean(square(linear(tanh(linear(x, w, b)), v, c))), {w, b, v, c});
  }
  {  // a bias in front of a norm over the same lines
    const Expr image = drawn_f32({3, 2, 8, 8}, 6), kernel = drawn_f32({4, 2, 3, 3}, 7),
               bias = drawn_f32({4, 1, 1}, 8), next = drawn_f32({2, 4, 3, 3}, 9);
    const Expr y = conv2d(image, kernel) + bias, centred = y - mean(y, {0, 2, 3}, true);
    const Expr norm = centred * rsqrt(mean(square(centred), {0, 2, 3}, true) + 1e-5);
    add(mean(square(conv2d(relu(norm), next))), {kernel, bias, next});
  }
  {  // one row, and parts joined for one bias
    const Expr x = drawn_f32({1, 12}, 10), w = drawn_f32({12, 24}, 11), b = drawn_f32({24}, 12);
    const std::vector<Expr> parts = split(linear(x, w, b), 3, -1);
    const Expr y = attention(parts[0], parts[1], parts[2]);
    add(mean(square(matmul(y, drawn_f32({8, 5}, 13)))), {w, b});
  }
  for (const Mode& mode : modes) {
    const auto compiled = [&](CompileOptions options) {
      options.math = mode.math;
      return op_check::run(all, {}, options);
    };
    const std::vector<Tensor> expected = compiled(op_check::variants()[0].options);
    for (const op_check::Variant& variant : op_check::variants())
      BOOST_TEST(same_bits(compiled(variant.options), expected), name(mode.math)
                                                                     << ", " << variant.name);
  }
}

BOOST_AUTO_TEST_CASE(cuda_gives_what_the_cpu_gives) {
  if (test_support::skips_cuda_programs()) return;
  const Layers net;
  const Expr x = drawn_f32({600, 8}, 1), w = drawn_f32({8, 6}, 2), b = drawn_f32({1}, 3);
  std::vector<Expr> wanted = grad(net.loss, {net.b, net.c});
  const Expr loss = mean(square(matmul(tanh(matmul(x, w) + b), drawn_f32({6, 2}, 4))));
  for (const Expr& gradient : grad(loss, {w, b})) wanted.push_back(gradient);
  for (const Mode& mode : modes) {
    const std::vector<Tensor> expected = run(wanted, mode.math),
                              got = run(wanted, mode.math, test_support::cuda_test_device());
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      double off = 0, scale = 0;
      for (std::int64_t k = 0; k < expected[i].size(); ++k) {
        off = std::max(off, std::abs(got[i].at(k) - expected[i].at(k)));
        scale = std::max(scale, std::abs(expected[i].at(k)));
      }
      // A product that ends beside the middle of two halves may be rounded to the other one.
      BOOST_TEST(off <= mode.unit * scale, name(mode.math) << ", output " << i << ": " << off);
    }
  }
}

namespace {

/// Lines of a program of bf16 for CUDA that make a value of this type, without parameters, what
/// they are updated by, and what is copied of them.
int makers(const bench::Model& model, const std::string& type) {
  const bench::Training training = bench::training_of(model, true);
  const Program program = compile({training.model.loss}, training.updates,
                                  test_support::cuda_test_device(), {.math = MathMode::bf16});
  std::istringstream lines(program.to_text());
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string types = line.substr(0, line.find('{'));
    const bool is_made = contains(types, " = matmul") || contains(types, " = product_map") ||
                         contains(types, " = attention_gradient") ||
                         contains(types, " = fused map") || contains(types, " = astype") ||
                         contains(types, " = split");
    count += is_made && contains(types, " " + type) ? 1 : 0;
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_gradient_that_is_multiplied_and_summed_is_stored_once) {
  if (test_support::skips_harness()) return;
  const bench::Model mlp = bench::mlp({.batch = 24, .widths = {20, 36, 28, 10}});
  BOOST_TEST(makers(mlp, "f32[24, 36]") == 0);
  BOOST_TEST(makers(mlp, "f32[24, 28]") == 0);
  BOOST_TEST(makers(mlp, "bf16[24, 36]") == 2);
  const bench::Model gpt = bench::gpt(
      {.batch = 2, .context = 6, .layers = 1, .width = 16, .heads = 2, .vocabulary = 13});
  BOOST_TEST(makers(gpt, "f32[2, 6, 64]") == 0);    // of gelu
  BOOST_TEST(makers(gpt, "f32[2, 2, 6, 8]") == 0);  // of attention
  BOOST_TEST(makers(gpt, "f32[2, 6, 48]") == 0);    // joined
  BOOST_TEST(makers(gpt, "bf16[2, 2, 6, 8]") > 0);
}

BOOST_AUTO_TEST_CASE(an_overflow_of_a_rounded_gradient_shows_in_its_sum) {
  const Expr x = drawn_f32({8, 6}, 1), w = drawn_f32({6, 7}, 2), b = drawn_f32({7}, 3),
             v = drawn_f32({7, 5}, 4), c = drawn_f32({5}, 5);
  const Expr loss = sum(1e5 * sin(linear(tanh(linear(x, w, b)), v, c)));
  const auto largest = [&](MathMode math) {
    const Tensor dc = run(grad(loss, {w, c}), math)[1];
    double most = 0;
    for (std::int64_t i = 0; i < dc.size(); ++i) most = std::max(most, std::abs(dc.at(i)));
    return most;
  };
  BOOST_TEST(largest(MathMode::exact) > 65504.0);
  BOOST_TEST(std::isfinite(largest(MathMode::exact)));
  BOOST_TEST(std::isfinite(largest(MathMode::bf16)));
  BOOST_TEST(!std::isfinite(largest(MathMode::f16)));
}

BOOST_AUTO_TEST_CASE(a_sum_that_overflows_halves_the_scale_and_training_goes_on) {
  const auto trains = [](MathMode math, const Device& device, std::int64_t steps) {
    const Expr x = drawn_f32({16, 6}, 1), t = drawn_f32({16, 1}, 2);
    const Expr w = drawn_f32({6, 8}, 3), v = drawn_f32({8, 1}, 4);
    const Expr b = parameter(zeros({8}), "b"), c = parameter(zeros({1}), "c");  // trained alone
    Optimizer optimizer(Adam{.learning_rate = 0.02});
    const Loss loss = mse_loss(linear(tanh(linear(x, w, b)), v, c), t);
    const LossScale scale(0x1p24);
    Program program =
        compile({loss}, optimizer.apply(scale.gradients(loss)), device, {.math = math});
    const double first = program.run().number(0);
    BOOST_TEST(scale.value() == (math == MathMode::f16 ? 0x1p23 : 0x1p24));
    BOOST_TEST((c.value().at(0) == 0) == (math == MathMode::f16));
    const double last = program.run_many(steps).number(0);
    BOOST_TEST(last < first);
    return last;
  };
  constexpr std::int64_t steps = 400;
  const double f16 = trains(MathMode::f16, cpu(), steps),
               exact = trains(MathMode::exact, cpu(), steps);
  BOOST_TEST(std::abs(f16 - exact) < 0.05 * exact);
  if (test_support::skips_cuda_programs()) return;
  const double cuda = trains(MathMode::f16, test_support::cuda_test_device(), 15);
  BOOST_TEST(std::abs(cuda - trains(MathMode::f16, cpu(), 15)) < 0.02 * cuda);
}

BOOST_AUTO_TEST_SUITE_END()
