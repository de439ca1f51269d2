// share_functions: which functions are read instead of computed again, and that bits stay equal.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <utility>

#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// Apart, as the backward pass lies far from the forward pass: Maps are not fused here.
Graph graph_of(const std::vector<Expr>& outputs) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  return insert_copies(merge_equal(simplify(build_graph(outputs, {}, keeps))));
}

int count(const Graph& graph, ScalarOp op) {
  int n = 0;
  for (const GraphNode& node : graph.nodes) {
    if (const Map* map = node.op.as<Map>()) {
      for (const ScalarInstr& instr : map->fn.code()) n += instr.op == op;
    }
  }
  return n;
}

Tensor waves(const Shape& shape, double phase) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.7 * static_cast<double>(i) + phase));
  return tensor(std::span<const double>(values), shape).astype(DType::f32);
}

Expr leaf(const char* name, const Shape& shape, double phase = 0) {
  return parameter(waves(shape, phase), name);
}

// The loss of a net of one layer, and its gradient: products keep the Maps of both apart.
std::vector<Expr> layer(Expr (*activation)(Arg)) {
  const Expr w = leaf("w", {6, 6}), v = leaf("v", {6, 3}, 1), x = leaf("x", {4, 6}, 2);
  const Expr loss = sum(square(matmul(activation(matmul(x, w)), v)));
  return {loss, grad(loss, {w})[0]};
}

// Three steps of a cell and the gradient to its weight.
std::vector<Expr> cells() {
  const CellWeights weights{.input = leaf("u", {3, 32}), .hidden = leaf("w", {8, 32}, 1)};
  const Expr zero = constant(zeros({2, 8}));
  const Expr loss = sum(square(lstm(leaf("x", {2, 3, 3}, 2), zero, zero, weights).y));
  return {loss, grad(loss, {weights.hidden})[0]};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(share_functions_pass)

BOOST_AUTO_TEST_CASE(what_would_be_kept_beside_its_operand_is_computed_again) {
  // d(x sigmoid(x)) reads x as well.
  const auto swish = [](Arg x) -> Expr {
    return elementwise([](Scalar a) { return a * sigmoid(a); })(x);
  };
  const Graph before = graph_of(layer(swish));
  const int computed = count(before, ScalarOp::sigmoid);
  BOOST_TEST(computed == 2);
  BOOST_TEST(count(share_functions(before), ScalarOp::sigmoid) == computed);
}

BOOST_AUTO_TEST_CASE(gates_of_a_cell_are_kept_where_their_sums_were) {
  const Graph before = fuse_maps(graph_of(cells()));
  const Graph after = share_functions(before);
  verify(after, "share_functions");
  BOOST_TEST(count(after, ScalarOp::sigmoid) * 2 == count(before, ScalarOp::sigmoid));
  BOOST_TEST(count(after, ScalarOp::tanh) < count(before, ScalarOp::tanh));
}

BOOST_AUTO_TEST_CASE(no_program_needs_more_memory) {
  const Expr h = matmul(leaf("x", {64, 64}), leaf("w", {64, 64}, 1));
  const Expr narrow = astype(h, DType::bf16);
  Expr y = narrow;
  for (int i = 0; i < 3; ++i) {
    const Expr z = matmul(y, y);
    y = tanh(z) + tanh(transpose(z));
  }
  const CellWeights weights{.input = leaf("u", {32, 128}), .hidden = leaf("v", {32, 128}, 1)};
  const Expr zero = constant(zeros({64, 32}));
  const Expr loss = sum(square(lstm(leaf("s", {64, 1, 32}, 2), zero, zero, weights).y));
  const std::vector<std::vector<Output>> nets = {
      {y, grad(sum(astype(y, DType::f32)), {h})[0]},
      {loss, grad(loss, {weights.hidden})[0], grad(loss, {weights.input})[0]}};
  for (const std::vector<Output>& net : nets) {
    const auto bytes = [&](CompileOptions options) {
      const Report report = compile(net, {}, cpu(), options).report();
      return std::pair{report.arena_bytes, report.peak_bytes};
    };
    const auto [without, peak] = bytes({.skip = {"share_functions"}, .threads = 1});
    BOOST_TEST(bytes({.threads = 1}).first <= without);
    // What fits without the pass fits with it.
    const std::string refusal =
        error_of([&] { bytes({.skip = {"share_functions"}, .threads = 1, .memory_limit = 1}); });
    const std::size_t at = refusal.find("would do is ") + 12;
    const std::int64_t least = std::stoll(refusal.substr(at));
    BOOST_TEST(least <= peak);
    BOOST_TEST(bytes({.threads = 1, .memory_limit = least}).second <= least);
  }
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_functions_computed_again) {
  const auto values = [](const std::vector<Expr>& outputs, const CompileOptions& options) {
    const std::vector<Output> wanted(outputs.begin(), outputs.end());
    Program program = compile(wanted, {}, cpu(), options);
    const Results made = program.run();
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      all.push_back(made.tensor(static_cast<int>(i)));
    return all;
  };
  for (const std::vector<Expr>& outputs :
       {cells(), layer([](Arg x) { return tanh(x); }), layer([](Arg x) { return exp(x); }),
        layer([](Arg x) { return sigmoid(x); }), layer([](Arg x) { return softplus(x); })}) {
    const std::vector<Tensor> expected =
        values(outputs, {.skip = {"share_functions"}, .threads = 1});
    BOOST_TEST(same_bits(values(outputs, {}), expected));
    BOOST_TEST(same_bits(values(outputs, {.skip = {"fuse_maps"}}), expected));
    BOOST_TEST(same_bits(values(outputs, {.reuse_memory = false}), expected));
    BOOST_TEST(same_bits(values(outputs, {.isa = "portable"}), expected));
    BOOST_TEST(same_bits(values(outputs, {.check_numerics = true}), expected));
  }
}

BOOST_AUTO_TEST_SUITE_END()
