// Products of bf16 and f16 on both devices: those of f32, rounded once.
#include "backends/products.h"

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using test_support::drawn;
using test_support::same_bits;

namespace {

// A product of halves, and the same of f32.
struct Twins {
  Expr half, wide;
  Expr rounded() const { return astype(wide, half.dtype()); }
};

// Every kind of product of two operands, by the dtype of its result.
std::vector<Twins> twins(DType dtype, DType result) {
  std::vector<Twins> all;
  std::uint64_t seed = 0;
  const auto add = [&](auto product, const Expr& a, const Expr& b) {
    auto wide = product;
    product.result = result;
    all.push_back(
        {make(product, {a, b}), make(wide, {astype(a, DType::f32), astype(b, DType::f32)})});
  };
  const auto value = [&](const Shape& shape) {
    return constant(drawn(shape, dtype, ++seed, -1, 1));
  };
  add(MatMul{}, value({5, 7}), value({7, 33}));
  add(MatMul{}, transpose(value({9, 4})), transpose(value({6, 9})));
  add(MatMul{}, broadcast_to(value({3, 4}), {2, 3, 4}), value({2, 4, 5}));
  add(MatMul{}, slice(value({6, 8}), 0, 1, 4), value({8, 2}));
  add(MatMul{}, value({3, 0}), value({0, 2}));
  const Conv2dOptions how{.stride = 2, .padding = 1, .groups = 2};
  add(Conv2d{how}, value({2, 4, 7, 6}), value({6, 2, 3, 3}));
  add(Conv2dInput{how, {7, 6}}, value({2, 6, 4, 3}), value({6, 2, 3, 3}));
  add(Conv2dWeight{how, {3, 3}}, value({2, 4, 7, 6}), value({2, 6, 4, 3}));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(half_products)

BOOST_AUTO_TEST_CASE(a_product_of_halves_is_that_of_f32_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const DType result : {DType::f32, dtype}) {
      std::vector<Expr> half, wide;
      for (const Twins& pair : twins(dtype, result)) {
        half.push_back(pair.half);
        wide.push_back(pair.rounded());
      }
      const std::vector<Tensor> expected = op_check::run(wide, {});
      for (const op_check::Variant& variant : op_check::variants())
        BOOST_TEST(same_bits(op_check::run(half, {}, variant.options), expected), variant.name);
    }
  }
}

// y, dq, dk and dv of halves; lse stays f32.
BOOST_AUTO_TEST_CASE(attention_of_halves_is_that_of_f32_rounded_once) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    std::uint64_t seed = 0;
    std::vector<Expr> in, wide_in;
    const auto add = [&](const Shape& shape) {
      in.push_back(constant(drawn(shape, dtype, ++seed, -1, 1)));
      wide_in.push_back(astype(in.back(), DType::f32));
    };
    for (const Shape& shape : {Shape{2, 5, 6}, {2, 7, 6}, {2, 7, 4}}) add(shape);
    const std::vector<Expr> half = make_all(Attention{true, 0.5, dtype}, in),
                            wide = make_all(Attention{true, 0.5}, wide_in);
    add({2, 5, 4});
    for (const Expr& e : {half[1], constant(drawn({2, 5}, DType::f32, 50, -1, 1))}) {
      in.push_back(e);
      wide_in.push_back(e);
    }
    const std::vector<Expr> half_slopes = make_all(AttentionGradient{true, 0.5, dtype}, in),
                            wide_slopes = make_all(AttentionGradient{true, 0.5}, wide_in);
    std::vector<Expr> got = half_slopes, expected;
    for (const Expr& e : wide_slopes) expected.push_back(astype(e, dtype));
    got.insert(got.end(), half.begin(), half.end());
    expected.push_back(astype(wide[0], dtype));
    expected.push_back(wide[1]);
    const std::vector<Tensor> values = op_check::run(expected, {});
    for (const op_check::Variant& variant : op_check::variants())
      BOOST_TEST(same_bits(op_check::run(got, {}, variant.options), values), variant.name);
  }
}

