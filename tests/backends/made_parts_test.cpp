// Values that are made where they are put: attention writes the heads of a layer side by side, and
// their gradients into that of the joined queries, keys and values. Equal bits.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor waves(const Shape& shape, DType dtype, int seed, double height = 2) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(height * std::sin(1.7 * static_cast<double>(i) + seed));
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

struct Sizes {
  std::int64_t batch, context, heads, width;  // of a head
};

// y [batch, context, heads * width], and the gradient of a sum over it to what is split into
// queries, keys and values.
std::vector<Output> layer(const Sizes& s, DType dtype, bool causal) {
  const std::int64_t all = s.heads * s.width;
  const Expr x = parameter(waves({s.batch, s.context, 3 * all}, dtype, 1), "x");
  const Expr weights = parameter(waves({s.batch, s.context, all}, dtype, 2), "weights");
  std::vector<Expr> parts = split(x * 0.5, 3, -1);
  for (Expr& part : parts)
    part = permute_dims(reshape(part, {s.batch, s.context, s.heads, s.width}), {{0, 2, 1, 3}});
  const Expr heads = attention(parts[0], parts[1], parts[2], {.causal = causal});
  const Expr y = reshape(permute_dims(heads, {{0, 2, 1, 3}}), {s.batch, s.context, all});
  return {matmul(y, weights, {.transpose_a = true}), grad(sum(y * weights), {x})[0]};
}

std::vector<Tensor> values(const std::vector<Output>& outputs, const CompileOptions& options) {
  Program program = compile(outputs, {}, cpu(), options);
  const Results made = program.run();
  return {made.tensor(0), made.tensor(1)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(made_parts)

BOOST_AUTO_TEST_CASE(attention_made_in_its_places_has_the_bits_of_copied_one) {
  // The last ones have no whole lines of 64 bytes, or nothing.
  const Sizes sizes[] = {{2, 64, 4, 32}, {3, 70, 2, 16}, {1, 130, 3, 64}, {2, 16, 8, 16},
                         {2, 20, 1, 32}, {1, 1, 4, 32},  {2, 33, 4, 12},  {2, 0, 4, 32}};
  for (const Sizes& s : sizes) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const bool causal : {false, true}) {
        const std::vector<Output> outputs = layer(s, dtype, causal);
        const auto expected = values(outputs, {.threads = 1, .reuse_memory = false});
        for (const int threads : {1, 3})
          BOOST_TEST(same_bits(values(outputs, {.threads = threads}), expected));
        BOOST_TEST(same_bits(values(outputs, {.check_numerics = true}), expected));
        for (const Isa isa : {Isa::portable, Isa::avx2, Isa::neon}) {
          if (is_supported(isa))
            BOOST_TEST(same_bits(values(outputs, {.isa = std::string(isa_name(isa))}), expected));
        }
      }
    }
  }
}

// A copy in which attention is made, and which lies in a row of columns itself, cannot do both.
BOOST_AUTO_TEST_CASE(what_holds_a_part_is_dense) {
  std::vector<Expr> x;
  for (int i = 0; i < 4; ++i)
    x.push_back(parameter(waves({2, 4, 16, 64}, DType::f32, i), "x" + std::to_string(i)));
  const Expr heads = attention(x[0], x[1], x[2]);
  const Expr copied = elementwise([](auto v) { return v; })(permute_dims(heads, {{0, 2, 1, 3}}));
  const Expr joined = concat({copied, permute_dims(x[3], {{0, 2, 1, 3}}) * 0.5}, 3);
  const std::vector<Output> outputs{joined, matmul(copied, constant(ones({64, 8})))};
  const CompileOptions keeps_copies{.skip = {"simplify"}};
  CompileOptions apart = keeps_copies;
  apart.reuse_memory = false;
  BOOST_TEST(same_bits(values(outputs, keeps_copies), values(outputs, apart)));
  BOOST_TEST(contains(compile(outputs, {}, cpu(), keeps_copies).explain(), "made in place"));
}

BOOST_AUTO_TEST_CASE(nothing_is_copied) {
  const Program program = compile(layer({2, 64, 4, 32}, DType::f32, true), {}, cpu());
  const std::string text = program.explain();
  BOOST_TEST(contains(text, "3 parts into [2, 64, 384], made in place"), text);
  BOOST_TEST(contains(text, "copy: made in place"), text);
  BOOST_TEST(!contains(text, "copied"), text);
  int made_there = 0;
  for (const NodeReport& node : program.report().nodes) {
    if (!contains(node.kernel, "made in place")) continue;
    ++made_there;
    BOOST_TEST(node.bytes == 0, node.node);
    BOOST_TEST(node.flops == 0, node.node);
  }
  BOOST_TEST(made_there == 2);
}

// A part of 4 KB is made in its place, the other one is read and written.
BOOST_AUTO_TEST_CASE(only_what_is_copied_counts_as_moved) {
  const Expr x = input("x", {16, 64}), y = input("y", {8, 64});
  const Program program = compile({concat({exp(x), y}, 0)}, {}, cpu());
  const NodeReport& joined = program.report().nodes.back();
  BOOST_TEST(contains(joined.kernel, "1 made in place"), joined.kernel);
  BOOST_TEST(joined.bytes == 2 * 8 * 64 * 4);
  BOOST_TEST(program.report().bytes == joined.bytes + 2 * 16 * 64 * 4);
}

// What is made in its place is looked at where that is.
BOOST_AUTO_TEST_CASE(what_is_not_finite_there_is_named) {
  const Expr q = input("q", {2, 4, 64, 32});
  const Expr heads = attention(q, q, q);
  const Expr y = reshape(permute_dims(heads, {{0, 2, 1, 3}}), {2, 64, 128});
  Program program =
      compile({matmul(y, constant(ones({2, 128, 8})))}, {}, cpu(), {.check_numerics = true});
  const Tensor fine = waves({2, 4, 64, 32}, DType::f32, 1);
  program.run({{q, fine}});
  const std::string message =
      error_of([&] { program.run({{q, waves({2, 4, 64, 32}, DType::f32, 1, 3e38)}}); });
  BOOST_TEST(contains(message, "attention"), message);
  BOOST_TEST(contains(message, "not finite"), message);
}

BOOST_AUTO_TEST_SUITE_END()
