// fuse_rows: which Maps and Reduces become one node, and which must not.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/map.h"
#include "graph/passes/passes.h"
#include "graph/row_program.h"
#include "tests/support/count_ops.h"

using namespace blockgrad;
using test_support::count;

namespace {

Graph fused(std::vector<Expr> outputs, const Updates& updates = {}, FusionLog* log = nullptr) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph before = insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps))));
  const Graph graph = fuse_rows(before, log);
  verify(graph, "fuse_rows");
  return graph;
}

const RowProgram& program_of(const Graph& graph) {
  for (const GraphNode& node : graph.nodes) {
    if (const auto* program = node.op.as<RowProgram>()) return *program;
  }
  throw InternalError("no row program");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(fuse_rows)

BOOST_AUTO_TEST_CASE(a_softmax_is_one_program_with_one_result) {
  const Graph graph = fused({softmax(input("x", {6, 5, 4}), 1)});
  BOOST_TEST(count<RowProgram>(graph) == 1);
  BOOST_TEST(count<Map>(graph) + count<Reduce>(graph) == 0);
  const RowProgram& program = program_of(graph);
  BOOST_TEST((program.space == RowSpace{6, 5, 4}));
  BOOST_TEST(program.results.size() == 1);
  BOOST_TEST(!program.steps.back().by_line);
}

BOOST_AUTO_TEST_CASE(values_that_others_read_are_results_too) {
  const Expr x = input("x", {6, 5});
  const Expr y = exp(x), total = sum(y, 1, true);
  const Graph graph = fused({y / total, matmul(transpose(y), x), reshape(total, Shape{6})});
  BOOST_TEST(count<RowProgram>(graph) == 1);
  BOOST_TEST(program_of(graph).results.size() == 3);
}

BOOST_AUTO_TEST_CASE(a_cluster_never_waits_for_itself) {
  // The second softmax needs a product that needs the first, and the last sum reads both.
  const Expr x = input("x", {5, 5});
  const Expr first = softmax(x), second = softmax(matmul(first, x) + first);
  const Graph graph = fused({second * first - mean(second * x, 1, true)});
  BOOST_TEST(count<RowProgram>(graph) == 2);
}

BOOST_AUTO_TEST_CASE(lines_along_different_axes_stay_apart) {
  const Expr x = input("x", {6, 5});
  FusionLog log;
  const Graph graph = fused({softmax(softmax(x, 0), 1)}, {}, &log);
  BOOST_TEST(count<RowProgram>(graph) == 2);
  BOOST_TEST_REQUIRE(log.refusals.size() > 0);
  BOOST_TEST(log.refusals[0].why == "their lines differ");
}

BOOST_AUTO_TEST_CASE(a_reshape_keeps_lines_together_and_a_transpose_does_not) {
  const Expr x = input("x", {4, 6, 5});
  const Expr g = input("g", {5});
  const Expr y = reshape(softmax(x), Shape{24, 5}) * g;
  BOOST_TEST(count<RowProgram>(fused({y})) == 1);
  BOOST_TEST(count<Map>(fused({y})) == 0);
  const Expr turned = transpose(softmax(reshape(x, Shape{24, 5}))) * 2.0;
  BOOST_TEST(count<Map>(fused({turned})) == 1);
}

BOOST_AUTO_TEST_CASE(sums_that_nothing_spreads_again_are_no_reason) {
  const Expr x = input("x", {6, 5});
  BOOST_TEST(count<RowProgram>(fused({sum(square(x), 1)})) == 0);
  BOOST_TEST(count<RowProgram>(fused({x - sum(x)})) == 1);
  // Another sum over the same lines goes along.
  const Graph graph = fused({x - max(x, 1, true), sum(square(x), 1)});
  BOOST_TEST(count<RowProgram>(graph) == 1);
  BOOST_TEST(count<Reduce>(graph) == 0);
}

BOOST_AUTO_TEST_CASE(lines_too_long_for_a_cache_stay_apart) {
  BOOST_TEST(count<RowProgram>(fused({softmax(input("x", {2, 16384}))})) == 1);
  BOOST_TEST(count<RowProgram>(fused({softmax(input("x", {2, 16385}))})) == 0);
  BOOST_TEST(count<RowProgram>(fused({softmax(input("x", {1024, 64}), 0)})) == 1);
  BOOST_TEST(count<RowProgram>(fused({softmax(input("x", {1025, 64}), 0)})) == 0);
}

BOOST_AUTO_TEST_CASE(updates_stay_maps_that_write_in_place) {
  const Expr x = input("x", {6, 5}), w = state(zeros({6, 5}), "w");
  const Expr y = softmax(x);
  Updates updates;
  updates.set(w, w * 0.9 + y * 0.1);
  const Graph graph = fused({y}, updates);
  BOOST_TEST(count<RowProgram>(graph) == 1);
  BOOST_TEST(count<Map>(graph) == 3);
}

BOOST_AUTO_TEST_CASE(programs_are_equal_by_what_they_compute) {
  const Expr x = input("x", {6, 5}), z = input("z", {6, 5});
  const Graph a = fused({softmax(x)}), b = fused({softmax(z)}), c = fused({log_softmax(x)});
  BOOST_TEST((program_of(a) == program_of(b)));
  BOOST_TEST(!(program_of(a) == program_of(c)));
}

BOOST_AUTO_TEST_CASE(a_part_of_a_scalar_program_has_the_inputs_that_it_needs) {
  const DType dtypes[] = {DType::f32, DType::f32, DType::f32};
  ScalarRecorder recorder(dtypes);
  const Scalar a = recorder.input(0), b = recorder.input(1), c = recorder.input(2);
  const Scalar made[] = {a + b, exp(c) * a};
  const ScalarPart part = part_of(recorder.finish(made), std::vector<std::int32_t>{1});
  BOOST_TEST((part.inputs == std::vector<std::int32_t>{0, 2}));
  BOOST_TEST(to_string(part.fn) ==
             "%0 = input 0 : f32\n%1 = input 1 : f32\n%2 = exp %1 : f32\n"
             "%3 = multiply %2 %0 : f32\ngive %3\n");
}

BOOST_AUTO_TEST_CASE(a_part_of_a_row_program_has_the_steps_and_inputs_that_it_needs) {
  const Expr x = input("x", {5, 8}), y = input("y", {5, 8});
  const Expr shifted = x - max(x, 1, true);
  const Graph graph = fused({sum(shifted, 1, true), shifted * sum(y * x, 1, true)});
  const RowProgram& program = program_of(graph);
  BOOST_REQUIRE(program.results.size() == 2);
  const RowPart all = part_of(program, program.results);
  BOOST_TEST((all.program == program));
  const RowPart sums = part_of(program, {program.results[0]});
  BOOST_TEST((sums.inputs == std::vector<std::int32_t>{0}));
  BOOST_TEST(sums.program.steps.size() < program.steps.size());
  const TensorType in[] = {{DType::f32, {5, 8}}};
  BOOST_TEST((sums.program.infer(in) == std::vector<TensorType>{{DType::f32, {5, 1}}}));
}

BOOST_AUTO_TEST_SUITE_END()