BOOST_AUTO_TEST_CASE(attention_refuses_results_of_another_dtype) {
  const auto refusal = [](DType operands, DType result) {
    const Expr x = constant(drawn({3, 4}, operands, 1, -1, 1));
    return test_support::error_of([&] { make_all(Attention{false, 1, result}, {x, x, x}); });
  };
  BOOST_TEST(refusal(DType::bf16, DType::bf16) == "no error");
  BOOST_TEST(test_support::contains(refusal(DType::bf16, DType::f16),
                                    "what is made of bf16 is f32 or of its dtype, not f16"));
  BOOST_TEST(test_support::contains(refusal(DType::f64, DType::f32),
                                    "what is made of f64 is f64 or of its dtype, not f32"));
}

BOOST_AUTO_TEST_CASE(gradients_have_the_dtype_of_their_operand) {
  for (const DType result : {DType::f32, DType::bf16}) {
    for (const Twins& pair : twins(DType::bf16, result)) {
      const Expr a = pair.half.node()->inputs[0], b = pair.half.node()->inputs[1];
      const Expr dy = constant(drawn(pair.half.shape(), result, 99, -1, 1));
      const Expr wrt[] = {a, b};
      const std::vector<Expr> half = vjp(pair.half, dy, wrt), wide = vjp(pair.rounded(), dy, wrt);
      for (const Expr& gradient : half) BOOST_TEST((gradient.dtype() == DType::bf16));
      BOOST_TEST(same_bits(op_check::run(half, {}), op_check::run(wide, {})));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_dtype_is_an_attribute) {
  BOOST_TEST(!(Op(MatMul{DType::f32}) == Op(MatMul{DType::bf16})));
  BOOST_TEST((with_result(Conv2d{}, DType::f16) == Op(Conv2d{{}, Conv2d::name, DType::f16})));
  BOOST_TEST((with_result(Attention{true, {}}, DType::f16) == Op(Attention{true, {}, DType::f16})));
  BOOST_TEST(is_product(Conv2dWeight{{}, 3}));
  BOOST_TEST(!is_product(CheckDivisor{}));
}

BOOST_AUTO_TEST_CASE(expand_gives_the_same_dtype_and_bits) {
  for (const DType result : {DType::f32, DType::f16}) {
    for (const Twins& pair : twins(DType::f16, result)) {
      const Node &half = *pair.half.node(), &wide = *pair.wide.node();
      if (!half.op->has_expand()) continue;
      const std::vector<Expr> outputs = {half.op->expand(half.inputs)[0],
                                         astype(wide.op->expand(wide.inputs)[0], result)};
      const std::vector<Tensor> values = op_check::run(outputs, {});
      BOOST_TEST(same_bits(values[0], values[1]));
    }
  }
}

BOOST_AUTO_TEST_CASE(products_in_a_row_share_a_widened_operand) {
  const auto value = [](const Shape& shape, std::uint64_t seed) {
    return constant(drawn(shape, DType::bf16, seed, -1, 1));
  };
  const Expr x = value({5, 7}, 1), left = matmul(value({3, 5}, 2), x);
  const Expr right = matmul(x, value({7, 4}, 3)), last = matmul(transpose(x), value({5, 9}, 4));
  const std::string text = compile({left, right, last}, {}, cpu()).to_text();
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(" : f32[5, 7]", at)) != std::string::npos; ++at) ++count;
  BOOST_TEST(count == 1, text);
}

BOOST_AUTO_TEST_CASE(cuda_gives_what_the_cpu_gives) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const DType result : {DType::f32, dtype}) {
      std::vector<Output> outputs;
      for (const Twins& pair : twins(dtype, result)) outputs.push_back(pair.half);
      // Sums in another order may round to the next number of the dtype.
      test_support::check_on_cuda(outputs, {}, result == DType::f32 ? 1e-5 : 1e-2);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
