// fuse_takes: which rows of tables are taken inside a row program, and that bits are those of the
// nodes it stands for.
#include "backends/row_takes.h"

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

// Rows of two tables by numbers, some of them more than once.
struct Pairs {
  Expr a, b, i, j;

  Pairs(std::int64_t rows, std::int64_t width, const Shape& lines, DType dtype, DType numbers)
      : a(parameter(waves({rows, width}, dtype, 0), "a")),
        b(parameter(waves({rows, width}, dtype, 1), "b")),
        i(input("i", lines, numbers)),
        j(input("j", lines, DType::i64)) {}
  Expr u() const { return embedding(a, i); }
  Expr v() const { return embedding(b, j); }
  Expr scores() const { return logsumexp(u() * v(), -1); }
  Feeds feeds(int step) const {
    std::vector<std::int64_t> first, second;
    const std::int64_t rows = a.shape()[0];
    for (std::int64_t k = 0; k < i.shape().size(); ++k) {
      first.push_back((k * k + step) % rows);
      second.push_back((k * k * k + k / 4 + step) % rows);
    }
    return {{i, tensor(std::span<const std::int64_t>(first), i.shape()).astype(i.dtype())},
            {j, tensor(std::span<const std::int64_t>(second), j.shape())}};
  }
};

Graph graph_of(const std::vector<Expr>& outputs, const Updates& updates = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  const Graph graph = fuse_takes(fuse_maps(
      fuse_rows(insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps)))))));
  verify(graph, "fuse_takes");
  return graph;
}

std::size_t takes(const Graph& graph) {
  std::size_t all = 0;
  for (const GraphNode& node : graph.nodes) {
    if (const auto* program = node.op.as<RowProgram>()) all += program->takes.size();
  }
  return all;
}

// What a program gives and leaves in its parameters in two steps, made anew from the same values.
using Make = std::function<std::pair<std::vector<Output>, Updates>(const Pairs&)>;
std::vector<Tensor> results_of(const Pairs& pairs, const Make& make,
                               const CompileOptions& options) {
  const auto [outputs, updates] = make(pairs);
  Program program = compile(outputs, updates, cpu(), options);
  std::vector<Tensor> all;
  for (int step = 0; step < 2; ++step) {
    const Results results = program.run(pairs.feeds(step));
    for (std::size_t o = 0; o < outputs.size(); ++o)
      all.push_back(results.tensor(static_cast<int>(o)));
  }
  all.push_back(pairs.a.value());
  all.push_back(pairs.b.value());
  return all;
}

void check_bits(std::int64_t rows, std::int64_t width, const Shape& lines, DType dtype,
                DType numbers, const Make& make) {
  const auto run = [&](const CompileOptions& options) {
    return results_of(Pairs(rows, width, lines, dtype, numbers), make, options);
  };
  const std::vector<Tensor> expected = run({.skip = {"fuse_takes"}, .threads = 1});
  for (const CompileOptions& options : equal_bits_options()) {
    const std::vector<Tensor> got = run(options);
    BOOST_TEST(same_bits(got, expected), join({rows, " x ", width, ", ", options.isa, " with ",
                                               options.threads, " threads"}));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(row_takes)

BOOST_AUTO_TEST_CASE(a_row_program_takes_the_rows_of_two_tables) {
  const Pairs p(30, 64, {7, 3}, DType::f32, DType::i32);
  const Graph graph = graph_of({p.scores()});
  BOOST_TEST(takes(graph) == 2);
  BOOST_TEST(count<Gather>(graph) == 0);
  BOOST_TEST(count<CheckIndex>(graph) == 2);
}

BOOST_AUTO_TEST_CASE(a_table_may_be_taken_from_twice) {
  const Pairs p(30, 64, {7}, DType::f32, DType::i32);
  const Graph graph = graph_of({logsumexp(p.u() * embedding(p.a, p.j), -1)});
  BOOST_TEST(takes(graph) == 2);
  BOOST_TEST(count<Gather>(graph) == 0);
}

BOOST_AUTO_TEST_CASE(rows_that_something_else_reads_are_stored) {
  const Pairs p(30, 64, {7}, DType::f32, DType::i32);
  const Graph graph = graph_of({p.scores(), p.u()});
  BOOST_TEST(takes(graph) == 1);
  BOOST_TEST(count<Gather>(graph) == 1);
}

BOOST_AUTO_TEST_CASE(what_are_no_lines_of_some_length_from_storage_is_stored) {
  const Pairs p(30, 64, {7}, DType::f32, DType::i32);
  const auto apart = [](const Expr& y) {
    return count<RowProgram>(graph_of({y})) == 1 && takes(graph_of({y})) == 0;
  };
  BOOST_TEST(apart(softmax(embedding(tanh(p.a), p.i))));      // made by the program
  BOOST_TEST(apart(softmax(p.u(), 0)));                       // columns
  BOOST_TEST(apart(softmax(reshape(p.u(), Shape{14, 32}))));  // halves of rows
  BOOST_TEST(apart(softmax(slice(p.u(), 0, 1, 5))));          // some of the rows
  const Pairs narrow(30, 31, {7}, DType::f32, DType::i32),
      wide(30, 512, {7}, DType::f32, DType::i32);
  BOOST_TEST(apart(softmax(narrow.u())));
  BOOST_TEST(apart(softmax(wide.u())));
}

BOOST_AUTO_TEST_CASE(a_program_says_what_it_takes) {
  const Pairs p(30, 64, {7}, DType::f32, DType::i32);
  const Program program = compile({p.scores()});
  BOOST_TEST(program.to_text().find("; in0 by in2; in1 by in3 ->") != std::string::npos,
             program.to_text());
  BOOST_TEST(program.explain().find("take, multiply") != std::string::npos, program.explain());
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_rows_that_are_stored) {
  const Make scores = [](const Pairs& p) {
    return std::pair{std::vector<Output>{p.scores()}, Updates()};
  };
  for (const std::int64_t width : {32, 64, 131, 511}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const DType numbers : {DType::i32, DType::i64}) {
        check_bits(40, width, {7, 3}, dtype, numbers, scores);
        check_bits(300, width, {901}, dtype, numbers, scores);
      }
    }
  }
  check_bits(1, 64, {1}, DType::f32, DType::i32, scores);
  check_bits(40, 64, {7, 3}, DType::bf16, DType::i32, scores);
  check_bits(5, 64, {0}, DType::f32, DType::i32, scores);
}

