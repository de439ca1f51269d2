// Programs with products on CUDA's executable against the CPU.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

Tensor drawn(const Shape& shape, DType dtype, std::uint64_t seed) {
  return test_support::drawn(shape, dtype, seed, -1, 1);
}

/// Feeds drawn from seeds that count up.
struct Inputs {
  Feeds feeds;
  std::uint64_t seed = 0;

  Expr operator()(const Shape& shape, DType dtype = DType::f32) {
    const Expr x = input("x" + std::to_string(seed), shape, dtype);
    feeds.push_back({x, drawn(shape, dtype, ++seed)});
    return x;
  }
};

// Sums of slices are joined in another order than the CPU's chain.
constexpr double f32_order = 1e-5;

}  // namespace

BOOST_AUTO_TEST_SUITE(product_program)

BOOST_AUTO_TEST_CASE(products_of_all_sizes_have_the_bits_of_the_cpu) {
  if (test_support::skips_cuda_programs()) return;
  const std::int64_t sizes[][3] = {{1, 1, 1}, {3, 4, 5}, {33, 70, 21}, {68, 64, 130}, {40, 40, 0},
                                   {0, 5, 3}, {5, 0, 3}, {1, 70, 64},  {65, 1, 50},   {72, 36, 16}};
  for (const DType dtype : {DType::f32, DType::f64}) {
    Inputs inputs;
    std::vector<Output> outputs;
    for (const auto& [m, n, k] : sizes)
      outputs.push_back(matmul(inputs(Shape{m, k}, dtype), inputs(Shape{k, n}, dtype)));
    test_support::check_on_cuda(outputs, inputs.feeds, 0);
  }
}

BOOST_AUTO_TEST_CASE(transposed_and_shifted_operands_are_read_where_they_lie) {
  if (test_support::skips_cuda_programs()) return;
  for (const std::int64_t pitch : {36, 35}) {
    Inputs inputs;
    std::vector<Output> outputs;
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const Expr a = inputs(ta ? Shape{32, pitch} : Shape{pitch, 32});
        const Expr b = inputs(tb ? Shape{pitch, 32} : Shape{32, pitch});
        outputs.push_back(matmul(a, b, {.transpose_a = ta, .transpose_b = tb}));
        outputs.push_back(matmul(slice(a, {{1, 31}, {2, 30}}),
                                 slice(b, {{ta ? 1 : 2, ta ? 31 : 30}, {1, 29}}),
                                 {.transpose_a = ta, .transpose_b = tb && !ta}));
      }
    }
    test_support::check_on_cuda(outputs, inputs.feeds, 0);
  }
}

BOOST_AUTO_TEST_CASE(batches_lie_and_broadcast_as_they_will) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr a = inputs(Shape{2, 3, 20, 8}), b = inputs(Shape{2, 3, 8, 24});
  const Expr shared = inputs(Shape{8, 24}), rows = inputs(Shape{3, 8, 24});
  const Expr columns = inputs(Shape{2, 1, 8, 24});
  // The heads of attention: [batch, time, head, width].
  const Expr q = inputs(Shape{2, 20, 3, 8}), k = inputs(Shape{2, 12, 3, 8});
  const auto heads = [](const Expr& x) { return permute_dims(x, std::vector<int>{0, 2, 1, 3}); };
  const Expr none = inputs(Shape{0, 3, 20, 8});
  test_support::check_on_cuda(
      {matmul(a, b), matmul(a, shared), matmul(a, rows), matmul(a, columns), matmul(none, rows),
       matmul(heads(q), heads(k), {.transpose_b = true}),
       permute_dims(matmul(matmul(heads(q), heads(k), {.transpose_b = true}), heads(k)),
                    std::vector<int>{0, 2, 1, 3})},
      inputs.feeds, 0);
}

BOOST_AUTO_TEST_CASE(long_sums_are_cut_in_slices_and_joined) {
  if (test_support::skips_cuda_programs()) return;
  Inputs inputs;
  const Expr a = inputs(Shape{2, 5, 1100}), b = inputs(Shape{1100, 7});
  test_support::check_on_cuda({matmul(a, b)}, inputs.feeds, f32_order);
  Inputs wide;
  const Expr c = wide(Shape{1100, 6}, DType::f64), d = wide(Shape{1100, 9}, DType::f64);
  test_support::check_on_cuda({matmul(c, d, {.transpose_a = true})}, wide.feeds, 1e-13);
}

BOOST_AUTO_TEST_CASE(halves_are_multiplied_as_f32) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Inputs inputs;
    const Expr a = inputs(Shape{17, 40}, dtype), b = inputs(Shape{40, 18}, dtype);
    test_support::check_on_cuda({matmul(a, b)}, inputs.feeds, 0);
  }
}

BOOST_AUTO_TEST_CASE(gradients_and_updates_of_a_small_network_agree) {
  if (test_support::skips_cuda_programs()) return;
  const auto train = [](const Device& device) {
    const Expr w = parameter(drawn({12, 20}, DType::f32, 50), "w");
    const Expr v = parameter(drawn({20, 5}, DType::f32, 51), "v");
    const Expr x = input("x", Shape{33, 12}), y = input("y", Shape{33, 5});
    const Expr error = matmul(relu(matmul(x, w)), v) - y;
    // The adjoint of the sum of squares, by hand: reductions are another suite's.
    const Expr adjoint = 2.0 * error;
    const Expr hidden = relu(matmul(x, w));
    const Expr back = where(hidden > 0.0, matmul(adjoint, v, {.transpose_b = true}), 0.0);
    Updates updates;
    updates.set(v, v - 0.001 * matmul(hidden, adjoint, {.transpose_a = true}));
    updates.set(w, matmul(x, back, {.transpose_a = true}));
    Program program = compile({error}, updates, device);
    program.run({{x, drawn({33, 12}, DType::f32, 52)}, {y, drawn({33, 5}, DType::f32, 53)}});
    return std::pair(w.value(), v.value());
  };
  const auto expected = train(cpu()), got = train(test_support::cuda_test_device());
  for (std::int64_t i = 0; i < expected.first.size(); ++i)
    BOOST_TEST(got.first.at(i) == expected.first.at(i));
  for (std::int64_t i = 0; i < expected.second.size(); ++i)
    BOOST_TEST(got.second.at(i) == expected.second.at(i));
}

BOOST_AUTO_TEST_CASE(the_report_shows_grid_warp_and_instruction_blocks) {
  if (test_support::skips_cuda_programs()) return;
  const Expr a = input("a", Shape{70, 30}), b = input("b", Shape{30, 70});
  const Program program = compile({matmul(a, b)}, {}, test_support::cuda_test_device());
  const std::string text = program.explain();
  BOOST_TEST(text.find("grid 32x32x30 > warp 32x16x30 > instruction 4x4x1") != std::string::npos,
             text);
}

BOOST_AUTO_TEST_SUITE_END()
