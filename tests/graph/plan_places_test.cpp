// Memory plans: results that are made in place of an input, or where a copy would put them.
#include "graph/plan.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "blockgrad/blockgrad.h"
#include "graph/memory_peak.h"
#include "graph/passes/passes.h"
#include "tests/support/plan_check.h"

using namespace blockgrad;
using test_support::check_plan;
using test_support::graph_of;

namespace {

// Writes any layout, reads dense values.
struct Doubled {
  static constexpr std::string_view name = "doubled";
  bool operator==(const Doubled&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy() * 2.0}; }
  bool makes(int, const Layout&) const { return true; }
};
Expr doubled(const Expr& x) { return make(Doubled{}, {x}); }

// Of each step of such an op, what it reads and writes.
template <class T>
std::vector<PlanStep> steps_of(const Graph& graph, const Plan& plan) {
  std::vector<PlanStep> found;
  for (const PlanStep& step : plan.steps) {
    if (graph.nodes[static_cast<std::size_t>(step.node)].op.as<T>()) found.push_back(step);
  }
  return found;
}

// Of [16, 16] values, most of them parts of something larger.
Graph random_joins(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Expr> pool = {input("a", {16, 16}), parameter(ones({16, 16}), "w")};
  const auto pick = [&] { return pool[random() % pool.size()]; };
  for (int i = 0; i < 16; ++i) {
    switch (random() % 4) {
      case 0: pool.push_back(tanh(pick()) + pick()); break;
      case 1: pool.push_back(matmul(pick(), pick())); break;
      case 2: {
        const Expr all = concat({pick(), pick(), pick()}, 0);
        pool.push_back(slice(all, 0, 8, 24) * 2.0);
        break;
      }
      default:
        pool.push_back(matmul(transpose(concat({pick(), pick()}, 0)), concat({pick(), pick()}, 0)));
    }
  }
  const Expr last = concat({pool.back(), pick()}, 0);
  return graph_of({last, concat({last, last}, 0)}, Updates().set(pool[1], pick()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plan_places)

// [2, 4, 16, 32] and, with axes 1 and 2 exchanged and the last two joined, [2, 16, 128].
BOOST_AUTO_TEST_CASE(what_a_copy_reads_in_another_order_is_made_there) {
  const Expr x = input("x", {2, 4, 16, 32});
  const auto joined = [](const Expr& e) {
    return reshape(permute_dims(e, {{0, 2, 1, 3}}), {2, 16, 128});
  };
  const auto is_made_in_copy = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes);
    check_plan(graph, make_plan(graph, false));
    check_plan(graph, make_plan(graph, true, false));
    const std::vector<PlanStep> steps = steps_of<Doubled>(graph, plan);
    return !steps.at(0).outputs[0].layout.is_dense();
  };
  const Expr y = doubled(x);
  BOOST_TEST(is_made_in_copy({joined(y)}));
  BOOST_TEST(is_made_in_copy({joined(y), exp(y)}));  // Maps read it there
  BOOST_TEST(is_made_in_copy({joined(y), exp(permute_dims(y, {{3, 2, 1, 0}}))}));
  BOOST_TEST(!is_made_in_copy({joined(y), doubled(y)}));  // which reads dense values only
  BOOST_TEST(!is_made_in_copy({joined(y), y}));           // the user's
  // No whole lines of 64 bytes change places.
  BOOST_TEST(!is_made_in_copy({reshape(permute_dims(y, {{0, 1, 3, 2}}), {2, 4, 512})}));
  const Expr narrow = doubled(input("narrow", {8, 32, 8}));
  BOOST_TEST(!is_made_in_copy({reshape(permute_dims(narrow, {{1, 0, 2}}), {32, 64})}));
  // Half of it.
  const Expr half = permute_dims(slice(y, 2, 0, 8), {{0, 2, 1, 3}});
  BOOST_TEST(!is_made_in_copy({reshape(half, {2, 8, 128})}));
}