BOOST_AUTO_TEST_CASE(training_leaves_the_same_bits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t lines : {9, 700}) {
      check_bits(200, 128, {lines}, dtype, DType::i32, [dtype](const Pairs& p) {
        const Loss loss{sum(softplus(p.scores())), constant(ones({}, dtype)), {}};
        Optimizer optimizer(Adagrad{.learning_rate = 0.5});
        return std::pair{std::vector<Output>{mean(loss)}, optimizer.apply(gradients(loss), false)};
      });
    }
  }
}

// The sums may lie where the numbers were.
BOOST_AUTO_TEST_CASE(numbers_that_are_made_may_give_their_memory_away) {
  check_bits(300, 64, {901}, DType::f32, DType::i32, [](const Pairs& p) {
    const Expr i = remainder(p.i * 7, 300), j = remainder(astype(p.j, DType::i32) + p.i, 300);
    return std::pair{std::vector<Output>{logsumexp(embedding(p.a, i) * embedding(p.b, j), -1)},
                     Updates()};
  });
}

BOOST_AUTO_TEST_CASE(lines_that_are_taken_may_be_added_up) {
  for (const Shape& lines : {Shape{20, 32}, Shape{300, 3}}) {
    check_bits(300, 32, lines, DType::f32, DType::i32, [](const Pairs& p) {
      const Expr i = remainder(p.i * 7, 300);
      return std::pair{std::vector<Output>{sum(softmax(embedding(p.a, i) * p.v()), 1)}, Updates()};
    });
  }
}

BOOST_AUTO_TEST_CASE(a_table_may_get_new_values_that_are_made_of_its_rows) {
  check_bits(300, 64, {300}, DType::f32, DType::i32, [](const Pairs& p) {
    Updates updates;
    updates.set(p.a, softmax(p.u()));
    updates.set(p.b, p.b * 0.5 + softmax(p.v()));
    return std::pair{std::vector<Output>{p.scores()}, updates};
  });
}

BOOST_AUTO_TEST_CASE(rows_are_taken_again_from_a_table_that_is_updated) {
  std::int64_t peak = 0;
  std::vector<std::string> again;
  const auto trained = [&](std::vector<std::string> skip, std::int64_t limit) {
    const Pairs p(60, 64, {500}, DType::f32, DType::i32);
    const Expr first = softmax(p.u()), m = constant(waves({64, 64}, DType::f32, 3));
    Expr y = first;
    for (int layer = 0; layer < 4; ++layer) y = tanh(matmul(y, m));
    Updates updates;
    updates.set(p.a, p.a * 0.5);
    Program program = compile({sum(y * first, 0)}, updates, cpu(),
                              {.skip = std::move(skip), .memory_limit = limit});
    peak = program.report().peak_bytes;
    again = program.report().recomputed;
    std::vector<Tensor> all;
    for (int step = 0; step < 2; ++step) all.push_back(program.run(p.feeds(step)).tensor(0));
    all.push_back(p.a.value());
    return all;
  };
  const std::vector<Tensor> expected = trained({"fuse_takes"}, 0);
  BOOST_TEST(same_bits(trained({}, 0), expected));
  BOOST_TEST(again.empty());
  BOOST_TEST(same_bits(trained({}, peak - 50000), expected));
  BOOST_TEST(!again.empty());
}

BOOST_AUTO_TEST_CASE(a_number_out_of_range_is_an_error_that_updates_nothing) {
  const Pairs p(30, 64, {3}, DType::f32, DType::i32);
  Optimizer optimizer(Adagrad{.learning_rate = 0.5});
  const Loss loss{sum(p.scores()), constant(ones({})), {}};
  Program program = compile({p.scores()}, optimizer.apply(gradients(loss), false));
  Program alone = compile({p.scores()});
  BOOST_TEST(alone.to_text().find(" by in") != std::string::npos);
  const Tensor before = p.a.value();
  for (const std::int64_t bad : {std::int64_t{30}, std::int64_t{-1}, std::int64_t{1} << 40}) {
    const Tensor good = tensor({1, 2, 3}, {3}).astype(DType::i32);
    const std::vector<std::int64_t> numbers{0, bad, 2};
    const Feeds feeds{{p.i, good}, {p.j, tensor(std::span<const std::int64_t>(numbers), {3})}};
    for (Program* each : {&program, &alone}) {
      const std::string text = error_of([&] { each->run(feeds); });
      BOOST_TEST(text.ends_with(join({"): index ", bad,
                                      " at position 1 is out of range [0, 30); "
                                      "step 0 of this run updated nothing"})),
                 text);
    }
  }
  BOOST_TEST(same_bits(p.a.value(), before));
}

BOOST_AUTO_TEST_SUITE_END()
