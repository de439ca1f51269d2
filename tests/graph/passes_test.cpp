// Passes: what each does, and that random graphs keep their bits whichever are left out.
#include "graph/passes/passes.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/leaf.h"
#include "tests/support/checks.h"
#include "tests/support/count_ops.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Graph graph_of(std::vector<Expr> outputs, const Updates& updates = {}) {
  return build_graph(outputs, updates, [](const Op& op) { return !op->has_expand(); });
}

// A random program over matrices [3, 4], with storage that it updates.
struct RandomProgram {
  std::mt19937 random;
  DType dtype;
  Expr a, b, w, s;
  std::vector<Output> outputs;
  Updates updates;

  RandomProgram(unsigned seed, DType type) : random(seed), dtype(type) {
    a = input("a", {3, 4}, dtype);
    b = input("b", {4}, dtype);
    w = parameter(values({3, 4}), "w");
    s = state(values({4}), "s");
    std::vector<Expr> pool = {a, w, broadcast_to(b, {3, 4}), broadcast_to(s, {3, 4}),
                              transpose(constant(values({4, 3})))};
    for (int i = 0; i < 18; ++i) pool.push_back(step(pool));
    Expr total;
    for (std::size_t i = pool.size() - 3; i < pool.size(); ++i)
      total = total ? total + mean(pool[i]) : mean(pool[i]);
    total = total + mean(w * a) + mean(b * s);
    outputs.emplace_back(total);
    outputs.emplace_back(pool.back());
    const std::vector<Expr> g = grad(total, {a, b, w});
    for (const Expr& e : g) outputs.emplace_back(e);
    const Expr guard = total > 0.0;
    updates.set(w, w - g[2] * 0.1, random() % 2 ? guard : Expr());
    updates.set(s, mean(pool[pool.size() - 2], 0), random() % 2 ? guard : Expr());
  }

  Tensor values(const Shape& shape) {
    std::vector<double> made;
    for (std::int64_t i = 0; i < shape.size(); ++i)
      made.push_back(std::uniform_real_distribution<double>(-1, 1)(random));
    return tensor(std::span<const double>(made), shape).astype(dtype);
  }

  Expr step(const std::vector<Expr>& pool) {
    const auto pick = [&] { return pool[random() % pool.size()]; };
    const Expr x = pick(), y = pick();
    switch (random() % 14) {
      case 0: return x + y;
      case 1: return x * y;
      case 2: return tanh(x);
      case 3: return where(x > y, x, y * 0.5);
      case 4: return reshape(transpose(x), Shape{3, 4});
      case 5: return x - broadcast_to(sum(y, 1, true) * 0.1, {3, 4});
      case 6: return broadcast_to(max(x, 0), {3, 4}) * y;
      case 7: return matmul(x, matmul(transpose(y), x)) * 0.1;
      case 8: return softmax(x, static_cast<int>(random() % 2));
      case 9: return concat(std::vector<Expr>{slice(x, 1, 0, 2), slice(y, 1, 1, 3)}, 1);
      case 10: return sigmoid(x) * 2.0 - 1.0;
      case 11: return take(x, constant(tensor({2, 0, 2}, {3}))) * 0.5;
      case 12: return x / (square(y) + 1.0);
      default: return x * 1.0 + y * 0.0;
    }
  }

