// group_updates: which updates run as one node, that they stay in place, and that bits stay equal.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/blockgrad.h"
#include "graph/map_group.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Graph graph_of(const Updates& updates) {
  return fuse_maps(merge_equal(
      simplify(build_graph({}, updates, [](const Op& op) { return !op->has_expand(); }))));
}

std::vector<std::size_t> group_sizes(const Graph& graph) {
  std::vector<std::size_t> sizes;
  for (const GraphNode& node : graph.nodes) {
    if (const MapGroup* group = node.op.as<MapGroup>())
      sizes.push_back(group->sets(node.inputs.size()));
  }
  return sizes;
}

using Sizes = std::vector<std::size_t>;

Tensor waves(const Shape& shape, double phase) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.7 * static_cast<double>(i) + phase));
  return tensor(std::span<const double>(values), shape).astype(DType::f32);
}

Expr leaf(const char* name, const Shape& shape, double phase = 0) {
  return parameter(waves(shape, phase), name);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(group_updates_pass)

BOOST_AUTO_TEST_CASE(equal_formulas_over_different_shapes_are_one_node_in_place) {
  const Expr a = leaf("a", {3, 5}), b = leaf("b", {7}), c = leaf("c", {}), rate = input("rate", {});
  Updates updates;
  for (const Expr& p : {a, b, c}) updates.set(p, p - cos(p) * rate);
  const Graph graph = group_updates(graph_of(updates));
  BOOST_TEST(group_sizes(graph) == Sizes{3});
  const Plan plan = make_plan(graph, true);
  BOOST_TEST(plan.steps.empty());
  BOOST_TEST(plan.updates.size() == 1);
  BOOST_TEST(plan.commits.empty());
}

BOOST_AUTO_TEST_CASE(what_differs_in_formula_or_guard_stays_apart) {
  const Expr a = leaf("a", {3}), b = leaf("b", {3}), c = leaf("c", {4}), d = leaf("d", {5});
  const Expr ok = input("ok", {}, DType::boolean);
  Updates updates;
  updates.set(a, a * 0.5);
  updates.set(b, b * 0.25);
  updates.set(c, c * 0.5, ok);
  updates.set(d, d * 0.5, ok);
  BOOST_TEST(group_sizes(group_updates(graph_of(updates))) == Sizes{2});
}

BOOST_AUTO_TEST_CASE(an_update_that_reads_what_another_one_writes_stays_apart) {
  const Expr a = leaf("a", {4}), b = leaf("b", {4}), c = leaf("c", {6}), d = leaf("d", {8});
  Updates updates;
  updates.set(a, a * 0.5 + b);  // the old b
  updates.set(b, b * 0.5 + input("x", {4}));
  updates.set(c, c * 0.5 + input("y", {6}));
  updates.set(d, d * 0.5 + input("z", {8}));
  BOOST_TEST(group_sizes(group_updates(graph_of(updates))) == Sizes{2});
  const Expr m = leaf("m", {3, 3}), n = leaf("n", {3, 3}, 1), o = leaf("o", {2, 2}, 2);
  Updates crossed;
  crossed.set(m, transpose(m) * 2.0);
  crossed.set(n, transpose(n) * 2.0);
  crossed.set(o, transpose(o) * 2.0);
  BOOST_TEST(group_sizes(group_updates(graph_of(crossed))) == Sizes{});
}

BOOST_AUTO_TEST_CASE(a_new_value_that_is_an_output_too_stays_apart) {
  const Expr a = leaf("a", {4}), b = leaf("b", {5}), c = leaf("c", {6});
  Updates updates;
  const Expr out = exp(a);
  updates.set(a, out);
  updates.set(b, exp(b));
  updates.set(c, exp(c));
  const Expr outputs[] = {out};
  const Graph graph = build_graph(outputs, updates, [](const Op& op) { return !op->has_expand(); });
  BOOST_TEST(group_sizes(group_updates(graph)) == Sizes{2});
}

BOOST_AUTO_TEST_CASE(an_optimizer_over_many_shapes_gives_the_bits_of_single_updates) {
  const auto run = [](const CompileOptions& options, std::string& text) {
    const Shape shapes[] = {{40, 30}, {30}, {30, 700}, {700}, {700, 1}, {1}, {0}, {17, 3}};
    const Expr x = input("x", {5, 40});
    std::vector<Expr> all;
    for (const Shape& shape : shapes)
      all.push_back(
          leaf(("p" + std::to_string(all.size())).c_str(), shape, static_cast<double>(all.size())));
    const Expr hidden = tanh(linear(tanh(linear(x, all[0], all[1])), all[2], all[3]) * 0.1);
    const Loss loss = mse_loss(linear(hidden, all[4], all[5]) + sum(all[6]) + sum(square(all[7])),
                               constant(zeros({5, 1})));
    Optimizer optimizer(AdamW{.learning_rate = 0.01});
    const Updates updates = minimize(optimizer, loss);
    Program program = compile({loss}, updates, cpu(), options);
    const Feeds ring[] = {{{x, waves({5, 40}, 3)}}};
    program.run_many(20, ring);
    text = program.explain();
    std::vector<Tensor> values;
    for (const Update& update : updates.all()) values.push_back(update.leaf.value());
    return values;
  };
  std::string text, grouped_text;
  const std::vector<Tensor> expected =
      run({.skip = {"group_updates"}, .threads = 1, .reuse_memory = false}, text);
  BOOST_TEST(text.find("in one pass") == std::string::npos);
  for (const int threads : {1, 2, 5}) {
    for (const bool checks : {false, true}) {
      const std::vector<Tensor> got =
          run({.threads = threads, .check_numerics = checks}, grouped_text);
      BOOST_TEST(grouped_text.find("update of 8 parameters in one pass") != std::string::npos,
                 grouped_text);
      BOOST_TEST_REQUIRE(got.size() == expected.size());
      for (std::size_t i = 0; i < got.size(); ++i)
        BOOST_TEST(same_bits(got[i], expected[i]), "value " << i);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_updates_no_parameter_and_names_the_node) {
  const Expr a = leaf("a", {300}), b = leaf("b", {50}), x = input("x", {});
  Updates updates;
  updates.set(a, a * x);
  updates.set(b, b * x);
  Program program = compile({}, updates, cpu(), {.check_numerics = true});
  BOOST_TEST(program.explain().find("update of 2 parameters in one pass") != std::string::npos);
  const Tensor before_a = a.value(), before_b = b.value();
  std::string message;
  try {
    program.run({{x, full({}, 1e39)}});
  } catch (const Error& error) {
    message = error.what();
  }
  BOOST_TEST(message.find("x") != std::string::npos, message);
  message.clear();
  const Expr big = leaf("big", {9}), large = leaf("large", {10});
  Updates growing;
  growing.set(big, big * x + 1e38);
  growing.set(large, large * x + 1e38);
  Program grows = compile({}, growing, cpu(), {.check_numerics = true});
  const Tensor before_big = big.value();
  try {
    grows.run({{x, full({}, 1e38)}});
    grows.run({{x, full({}, 1e38)}});
  } catch (const Error& error) {
    message = error.what();
  }
  BOOST_TEST(message.find("the first value that is not finite") != std::string::npos, message);
  BOOST_TEST(message.find("group_updates_pass_test.cpp") != std::string::npos, message);
  BOOST_TEST(same_bits(a.value(), before_a));
  BOOST_TEST(same_bits(b.value(), before_b));
  BOOST_TEST(std::isfinite(big.value().at(4)));
}

BOOST_AUTO_TEST_SUITE_END()
