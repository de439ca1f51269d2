// fuse_line_sums: which sums row programs make of their lines, and that bits are those of the nodes
// they stand for.
#include "backends/line_sums.h"

#include <boost/test/unit_test.hpp>
#include <functional>

#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "graph/row_program.h"
#include "tests/support/checks.h"
#include "tests/support/count_ops.h"
#include "tests/support/equal_bits_options.h"
#include "tests/support/waves.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Graph graph_of(const std::vector<Expr>& outputs) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph graph = fuse_line_sums(
      fuse_maps(fuse_rows(insert_copies(merge_equal(simplify(build_graph(outputs, {}, keeps)))))));
  verify(graph, "fuse_line_sums");
  return graph;
}

int sums(const Graph& graph) {
  int all = 0;
  for (const GraphNode& node : graph.nodes) {
    const auto* program = node.op.as<RowProgram>();
    for (std::size_t r = 0; program && r < program->results.size(); ++r)
      all += program->results[r].over > 1 ? 1 : 0;
  }
  return all;
}

using Make = std::function<std::vector<Expr>(const Expr& x)>;

void check_bits(const Shape& shape, DType dtype, const Make& make, const std::string& what) {
  const Expr x = input("x", shape, dtype);
  const std::vector<Expr> outputs = make(x);
  const std::vector<Output> wanted(outputs.begin(), outputs.end());
  const auto run = [&](const CompileOptions& options) {
    Program program = compile(wanted, {}, cpu(), options);
    program.run({{x, waves(shape, dtype, 1)}});
    const Results results = program.run({{x, waves(shape, dtype, 0)}});
    std::vector<Tensor> all;
    for (std::size_t o = 0; o < wanted.size(); ++o)
      all.push_back(results.tensor(static_cast<int>(o)));
    return all;
  };
  const std::vector<Tensor> expected = run({.skip = {"fuse_line_sums"}, .threads = 1});
  for (const CompileOptions& options : equal_bits_options()) {
    const std::vector<Tensor> got = run(options);
    BOOST_TEST(same_bits(got, expected), what << " of " << to_string(TensorType{dtype, shape})
                                              << ", " << options.isa << " with " << options.threads
                                              << " threads");
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(line_sums)

BOOST_AUTO_TEST_CASE(a_program_adds_up_its_lines) {
  const Expr x = input("x", {7, 6, 64});
  const Graph graph = graph_of({sum(softmax(x), 1)});
  BOOST_TEST(sums(graph) == 1);
  BOOST_TEST(count<Reduce>(graph) == 0);
  BOOST_TEST(sums(graph_of({sum(reshape(softmax(x), Shape{14, 3, 64}), 1, true)})) == 1);
  BOOST_TEST(sums(graph_of({sum(softmax(input("x", {2, 6, 64})), Axes{0, 1})})) == 1);
}

BOOST_AUTO_TEST_CASE(lines_that_something_else_reads_and_other_sums_are_stored) {
  const auto apart = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    return sums(graph) == 0 && count<Reduce>(graph) > 0;
  };
  const Expr x = input("x", {7, 6, 64}), y = softmax(x);
  BOOST_TEST(apart({sum(y, 1), y}));
  BOOST_TEST(apart({max(y, 1)}));
  BOOST_TEST(apart({sum(y, 0)}));                                 // lines far apart
  BOOST_TEST(apart({sum(reshape(y, Shape{7, 12, 32}), 1)}));      // halves of lines
  BOOST_TEST(apart({sum(slice(y, 1, 0, 3), 1)}));                 // some lines
  BOOST_TEST(apart({sum(softmax(input("x", {4, 40, 64})), 1)}));  // more than a block
  BOOST_TEST(apart({sum(softmax(input("x", {4, 2, 512})), 1)}));  // long lines
}

BOOST_AUTO_TEST_CASE(sums_of_a_program_are_of_equally_many_lines) {
  const Expr x = input("x", {4, 6, 64}), y = softmax(x), z = log_softmax(x);
  const auto both = [&](std::int64_t lines) {
    return sums(graph_of({sum(y, 1), sum(reshape(z, Shape{24 / lines, lines, 64}), 1)}));
  };
  BOOST_TEST(both(6) == 2);
  BOOST_TEST(both(3) == 1);
}

BOOST_AUTO_TEST_CASE(a_program_says_that_it_adds_up) {
  const Program program = compile({sum(softmax(input("x", {7, 6, 64})), 1)});
  BOOST_TEST(contains(program.to_text(), " over 6"), program.to_text());
  BOOST_TEST(contains(program.explain(), "sum over lines"), program.explain());
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_lines_that_are_stored) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : {Shape{7, 6, 64},
                               {1, 2, 511},
                               {400, 3, 131},
                               {33, 45, 45},
                               {5, 1000, 2},
                               {301, 16, 128},
                               {3, 7, 1},
                               {9, 4, 5}}) {
      check_bits(
          shape, dtype, [](const Expr& x) { return std::vector{sum(softmax(x), 1)}; },
          "sum of softmax");
      check_bits(
          shape, dtype,
          [](const Expr& x) {
            const Expr y = softmax(x), z = x - mean(x, -1, true);
            return std::vector{sum(y, 1), sum(z * y, 1), z, logsumexp(x, -1)};
          },
          "two sums");
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
