// fuse_product_updates: which gradients are made while their weight is updated, that bits are those
// of the nodes apart, and that nothing else about an update changes.
#include "backends/product_updates.h"

#include <boost/test/unit_test.hpp>
#include <functional>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "graph/product_map.h"
#include "tests/support/checks.h"
#include "tests/support/count_ops.h"
#include "tests/support/waves.h"

using namespace blockgrad;
using namespace test_support;

namespace {

const CompileOptions apart{.skip = {"fuse_product_updates"}};

// Rows x [k, m] times a weight [m, n], or the transpose of one [n, m], and how far that is from t.
struct Layer {
  Expr x, t, w;
  Loss loss;

  Layer(std::int64_t m, std::int64_t n, std::int64_t k, DType dtype = DType::f32,
        bool is_transposed = false)
      : x(input("x", {k, m}, dtype)),
        t(input("t", {k, n}, dtype)),
        w(parameter(waves(is_transposed ? Shape{n, m} : Shape{m, n}, dtype, 1), "w")) {
    const Expr y = matmul(x, w, {.transpose_b = is_transposed});
    loss = Loss{sum(square(y - t)), constant(full({}, static_cast<double>(k * n), dtype)), {}};
  }
  Feeds feeds(int step) const {
    return {{x, waves(x.shape(), x.dtype(), step)}, {t, waves(t.shape(), t.dtype(), 2 + step)}};
  }
};

bool is_joined(const Program& program) { return contains(program.to_text(), "product_map"); }

using MakeOptimizer = std::function<Optimizer()>;

// The weight and the slots of its optimizer after some steps.
std::vector<Tensor> trained(const Layer& layer, Optimizer optimizer, const CompileOptions& options,
                            bool* joined = nullptr) {
  const Updates updates = optimizer.apply(gradients(layer.loss), false);
  Program program = compile({layer.loss}, updates, cpu(), options);
  if (joined) *joined = is_joined(program);
  for (int step = 0; step < 3; ++step) program.run(layer.feeds(step));
  std::vector<Tensor> values;
  for (const Update& update : updates.all()) values.push_back(update.leaf.value());
  return values;
}

// The weight after runs of a program of these updates, with and without the pass.
void compare(const std::function<Updates(const Layer&, Optimizer&)>& make, bool joins,
             const CompileOptions& base = {}) {
  std::vector<Tensor> values;
  for (const bool skips : {false, true}) {
    const Layer layer(140, 130, 6);
    Optimizer optimizer(Sgd{.learning_rate = 0.05});
    const Updates updates = make(layer, optimizer);
    CompileOptions options = base;
    if (skips) options.skip.emplace_back("fuse_product_updates");
    Program program = compile({layer.loss}, updates, cpu(), options);
    BOOST_TEST(is_joined(program) == (joins && !skips));
    for (int step = 0; step < 4; ++step) program.run(layer.feeds(step));
    values.push_back(layer.w.value());
  }
  BOOST_TEST(same_bits(values[0], values[1]));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(product_updates)

BOOST_AUTO_TEST_CASE(a_gradient_and_its_update_are_one_node_in_place) {
  const Layer layer(300, 70, 5);
  Optimizer optimizer(Adam{});
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Updates updates = optimizer.apply(gradients(layer.loss), false);
  const Graph graph = fuse_product_updates(fuse_maps(
      insert_copies(merge_equal(simplify(build_graph(std::span<const Expr>{}, updates, keeps))))));
  verify(graph, "fuse_product_updates");
  BOOST_TEST(count<ProductMap>(graph) == 1);
  const Plan plan = make_plan(graph, true);
  const auto is_one = [&](const PlanStep& step) {
    return graph.nodes[static_cast<std::size_t>(step.node)].op.as<ProductMap>() != nullptr;
  };
  BOOST_TEST(std::count_if(plan.updates.begin(), plan.updates.end(), is_one) == 1);
  BOOST_TEST(std::count_if(plan.steps.begin(), plan.steps.end(), is_one) == 0);
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_the_nodes_apart) {
  struct Size {
    std::int64_t m, n, k;
  };
  const Size sizes[] = {{784, 128, 1}, {131, 130, 7}, {70, 301, 40}, {1030, 33, 33}, {900, 310, 3}};
  const MakeOptimizer recipes[] = {
      [] { return Optimizer(Sgd{.learning_rate = 0.1}); },
      [] { return Optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9}); },
      [] { return Optimizer(Adam{.learning_rate = 0.01}); },
      [] { return Optimizer(AdamW{.learning_rate = 0.01, .weight_decay = 0.1}); }};
  for (const auto& [m, n, k] : sizes) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const bool is_transposed : {false, true}) {
        for (const MakeOptimizer& recipe : recipes) {
          const auto run = [&](const CompileOptions& options, bool* joined = nullptr) {
            return trained(Layer(m, n, k, dtype, is_transposed), recipe(), options, joined);
          };
          const std::vector<Tensor> expected = run(apart);
          bool joined = false;
          BOOST_TEST(same_bits(run({}, &joined), expected), join({m, "x", n, "x", k}));
          BOOST_TEST(joined, join({m, "x", n, "x", k, is_transposed ? ", transposed" : ""}));
          std::vector<CompileOptions> others{{.reuse_memory = false}};
          for (const int threads : {1, 2, 3, 7}) others.push_back({.threads = threads});
          for (const char* isa : {"portable", "avx2"}) others.push_back({.isa = isa});
          for (const CompileOptions& options : others) {
            try {
              BOOST_TEST(same_bits(run(options), expected), join({m, "x", n, "x", k}));
            } catch (const Error&) {
              continue;  // an instruction set that is not here
            }
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_gradient_is_never_there_as_a_whole) {
  const auto arena = [](const CompileOptions& options) {
    const Layer layer(784, 128, 16);
    Optimizer optimizer(Sgd{.learning_rate = 0.1});
    return compile({layer.loss}, optimizer.apply(gradients(layer.loss), false), cpu(), options)
        .report()
        .arena_bytes;
  };
  BOOST_TEST(arena({}) <= arena(apart) - 784 * 128 * 4 + 16 * 128 * 4);
}

BOOST_AUTO_TEST_CASE(a_gradient_that_others_read_stays_apart) {
  // The check that it is finite, clipping by the norm of all, and whoever wants to see it.
  compare([](const Layer& l, Optimizer& o) { return minimize(o, l.loss); }, false);
  compare([](const Layer& l,
             Optimizer& o) { return o.apply(clip_by_global_norm(gradients(l.loss), 0.1), false); },
          false);
  const Layer layer(140, 130, 6);
  Optimizer optimizer(Sgd{.learning_rate = 0.05});
  const Gradients all = gradients(layer.loss);
  const Expr gradient = all.list[0].value;
  Program program = compile({gradient}, optimizer.apply(all, false));
  BOOST_TEST(!is_joined(program));
  const Layer other(140, 130, 6);
  Program plain = compile({gradients(other.loss).list[0].value});
  BOOST_TEST(same_bits(program.run(layer.feeds(1)).tensor(0), plain.run(other.feeds(1)).tensor(0)));
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_clipped_by_value_is_joined) {
  compare([](const Layer& l,
             Optimizer& o) { return o.apply(clip_by_value(gradients(l.loss), 0.01), false); },
          true);
}

BOOST_AUTO_TEST_CASE(accumulated_gradients_have_the_same_bits) {
  for (const bool guards : {false, true}) {
    std::vector<Tensor> values;
    for (const CompileOptions& options : {CompileOptions{}, apart}) {
      const Layer layer(140, 130, 6);
      Optimizer optimizer(Sgd{.learning_rate = 0.05, .momentum = 0.9});
      const Gradients all = accumulate(optimizer, gradients(layer.loss), 3);
      Program program = compile({layer.loss}, optimizer.apply(all, guards), cpu(), options);
      for (int step = 0; step < 7; ++step) program.run(layer.feeds(step));
      values.push_back(layer.w.value());
    }
    BOOST_TEST(same_bits(values[0], values[1]));
  }
}

// Twice in one product of all rows, or in two layers behind each other.
BOOST_AUTO_TEST_CASE(a_weight_that_is_used_twice_has_the_same_bits) {
  for (const bool in_a_row : {false, true}) {
    std::vector<std::vector<Tensor>> values;
    for (const CompileOptions& options : {CompileOptions{}, apart}) {
      const Expr x = input("x", {5, 140}), z = input("z", {5, 140});
      const Expr w = parameter(waves({140, 140}, DType::f32, 1), "w");
      const Expr y = in_a_row ? matmul(tanh(matmul(x, w)), w) : matmul(x, w) * tanh(matmul(z, w));
      Optimizer optimizer(Sgd{.learning_rate = 0.01});
      const Loss loss{sum(square(y)), constant(ones({})), {}};
      Program program = compile({}, optimizer.apply(gradients(loss), false), cpu(), options);
      for (int step = 0; step < 3; ++step) {
        Feeds feeds{{x, waves({5, 140}, DType::f32, step)}};
        if (!in_a_row) feeds.push_back({z, waves({5, 140}, DType::f32, 9 + step)});
        program.run(feeds);
      }
      values.push_back({w.value()});
    }
    BOOST_TEST(same_bits(values[0], values[1]));
  }
}

BOOST_AUTO_TEST_CASE(products_for_which_it_does_not_pay_stay_apart) {
  const auto joins = [](const Layer& layer) {
    Optimizer optimizer(Sgd{.learning_rate = 0.1});
    return is_joined(compile({}, optimizer.apply(gradients(layer.loss), false)));
  };
  BOOST_TEST(joins(Layer(140, 130, 6)));
  BOOST_TEST(!joins(Layer(20, 30, 6)));      // less than what other updates do at once
  BOOST_TEST(!joins(Layer(140, 130, 150)));  // what would stay is more than the gradient
  BOOST_TEST(!joins(Layer(600, 600, 256)));  // sums so long that an update is little
  BOOST_TEST(!joins(Layer(4, 10000, 3)));    // some rows fill the cache
}

// A weight whose gradient is read by what updates another one, and one that is in the product.
BOOST_AUTO_TEST_CASE(a_product_that_reads_what_the_program_updates_stays_apart) {
  const auto joins = [](bool reads_own) {
    const Expr a = parameter(waves({9, 140}, DType::f32, 1), "a");
    const Expr b = reads_own ? a : parameter(waves({9, 140}, DType::f32, 2), "b");
    const Expr w = parameter(waves({140, 140}, DType::f32, 3), "w");
    Updates updates;
    updates.set(w, w - 0.1 * matmul(a, b, {.transpose_a = true}));
    if (reads_own) updates.set(a, a * 0.5);
    Program program = compile({}, updates);
    const bool joined = is_joined(program);
    program.run({});
    return joined;
  };
  BOOST_TEST(joins(false));
  BOOST_TEST(!joins(true));
}

BOOST_AUTO_TEST_CASE(random_numbers_of_a_weight_do_not_depend_on_rows) {
  const auto noisy = [](const Layer& l, Optimizer&) {
    const Stream stream{7, 0, constant(full({}, 3, DType::i64))};
    const Expr noise = uniform(l.w.shape(), -1, 1, stream);
    Updates updates;
    updates.set(l.w, l.w - 0.1 * gradients(l.loss).list[0].value * noise);
    return updates;
  };
  compare(noisy, false);
}

BOOST_AUTO_TEST_CASE(a_value_per_column_keeps_an_update_apart) {
  const auto scaled = [](const Layer& l, Optimizer&) {
    const Expr factors = constant(waves({130}, DType::f32, 4));
    Updates updates;
    updates.set(l.w, l.w - factors * gradients(l.loss).list[0].value);
    return updates;
  };
  compare(scaled, false);
}

BOOST_AUTO_TEST_CASE(a_guard_that_is_false_holds_the_update_back) {
  const Layer layer(140, 130, 6);
  const Expr go = input("go", {}, DType::boolean);
  Updates updates;
  updates.set(layer.w, layer.w - 0.1 * gradients(layer.loss).list[0].value, go);
  Program program = compile({}, updates);
  BOOST_TEST(is_joined(program));
  const Tensor before = layer.w.value();
  Feeds feeds = layer.feeds(1);
  feeds.push_back({go, full({}, 0, DType::boolean)});
  program.run(feeds);
  BOOST_TEST(same_bits(layer.w.value(), before));
  feeds.back().value = full({}, 1, DType::boolean);
  program.run(feeds);
  BOOST_TEST(!same_bits(layer.w.value(), before));
}

BOOST_AUTO_TEST_CASE(a_step_that_fails_updates_nothing) {
  const Layer layer(140, 130, 6);
  const Expr i = input("i", {2}, DType::i32);
  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.9});
  const Updates updates = optimizer.apply(gradients(layer.loss), false);
  Program program = compile({take(layer.t, i)}, updates);
  BOOST_TEST(is_joined(program));
  std::vector<Tensor> before;
  for (const Update& update : updates.all()) before.push_back(update.leaf.value());
  Feeds feeds = layer.feeds(1);
  feeds.push_back({i, tensor<std::int32_t>({0, 6}, {2})});
  BOOST_TEST(
      contains(error_of([&] { program.run(feeds); }), "index 6 at position 1 is out of range"));
  std::vector<Tensor> after;
  for (const Update& update : updates.all()) after.push_back(update.leaf.value());
  BOOST_TEST(same_bits(before, after));
}