  std::vector<Tensor> run(const CompileOptions& options, const Tensor& a0, const Tensor& b0,
                          const Tensor& w0, const Tensor& s0) {
    w.set_value(w0);
    s.set_value(s0);
    Program program = compile(outputs, updates, cpu(), options);
    program.run({{a, a0}, {b, b0}});
    const Results results = program.run({{a, a0}, {b, b0}});
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      all.push_back(results.tensor(static_cast<int>(i)));
    all.push_back(w.value());
    all.push_back(s.value());
    return all;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(passes)

BOOST_AUTO_TEST_CASE(equal_nodes_are_merged) {
  const Expr x = input("x", {3}, DType::f64);
  const Graph graph = merge_equal(graph_of({exp(x) + exp(x), exp(x)}));
  BOOST_TEST(count<Map>(graph) == 2);
  // Attributes tell nodes apart: zeros by their sign, axes, and constants by identity.
  const Expr m = input("m", {3, 3}, DType::f64);
  BOOST_TEST(count<Map>(merge_equal(graph_of({x * 0.0, x * -0.0}))) == 2);
  BOOST_TEST(count<Reduce>(merge_equal(graph_of({sum(m, 0), sum(m, 1), max(m, 0), sum(m, 0)}))) ==
             3);
}

BOOST_AUTO_TEST_CASE(constant_scalars_move_into_maps) {
  const Expr x = input("x", {3}, DType::f64);
  const Graph graph = simplify(graph_of({x * constant(full({}, 3, DType::f64)) +
                                         broadcast_to(constant(full({1}, 2, DType::f64)), {3})}));
  BOOST_TEST(count<Constant>(graph) == 0);
  BOOST_TEST(count<View>(graph) == 0);
}

BOOST_AUTO_TEST_CASE(chains_of_maps_become_one_sweep) {
  const Expr x = input("x", {30}, DType::f64);
  Expr y = x;
  for (int i = 0; i < 20; ++i) y = tanh(y) + x;
  BOOST_TEST(count<Map>(fuse_maps(graph_of({y}))) == 1);
}

BOOST_AUTO_TEST_CASE(fusion_never_makes_a_circle) {
  // b reads a through a reduction and directly: b may not join a's sweep.
  const Expr x = input("x", {30}, DType::f64);
  const Expr a = exp(x), b = a * sum(a), c = b + a;
  const Graph graph = fuse_maps(graph_of({c, a}));
  verify(graph, "test");
  BOOST_TEST(count<Map>(graph) == 2);
}

BOOST_AUTO_TEST_CASE(sweeps_that_one_map_reads_become_one) {
  // Two chains that meet read nothing in common before they do.
  const Expr x = input("x", {30}, DType::f64), y = input("y", {30}, DType::f64);
  const Expr a = exp(x) * x, b = tanh(y) + y, c = a * b;
  const Graph graph = fuse_maps(graph_of({c + a}));
  verify(graph, "test");
  BOOST_TEST(count<Map>(graph) == 1);
  BOOST_TEST(graph.nodes.back().inputs.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_rule_that_reads_its_gradient_twice_is_one_sweep) {
  const Expr g = input("g", {30});
  const Expr w = parameter(zeros({30}), "w"), m = parameter(zeros({30}), "m");
  const Expr s = parameter(zeros({30}), "s");
  const Expr m1 = 0.9 * m + 0.1 * g, s1 = 0.999 * s + 0.001 * square(g);
  Updates updates;
  updates.set(m, m1).set(s, s1).set(w, w - 0.001 * (m1 / (sqrt(s1) + 1e-8)));
  const Graph graph = fuse_maps(graph_of({}, updates));
  verify(graph, "test");
  BOOST_TEST(count<Map>(graph) == 1);
}

BOOST_AUTO_TEST_CASE(sweeps_stay_apart_where_a_node_between_them_waits_for_one) {
  // b waits for a through a sum; c reads both.
  const Expr x = input("x", {30}, DType::f64), y = input("y", {30}, DType::f64);
  const Expr a = exp(x), b = tanh(y) * sum(a), c = a + b;
  const Graph graph = fuse_maps(graph_of({c}));
  verify(graph, "test");
  BOOST_TEST(count<Map>(graph) >= 2);
  // d waits for a through a sum and reads what b's sweep makes.
  const Expr e = tanh(y), d = (a + e) * sum(e);
  verify(fuse_maps(graph_of({d, e})), "test");
}

BOOST_AUTO_TEST_CASE(an_unview_takes_its_parts_from_behind_permutations_and_reshapes) {
  const Expr x = input("x", {2, 3, 4, 5}), z = input("z", {2, 4, 7});
  const int axes[] = {0, 2, 1, 3};
  const Expr heads = reshape(permute_dims(sin(x), axes), {2, 4, 15});
  const Expr joined = concat({heads, z, heads}, 2);
  const Graph graph = insert_copies(simplify(graph_of({joined})));
  BOOST_TEST(count<Map>(graph) == 1);  // the sine
  Feeds feeds;
  for (const Expr& leaf : {x, z}) {
    std::vector<float> values;
    for (std::int64_t i = 0; i < leaf.shape().size(); ++i)
      values.push_back(std::sin(static_cast<float>(i)));
    feeds.push_back({leaf, tensor(std::span<const float>(values), leaf.shape())});
  }
  BOOST_TEST(same_bits(evaluate(joined, feeds), evaluate(joined, feeds, {.skip = {"simplify"}})));
}

BOOST_AUTO_TEST_CASE(a_part_alone_is_not_copied) {
  const Expr x = input("x", {2, 3}), y = sin(concat({x}, 1));
  BOOST_TEST(count<Unview>(graph_of({y})) == 1);
  BOOST_TEST(count<Unview>(simplify(graph_of({y}))) == 0);
}

BOOST_AUTO_TEST_CASE(an_unview_whose_part_meets_itself_keeps_its_order_of_sums) {
  const Expr x = input("x", {3, 4});
  const Layout windows{{4, 3}, {1, 2}, 0};  // places are hit by several elements
  const Expr y = make(Unview{{windows}, {8}, 0.0}, {transpose(x)});
  const Graph graph = simplify(graph_of({y}));
  BOOST_TEST(count<View>(graph) == 1);
}

BOOST_AUTO_TEST_CASE(a_copy_stands_where_outputs_would_share_memory_with_leaves) {
  const Expr x = input("x", {2, 3});
  const Graph graph = insert_copies(graph_of({x, transpose(x)}));
  BOOST_TEST(count<Map>(graph) == 2);
  verify(graph, "test");
}

BOOST_AUTO_TEST_CASE(passes_are_run_timed_and_left_out_by_name) {
  const Pass passes[] = {{"simplify", simplify}, {"merge_equal", merge_equal, false}};
  std::vector<PassRecord> records;
  const Expr x = input("x", {3});
  run_passes(graph_of({exp(x)}), passes, std::vector<std::string>{"simplify"}, {}, records);
  BOOST_TEST(records.size() == 2);
  BOOST_TEST(records[0].name == "merge_equal");
  BOOST_TEST(records[1].name == "verify");
  BOOST_CHECK_THROW(
      run_passes(graph_of({exp(x)}), passes, std::vector<std::string>{"merge_equal"}, {}, records),
      Error);
  BOOST_CHECK_THROW(
      run_passes(graph_of({exp(x)}), passes, {}, std::vector<std::string>{"none"}, records), Error);
}

BOOST_AUTO_TEST_CASE(a_pass_that_is_not_of_this_mode_may_be_printed) {
  const Program program = compile({matmul(input("x", {2, 2}), constant(ones({2, 2})))}, {}, cpu(),
                                  {.print = {"mixed"}});
  for (const std::string& line : program.report().passes) BOOST_TEST(!line.starts_with("mixed"));
  BOOST_CHECK_THROW(compile({constant(ones({}))}, {}, cpu(), {.skip = {"mixed"}}), Error);
}

BOOST_AUTO_TEST_CASE(a_pass_that_breaks_the_graph_is_caught_and_named) {
  const Pass bad[] = {{"bad", [](const Graph& graph) {
                         Graph broken = graph;
                         broken.nodes.back().types[0].shape = Shape{7};
                         return broken;
                       }}};
  std::vector<PassRecord> records;
  const Expr x = input("x", {3});
  BOOST_CHECK_EXCEPTION(run_passes(graph_of({exp(x)}), bad, {}, {}, records), InternalError,
                        [](const InternalError& e) {
                          return std::string(e.what()).find("after bad: types of exp changed") !=
                                 std::string::npos;
                        });
}

BOOST_AUTO_TEST_CASE(composite_ops_are_opened_and_unread_results_dropped) {
  const Expr x = input("x", {2, 3}), i = input("i", {2}, DType::i32);
  const Graph graph = graph_of({mean(cross_entropy(x, i))});
  for (const GraphNode& node : graph.nodes) BOOST_TEST(!node.op->has_expand());
  const std::string text = to_text(graph);
  BOOST_TEST(text.find("sum") != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(random_graphs_keep_their_bits_whichever_passes_are_left_out) {
  const std::vector<std::vector<std::string>> skips = {
      {"simplify"},
      {"merge_equal"},
      {"fuse_rows"},
      {"fuse_maps"},
      {"simplify", "merge_equal", "fuse_rows", "fuse_maps"}};
  for (unsigned seed = 0; seed < 150; ++seed) {
    RandomProgram program(seed, seed % 2 ? DType::f32 : DType::f64);
    const Tensor a0 = program.values({3, 4}), b0 = program.values({4}), w0 = program.values({3, 4}),
                 s0 = program.values({4});
    const auto run = [&](const CompileOptions& options) {
      return program.run(options, a0, b0, w0, s0);
    };
    const std::vector<Tensor> expected = run({});
    const auto check = [&](const std::string& what, const CompileOptions& options) {
      const std::vector<Tensor> got = run(options);
      for (std::size_t i = 0; i < got.size(); ++i) {
        BOOST_TEST(same_bits(got[i], expected[i]),
                   "seed " << seed << ", " << what << ": value " << i << " is " << to_string(got[i])
                           << " instead of " << to_string(expected[i]));
      }
    };
    for (const auto& skip : skips)
      check("without " + skip[0] + (skip.size() > 1 ? " and all others" : ""), {.skip = skip});
    check("without reuse", {.reuse_memory = false});
    check("without reuse and passes", {.skip = skips.back(), .reuse_memory = false});
    check("portable", {.isa = "portable"});
  }
}

BOOST_AUTO_TEST_CASE(random_graphs_have_the_gradient_of_their_differences) {
  for (unsigned seed = 1000; seed < 1080; ++seed) {
    RandomProgram program(seed, DType::f64);
    const Tensor a0 = program.values({3, 4}), b0 = program.values({4});
    Program all = compile(program.outputs, {}, cpu());
    const auto loss = [&](const Tensor& a1, const Tensor& b1) {
      return all.run({{program.a, a1}, {program.b, b1}}).number(0);
    };
    const Results results = all.run({{program.a, a0}, {program.b, b0}});
    const Tensor ga = results.tensor(2), gb = results.tensor(3);
    // Along three random directions.
    for (int d = 0; d < 3; ++d) {
      const Tensor da = program.values({3, 4}), db = program.values({4});
      double expected = 0;
      for (int i = 0; i < 12; ++i) expected += ga.at(i) * da.at(i);
      for (int i = 0; i < 4; ++i) expected += gb.at(i) * db.at(i);
      const auto moved = [&](const Tensor& x, const Tensor& dx, double h) {
        std::vector<double> values;
        for (std::int64_t i = 0; i < x.size(); ++i) values.push_back(x.at(i) + h * dx.at(i));
        return tensor(std::span<const double>(values), x.shape());
      };
      const auto slope = [&](double h) {
        return (loss(moved(a0, da, h), moved(b0, db, h)) -
                loss(moved(a0, da, -h), moved(b0, db, -h))) /
               (2 * h);
      };
      const double error =
          std::min(std::abs(slope(1e-5) - expected), std::abs(slope(1e-6) - expected));
      BOOST_TEST(error <= 1e-6 * std::max(1.0, std::abs(expected)),
                 "seed " << seed << ": slope " << slope(1e-5) << ", gradient " << expected);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