BOOST_AUTO_TEST_CASE(parts_in_another_order_are_made_in_their_whole) {
  const auto part = [](int i) { return input("x" + std::to_string(i), {2, 4, 16, 32}); };
  const auto layout = [](std::int64_t first) {
    Layout made = Layout::dense({2, 4, 16, 32});
    made.strides[0] = 16 * 3 * 128, made.strides[1] = 32, made.strides[2] = 3 * 128;
    made.strides[3] = 1, made.offset = first;
    return made;
  };
  const auto whole = [&](const std::vector<Expr>& parts) {
    Unview op{{layout(0), layout(128), layout(256)}, {2, 16, 384}, Number(0.0)};
    return make(op, parts);
  };
  const auto made = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    std::vector<int> there;
    for (const PlanStep& step : steps_of<Unview>(graph, plan)) {
      for (const Operand& in : step.inputs) there.push_back(!in.layout.is_dense());
    }
    return there;
  };
  using Parts = std::vector<int>;
  const Expr a = doubled(part(0)), b = doubled(part(1)), c = doubled(part(2));
  BOOST_TEST((made({whole({a, b, c})}) == Parts{1, 1, 1}));
  BOOST_TEST((made({whole({a, exp(b), part(2)})}) == Parts{1, 0, 0}));  // Maps write even rows
  BOOST_TEST((made({whole({a, b, b})}) == Parts{1, 0, 0}));
  BOOST_TEST((made({whole({a, b, c}), whole({c, doubled(a), a})}) == Parts{0, 1, 0, 0, 1, 0}));
}

// Three Maps side by side, and whether each is made there.
BOOST_AUTO_TEST_CASE(maps_write_the_columns_that_are_joined) {
  const Expr x = input("x", {8, 64}), w = input("w", {64, 128});
  const Expr product = matmul(x, w);
  const auto made_in_place = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    check_plan(graph, make_plan(graph, false));
    std::vector<int> there;
    for (const PlanStep& step : plan.steps) {
      const Unview* op = graph.nodes[static_cast<std::size_t>(step.node)].op.as<Unview>();
      for (std::size_t p = 0; op && p < op->layouts.size(); ++p) {
        const std::int64_t at = step.outputs[0].at + op->layouts[p].offset * 4;
        there.push_back(step.inputs[p].place == Place::arena && step.inputs[p].at == at);
      }
    }
    return there;
  };
  using Parts = std::vector<int>;
  const auto joined = [](const std::vector<Expr>& parts) { return concat(parts, 1); };
  BOOST_TEST((made_in_place({joined({exp(x), sin(product), x + 1.0f})}) == Parts{1, 1, 1}));
  BOOST_TEST((made_in_place({joined({exp(x), product})}) == Parts{1, 0}));  // only Maps can
  BOOST_TEST((made_in_place({joined({exp(x), x})}) == Parts{1, 0}));        // x is not made
  const Expr e = exp(x);
  BOOST_TEST((made_in_place({joined({e, sin(x)}), e}) == Parts{0, 1}));  // others read it
  BOOST_TEST((made_in_place({joined({e, e})}) == Parts{0, 0}));
  const Expr thin = input("thin", {64, 8});  // of short rows
  BOOST_TEST((made_in_place({joined({exp(thin), sin(thin)})}) == Parts{0, 0}));
}

BOOST_AUTO_TEST_CASE(maps_take_over_what_they_read_in_another_shape) {
  const Expr p = matmul(input("x", {8, 64}), input("w", {64, 64}));
  const auto in_place = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    BOOST_TEST(make_plan(graph, true, false).in_place == 0);
    return plan.in_place;
  };
  const Expr y = reshape(p, {2, 4, 64});
  BOOST_TEST(in_place({exp(y)}) == 1);
  BOOST_TEST(in_place({exp(y), sin(reshape(p, {4, 2, 64}))}) == 1);  // the last one
  BOOST_TEST(in_place({exp(y), p}) == 0);
  BOOST_TEST(in_place({exp(transpose(p))}) == 0);
  BOOST_TEST(in_place({reshape(p, {64, 8}) + transpose(p)}) == 0);
}

BOOST_AUTO_TEST_CASE(parts_are_made_where_an_unview_puts_them_unless_that_needs_more_memory) {
  std::int64_t joined = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const Graph graph = shorten_lives(random_joins(seed));
      const Plan plan = make_plan(graph, true);
      check_plan(graph, plan);
      check_plan(graph, make_plan(graph, false));
      BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes);
      for (const PlanStep& step : plan.steps) {
        const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
        if (!node.op.as<Unview>()) continue;
        for (const Operand& in : step.inputs) {
          joined += in.place == Place::arena && in.at >= step.outputs[0].at &&
                    in.at < step.outputs[0].at + bytes_of(node.types[0]);
        }
      }
    }
  }
  BOOST_TEST(joined > 50);
}

BOOST_AUTO_TEST_CASE(what_is_stacked_needs_no_memory_of_its_own) {
  const Expr x = input("x", {16, 16});
  std::vector<Expr> all{tanh(x)};
  for (int i = 0; i < 7; ++i) all.push_back(matmul(all.back(), x));
  const Graph graph = graph_of({sum(concat(std::span<const Expr>(all), 0))});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.live_bytes == 8 * 1024 + 64);
}

BOOST_AUTO_TEST_SUITE_END()