BOOST_AUTO_TEST_CASE(the_first_value_that_is_not_finite_is_named) {
  const auto message = [](const CompileOptions& options) {
    const Layer layer(140, 130, 6);
    Optimizer optimizer(Sgd{.learning_rate = 0.1});
    Program program = compile({}, optimizer.apply(gradients(layer.loss), false), cpu(), options);
    BOOST_TEST(!is_joined(program));
    Feeds feeds = layer.feeds(1);
    feeds[0].value = full(layer.x.shape(), 1e38);
    const Tensor before = layer.w.value();
    const std::string text = error_of([&] { program.run(feeds); });
    BOOST_TEST(same_bits(layer.w.value(), before));
    return text;
  };
  const std::string text = message({.check_numerics = true});
  BOOST_TEST(contains(text, "the first value that is not finite"));
  BOOST_TEST(text == message({.skip = {"fuse_product_updates"}, .check_numerics = true}));
}

BOOST_AUTO_TEST_CASE(a_memory_limit_that_would_do_without_does_with) {
  const auto layers = [](const CompileOptions& options, std::vector<Tensor>& values) {
    const Expr x = input("x", {40, 64});
    Expr h = x;
    std::vector<Expr> weights;
    for (int i = 0; i < 6; ++i) {
      const Shape shape{i == 0 ? 64 : 300, 300};
      weights.push_back(parameter(waves(shape, DType::f32, i), join({"w", i})));
      h = tanh(matmul(h, weights.back()) * 0.05);
    }
    Optimizer optimizer(Sgd{.learning_rate = 0.01});
    const Loss loss{sum(square(h)), constant(ones({})), {}};
    Program program = compile({}, optimizer.apply(gradients(loss), false), cpu(), options);
    for (int step = 0; step < 2; ++step) program.run({{x, waves({40, 64}, DType::f32, step)}});
    for (const Expr& w : weights) values.push_back(w.value());
    return program.report().peak_bytes;
  };
  std::vector<Tensor> free, before, limited;
  const std::int64_t peak = layers(apart, before);
  BOOST_TEST(layers({}, free) < peak);
  layers({.memory_limit = peak}, limited);
  BOOST_TEST(same_bits(free, before));
  BOOST_TEST(same_bits(limited, before));
}

BOOST_AUTO_TEST_CASE(a_report_tells_what_is_done_at_once) {
  const Layer layer(784, 128, 16);
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  Program program = compile({layer.loss}, optimizer.apply(gradients(layer.loss), false));
  const std::string text = program.explain();
  BOOST_TEST(
      contains(text, "gradient of matmul and update of w, by product_map: m,n,k 784x128x16"));
  BOOST_TEST(contains(text, "each updated by 1 instruction"));
}

BOOST_AUTO_TEST_SUITE_END()
