// fuse_row_updates: which updates of rows become one node, that it writes in place, and that bits
// are those of the nodes it stands for.
#include "backends/row_updates.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "graph/row_update.h"
#include "tests/support/checks.h"
#include "tests/support/count_ops.h"
#include "tests/support/equal_bits_options.h"
#include "tests/support/waves.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// Two tables, and a sum of gradients for some of their rows.
struct Tables {
  Expr a, b, index, gradients, rate;
  Rows rows;

  Tables(const Shape& shape, std::int64_t named, DType dtype = DType::f32,
         DType numbers = DType::i32)
      : a(parameter(waves(shape, dtype, 0), "a")),
        b(parameter(waves(shape, dtype, 2), "b")),
        index(input("index", {named}, numbers)),
        rate(input("rate", {}, dtype)) {
    std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
    sizes[0] = named;
    gradients = constant(waves(Shape(sizes), dtype, 5));
    rows = merge_rows(index, gradients);
  }

  Expr of(const Expr& table) const { return make(Gather{}, {table, rows.rows}); }
  Expr put(const Expr& table, const Expr& values) const {
    return make(PutRows{}, {table, rows.rows, values, rows.count});
  }
  // As an optimizer that keeps a sum of squares.
  Updates adapted(const Expr& guard = {}) const {
    const Expr sums = of(b) * of(b) + square(rows.values);
    Updates updates;
    updates.set(b, put(b, sums), guard);
    updates.set(a, put(a, of(a) - rate * rows.values / (sqrt(sums) + 0.5)), guard);
    return updates;
  }
  Feeds feeds(int step) const {
    std::vector<std::int64_t> numbers;
    const std::int64_t n = a.shape()[0];
    for (std::int64_t k = 0; k < index.shape()[0]; ++k)
      numbers.push_back((k * k + 3 * step + k / 5) % n);
    return {{index,
             tensor(std::span<const std::int64_t>(numbers), index.shape()).astype(index.dtype())},
            {rate, tensor({0.25}, {}).astype(rate.dtype())}};
  }
};

Graph graph_of(const Updates& updates, std::span<const Expr> outputs = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph graph = fuse_row_updates(
      fuse_maps(insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps))))));
  verify(graph, "fuse_row_updates");
  return graph;
}

// Both tables after three steps of a program that is made anew from the same values.
template <class Make>
std::vector<Tensor> trained(const Shape& shape, std::int64_t named, DType dtype, DType numbers,
                            const CompileOptions& options, Make make_updates) {
  const Tables t(shape, named, dtype, numbers);
  Program program = compile({}, make_updates(t), cpu(), options);
  for (int step = 0; step < 3; ++step) program.run(t.feeds(step));
  return {t.a.value(), t.b.value()};
}

// Words against some others each, as row programs make it: what the loss adds up for a row of the
// others is a product of a number and the row of the word.
struct Pairs {
  Expr words, others, center, near;
  Loss loss;

  Pairs(std::int64_t rows, std::int64_t width, std::int64_t batch, DType dtype)
      : words(parameter(waves({rows, width}, dtype, 0), "words")),
        others(parameter(waves({rows, width}, dtype, 1), "others")),
        center(input("center", {batch}, DType::i32)),
        near(input("near", {batch, 3}, DType::i64)) {
    const Expr u = expand_dims(embedding(words, center), 1), v = embedding(others, near);
    const Expr wanted = constant(full({batch, 3}, 1, dtype));
    loss = binary_cross_entropy_with_logits(vecdot(u, v), wanted);
  }
  Feeds feeds(int step) const {
    std::vector<std::int64_t> a, b;
    const std::int64_t rows = words.shape()[0], batch = center.shape()[0];
    for (std::int64_t k = 0; k < batch; ++k) a.push_back((k * k + step) % rows);
    for (std::int64_t k = 0; k < 3 * batch; ++k) b.push_back((k * k * k + k / 4 + step) % rows);
    return {{center, tensor(std::span<const std::int64_t>(a), {batch}).astype(DType::i32)},
            {near, tensor(std::span<const std::int64_t>(b), {batch, 3})}};
  }
};

struct Trained {
  std::vector<Tensor> tables;
  std::string text;
};

Trained trained_pairs(std::int64_t rows, std::int64_t width, std::int64_t batch, DType dtype,
                      const CompileOptions& options) {
  const Pairs pairs(rows, width, batch, dtype);
  Optimizer optimizer(Adagrad{.learning_rate = 0.5});
  const Updates updates = optimizer.apply(gradients(pairs.loss), false);
  Program program = compile({mean(pairs.loss)}, updates, cpu(), options);
  for (int step = 0; step < 3; ++step) program.run(pairs.feeds(step));
  return {{pairs.words.value(), pairs.others.value()}, program.to_text()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(row_updates)

BOOST_AUTO_TEST_CASE(what_an_optimizer_does_with_rows_is_one_node_in_place) {
  const Tables t({50, 8}, 6);
  const Graph graph = graph_of(t.adapted());
  BOOST_TEST(count<RowUpdate>(graph) == 1);
  BOOST_TEST(count<PutRows>(graph) == 0);
  BOOST_TEST(count<Gather>(graph) == 0);
  BOOST_TEST(count<MergeRows>(graph) == 0);
  BOOST_TEST(count<RowOrder>(graph) == 1);
  const Plan plan = make_plan(graph, true);
  BOOST_TEST(plan.updates.size() == 1);
  BOOST_TEST(plan.commits.empty());
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_the_nodes_apart) {
  const Shape shapes[] = {{9, 1},    {40, 3},   {33, 2, 8}, {300, 16}, {21, 127},
                          {64, 128}, {12, 513}, {7, 1300},  {30}};
  const auto adapted = [](const Tables& t) { return t.adapted(); };
  for (const Shape& shape : shapes) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const std::int64_t named : {0, 1, 7, 90}) {
        const DType numbers = named == 7 ? DType::i64 : DType::i32;
        const std::vector<Tensor> expected =
            trained(shape, named, dtype, numbers, {.skip = {"fuse_row_updates"}}, adapted);
        std::vector<CompileOptions> others = equal_bits_options();
        others.push_back({.check_numerics = true});
        for (const CompileOptions& options : others) {
          const std::vector<Tensor> got = trained(shape, named, dtype, numbers, options, adapted);
          BOOST_TEST(same_bits(got[0], expected[0]), join({shape, ", ", named, " rows"}));
          BOOST_TEST(same_bits(got[1], expected[1]), join({shape, ", ", named, " rows"}));
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(sums_that_others_read_are_made_once) {
  const auto run = [](bool fuses) {
    const Tables t({40, 24}, 17);
    const std::vector<Expr> outputs{sum(t.rows.values)};
    const Graph graph = graph_of(t.adapted(), outputs);
    BOOST_TEST(count<RowUpdate>(graph) == 1);
    BOOST_TEST(count<MergeRows>(graph) == 1);
    BOOST_TEST(count<RowOrder>(graph) == 0);
    CompileOptions options;
    if (!fuses) options.skip = {"fuse_row_updates"};
    Program program = compile({outputs[0]}, t.adapted(), cpu(), options);
    for (int step = 0; step < 3; ++step) program.run(t.feeds(step));
    return t.a.value();
  };
  BOOST_TEST(same_bits(run(true), run(false)));
}

// The check reads the sums too, but does not become one node with what waits for it.
BOOST_AUTO_TEST_CASE(an_update_that_waits_for_a_check_of_its_gradients_is_one_node) {
  const auto run = [](const Expr& w, const CompileOptions& options) {
    const Expr i = input("i", {7}, DType::i32);
    const Loss loss{sum(square(take(w, i))), constant(ones({})), {}};
    Optimizer optimizer(Adagrad{.learning_rate = 0.5});
    Program program = compile({}, minimize(optimizer, loss), cpu(), options);
    for (std::int32_t step = 0; step < 4; ++step) {
      program.run({{i, tensor<std::int32_t>({1, 5, 1, step, 9, 12, 3}, {7})}});
    }
    return program.to_text();
  };
  const Expr a = parameter(waves({30, 20}, DType::f32, 0), "w");
  const Expr b = parameter(waves({30, 20}, DType::f32, 0), "w");
  BOOST_TEST(run(a, {}).find("update_rows") != std::string::npos);
  BOOST_TEST(run(b, {.skip = {"fuse_row_updates"}}).find("update_rows") == std::string::npos);
  BOOST_TEST(same_bits(a.value(), b.value()));
}

BOOST_AUTO_TEST_CASE(a_guard_that_is_false_holds_every_row_back) {
  const Tables t({20, 4}, 5);
  const Expr go = input("go", {}, DType::boolean);
  Program program = compile({}, t.adapted(go));
  BOOST_TEST(program.to_text().find("update_rows") != std::string::npos);
  const Tensor before = t.a.value();
  Feeds feeds = t.feeds(1);
  feeds.push_back({go, full({}, 0, DType::boolean)});
  program.run(feeds);
  BOOST_TEST(same_bits(t.a.value(), before));
  feeds.back().value = full({}, 1, DType::boolean);
  program.run(feeds);
  BOOST_TEST(!same_bits(t.a.value(), before));
}

BOOST_AUTO_TEST_CASE(a_table_that_another_update_reads_is_written_aside) {
  const auto both = [](const Tables& t) {
    Updates updates;
    updates.set(t.a, t.put(t.a, t.of(t.a) + t.rows.values));
    updates.set(t.b, t.b * 0.5 + t.a);
    return updates;
  };
  BOOST_TEST(count<RowUpdate>(graph_of(both(Tables({20, 4}, 5)))) == 1);
  for (const Shape& shape : {Shape{20, 4}, Shape{300, 200}}) {
    for (const int threads : {1, 2}) {
      const auto with = trained(shape, 130, DType::f32, DType::i32, {.threads = threads}, both);
      const auto without = trained(shape, 130, DType::f32, DType::i32,
                                   {.skip = {"fuse_row_updates"}, .threads = threads}, both);
      BOOST_TEST(same_bits(with[0], without[0]), join({shape}));
      BOOST_TEST(same_bits(with[1], without[1]), join({shape}));
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_that_go_elsewhere_or_come_from_elsewhere_stay_apart) {
  const Tables t({20, 4}, 5);
  const auto fused = [](const Updates& updates, std::span<const Expr> outputs = {}) {
    return count<RowUpdate>(graph_of(updates, outputs));
  };
  const Expr value = t.of(t.a) - t.rows.values;
  Updates updates;
  updates.set(t.a, t.put(t.a, value));
  BOOST_TEST(fused(updates) == 1);
  const Expr outputs[] = {value};
  BOOST_TEST(fused(updates, outputs) == 0);  // its rows are read again
  const Expr whole[] = {updates.all()[0].value};
  BOOST_TEST(fused(updates, whole) == 0);
  // Rows of another table are values as all others.
  Updates crossed;
  crossed.set(t.a, t.put(t.a, t.of(t.b) - t.rows.values));
  BOOST_TEST(fused(crossed) == 0);
  // Numbers that may be equal.
  Updates any;
  const Expr numbers = constant(tensor<std::int32_t>({1, 1}, {2}));
  any.set(t.a, make(PutRows{}, {t.a, numbers, make(Gather{}, {t.a, numbers}) + 1.0,
                                constant(full({}, 2, DType::i64))}));
  BOOST_TEST(fused(any) == 0);
  // A factor of each row lies neither densely nor as one number.
  Updates scaled;
  const Expr factors = input("factors", {5, 1});
  scaled.set(t.a, t.put(t.a, t.of(t.a) * factors));
  BOOST_TEST(fused(scaled) == 0);
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_a_formula_of_few_rows_is_not_stored) {
  struct Case {
    std::int64_t rows, width, batch;
  };
  const std::string_view adds = "adds up";  // what a RowUpdate with terms prints
  for (const auto& [rows, width, batch] :
       {Case{40, 64, 7}, Case{300, 128, 50}, Case{30, 131, 9}, Case{25, 600, 6}}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Trained expected =
          trained_pairs(rows, width, batch, dtype, {.skip = {"fuse_row_updates"}});
      BOOST_TEST(expected.text.find(adds) == std::string::npos);
      std::vector<CompileOptions> others = equal_bits_options();
      others.push_back({.skip = {"fuse_rows"}});
      for (const CompileOptions& options : others) {
        const Trained got = trained_pairs(rows, width, batch, dtype, options);
        BOOST_TEST((got.text.find(adds) != std::string::npos));
        for (std::size_t t = 0; t < got.tables.size(); ++t)
          BOOST_TEST(same_bits(got.tables[t], expected.tables[t]), join({rows, " x ", width}));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_is_added_up_may_lie_in_a_larger_value) {
  for (const int axis : {1, 2}) {
    std::vector<Tensor> expected;
    for (const bool fuses : {false, true}) {
      const Expr table = parameter(waves({30, 2, 64}, DType::f32, 1), "table");
      const Expr x = input("x", {7, 2, 64}), u = sin(x);
      const Expr i = remainder(argmax(max(u, 1), -1), 3);  // [7]
      const Loss loss{sum(square(u * embedding(table, i))), constant(ones({})), {}};
      Optimizer optimizer(Adagrad{.learning_rate = 0.5});
      CompileOptions options;
      if (!fuses) options.skip = {"fuse_row_updates"};
      Program program = compile({concat({u, sin(u)}, axis)},
                                optimizer.apply(gradients(loss), false), cpu(), options);
      BOOST_TEST((program.to_text().find("adds up") != std::string::npos) == fuses);
      const Tensor made = program.run({{x, waves(x.shape(), DType::f32, 0)}}).tensor(0);
      const std::vector<Tensor> got = {made, table.value()};
      if (!fuses) expected = got;
      for (std::size_t t = 0; t < got.size(); ++t) BOOST_TEST(same_bits(got[t], expected[t]));
    }
  }
}

BOOST_AUTO_TEST_CASE(what_an_update_adds_up_is_counted_as_work) {
  const ScalarFn plus = [] {
    const DType dtypes[] = {DType::f32, DType::f32};
    ScalarRecorder recorder(dtypes);
    const Scalar made[] = {recorder.input(0) + recorder.input(1)};
    return recorder.finish(made);
  }();
  const RowUpdate stored{plus, {0, RowUpdate::sums}};
  const RowUpdate made{plus, {0, RowUpdate::sums}, plus};
  const TensorType table{DType::f32, {100, 64}}, rows{DType::i32, {7}}, count{DType::i64, {}};
  const TensorType order{DType::i32, {20}}, starts{DType::i32, {8}}, lines{DType::f32, {20, 64}};
  const TensorType one[] = {table, rows, count, order, starts, lines};
  const TensorType two[] = {table, rows, count, order, starts, lines, lines};
  BOOST_TEST(stored.cost(one, {&table, 1}).flops == (7 + 20) * 64);
  BOOST_TEST(made.cost(two, {&table, 1}).flops == (7 + 2 * 20) * 64);
}

BOOST_AUTO_TEST_CASE(a_gradient_of_short_rows_or_costly_terms_is_stored) {
  BOOST_TEST(trained_pairs(40, 32, 7, DType::f32, {}).text.find("adds up") == std::string::npos);
  const Expr w = parameter(waves({30, 64}, DType::f32, 0), "w");
  const Expr i = input("i", {7}, DType::i32);
  Optimizer optimizer(Adagrad{.learning_rate = 0.5});
  const Loss loss{sum(exp(take(w, i))), constant(ones({})), {}};
  Program program = compile({}, optimizer.apply(gradients(loss), false));
  BOOST_TEST(program.to_text().find("adds up") == std::string::npos);
  BOOST_TEST(program.to_text().find("update_rows") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(rows_outside_of_a_table_are_left_out) {
  for (const std::int64_t width : {3, 600}) {
    const Tables t({4, width}, 3);
    Program program = compile({}, t.adapted());
    BOOST_TEST(program.to_text().find("update_rows") != std::string::npos);
    const auto run = [&](const Tensor& numbers) {
      program.run({{t.index, numbers}, {t.rate, tensor({0.25}, {}).astype(DType::f32)}});
    };
    const Tensor before = t.a.value();
    run(tensor<std::int32_t>({-1, 4, 1 << 30}, {3}));
    BOOST_TEST(same_bits(t.a.value(), before));
    run(tensor<std::int32_t>({-1, 2, 1 << 30}, {3}));
    for (const std::int64_t row : {0, 1, 2, 3})
      BOOST_TEST((t.a.value().at(row * width) == before.at(row * width)) == (row != 2));
  }
}

BOOST_AUTO_TEST_CASE(random_numbers_of_rows_do_not_depend_on_blocks) {
  const auto noisy = [](const Tables& t) {
    const Stream stream{7, 0, constant(full({}, 3, DType::i64))};
    const Expr noise = uniform(t.rows.values.shape(), -1, 1, stream);
    Updates updates;
    updates.set(t.a, t.put(t.a, t.of(t.a) - t.rate * t.rows.values * noise));
    return updates;
  };
  const auto with = trained({300, 16}, 90, DType::f32, DType::i32, {}, noisy);
  const auto without =
      trained({300, 16}, 90, DType::f32, DType::i32, {.skip = {"fuse_row_updates"}}, noisy);
  BOOST_TEST(same_bits(with[0], without[0]));
}

BOOST_AUTO_TEST_SUITE_END()
