// Exact messages of gradients, updates, compiling, running and reading: one row per kind of
// mistake.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <limits>
#include <string>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/stored.h"

using namespace blockgrad;

namespace {

// clang-format off
constexpr int leaves = __LINE__ + 1;  // all on one line, the # of the messages
const Expr x = input("x", {2, 3}), i = input("i", {2}, DType::i32), other = input("other", {2, 3}), w = parameter(ones({2, 3}), "w"), v = parameter(ones({2, 3}), "v"), twin = parameter(ones({2, 3}), "w");
// clang-format on

const Tensor good = ones({2, 3}), narrow = ones({3});
const double inf = std::numeric_limits<double>::infinity();

struct NoRule {
  static constexpr std::string_view name = "no_rule";
  bool operator==(const NoRule&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
};

struct Throwing {
  static constexpr std::string_view name = "throwing";
  bool operator==(const Throwing&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { fail({"not for this shape"}); }
};

struct Row {
  int line;  // of the row below, the user's line in the message
  std::function<void()> mistake;
  const char* message;  // @ stands for "run_errors_test.cpp:<line>", # for the line of the leaves
};

#define BG_ROW(mistake, message)                          \
  Row {                                                   \
    __LINE__, [] { static_cast<void>(mistake); }, message \
  }

// clang-format off
const Row rows[] = {
    // empty expressions
    BG_ROW(evaluate(Expr()), "evaluate at @: an empty Expr has no value"),
    BG_ROW(reshape(Expr(), {2, 3}), "reshape (@): its operand is an empty Expr"),
    BG_ROW(broadcast_to(Expr(), Shape{2, 3}), "broadcast_to (@): its operand is an empty Expr"),
    BG_ROW(permute_dims(Expr(), std::vector{0}), "permute_dims (@): its operand is an empty Expr"),
    BG_ROW(sum(Expr()), "an operand is an empty Expr (@)"),
    BG_ROW(transpose(Expr()), "an operand is an empty Expr (@)"),
    BG_ROW(softmax(Expr()), "an operand is an empty Expr (@)"),
    BG_ROW(stop_gradient(Expr()), "stop_gradient (@): input 0 is an empty Expr"),
    BG_ROW(checkpoint(Expr()), "checkpoint (@): input 0 is an empty Expr"),
    BG_ROW(custom_gradient(Expr(), {x}, [](const Backward& b) { return std::vector{b.dy()}; }), "custom_gradient (@): input 1 is an empty Expr"),
    BG_ROW(compile({x, Expr()}), "compile at @: output 1 is empty"),
    BG_ROW(Expr().shape(), "an empty Expr has no type"),
    // leaves
    BG_ROW(input("", {2}), "an input needs a name (@)"),
    BG_ROW(parameter(ones({2}), ""), "a parameter needs a name (@)"),
    BG_ROW(state(ones({2}), ""), "a state needs a name (@)"),
    BG_ROW(parameter(full({2}, 1, DType::i32), "n"), "parameter 'n' (@) must be floating, got i32"),
    BG_ROW(w.set_value(narrow), "parameter 'w' (#) holds f32[2, 3], got f32[3]"),
    BG_ROW(x.set_value(good), "input 'x' (#): only parameters and states can be written"),
    BG_ROW(exp(x).value(), "exp (@): only parameters, states and constants have a value outside of a run"),
    BG_ROW(one_hot(i, -3), "one_hot (@): wants at least 0 classes, got -3"),
    // losses
    BG_ROW(mean(Loss{}), "@: a Loss needs a sum and a weight"),
    BG_ROW((mean(Loss{sum(x), x, {}})), "@: the weight of a Loss must be f32[] like its sum, it is f32[2, 3]"),
    BG_ROW(mean(Loss{x, x, {}}), "@: the sum of a Loss must be a floating scalar, it is f32[2, 3]"),
    BG_ROW(mean(Loss{sum(x), sum(x), {Expr()}}), "@: a penalty of a Loss is an empty Expr"),
    BG_ROW(compile({Loss{}}), "@: a Loss needs a sum and a weight"),
    BG_ROW((mse_loss(x, w) + Loss{sum(x), sum(x), {}}), "losses of different weights cannot be added: sum (@) and sum (@); add mean(a) and mean(b)"),
    // gradients
    BG_ROW(grad(x, {x}), "gradient of input 'x' (#) asked for at @: it must be a scalar, it has shape [2, 3]; use mean or sum"),
    BG_ROW(grad(sum(i), {i}), "gradient of sum (@) asked for at @: it must be floating, it is i64[]"),
    BG_ROW(grad(sum(x), {Expr()}), "the gradient by an empty Expr (@)"),
    BG_ROW(grad(Expr(), {x}), "the gradient of an empty Expr (@)"),
    BG_ROW(grad(sum(x), {w, other}), "gradient of sum (@) asked for at @:\n  no gradient reaches parameter 'w' (#): sum (@) does not depend on it\n  no gradient reaches input 'other' (#): sum (@) does not depend on it"),
    BG_ROW(grad(sum(make(NoRule{}, {x})), {x}), "gradient of sum (@) asked for at @:\n  no_rule (@) has no gradient for input 0, input 'x' (#), and does not declare that\n  no gradient reaches input 'x' (#): every path is cut, at no_rule (@)"),
    BG_ROW(grad(sum(make(Throwing{}, {x})), {x}), "gradient of sum (@) asked for at @:\n  gradient of throwing (@): not for this shape\n  no gradient reaches input 'x' (#): every path is cut, at throwing (@)"),
    BG_ROW(grad(sum(stop_gradient(x)), {x}), "gradient of sum (@) asked for at @:\n  no gradient reaches input 'x' (#): every path is cut, at stop_gradient (@)"),
    BG_ROW(grad(sum(astype(x > 0.0, DType::f32)), {x}), "gradient of sum (@) asked for at @:\n  no gradient reaches input 'x' (#): every path is cut, at greater (@)"),
    BG_ROW(vjp(x, sum(x), std::vector{x}), "the adjoint of input 'x' (#) must be f32[2, 3], got f32[]"),
    // updates
    BG_ROW(Updates().set(x, x), "input 'x' (#): only parameters and states can be updated"),
    BG_ROW(Updates().set(w, sum(w)), "parameter 'w' (#) holds f32[2, 3], its new value from sum (@) is f32[]"),
    BG_ROW(Updates().set(w, v, sum(x)), "the guard of parameter 'w' (#) must be a bool scalar"),
    BG_ROW(Updates().set(w, v).set(w, exp(w)), "parameter 'w' (#) gets two new values: from parameter 'v' (#) and from exp (@)"),
    // compiling
    BG_ROW(compile({w + twin}), "two leaves of one program are named 'w': parameter 'w' (#) and parameter 'w' (#)"),
    BG_ROW(compile({make(NoRule{}, {x})}), "no_rule (@): the CPU has no kernel for this op, and it has no expand; cpu_kernels().add gives it one"),
    BG_ROW(compile({x + 1.0}, {}, cpu(), {.skip = {"magic"}}), "skip: no pass is called 'magic'; there are join_products, mixed, simplify, merge_equal, insert_copies, share_panels, fuse_rows, fuse_maps, share_functions, group_reductions, fuse_product_updates, group_updates, fuse_row_updates, fuse_line_sums, fuse_takes, fuse_epilogues, group_small_maps, shorten_lives, widen_products"),
    BG_ROW(compile({x + 1.0}, {}, cpu(), {.skip = {"insert_copies"}}), "skip: the pass 'insert_copies' cannot be left out"),
    BG_ROW(compile({x + 1.0}, {}, cpu(), {.threads = 1000}), "threads must lie in [0, 64], got 1000"),
    BG_ROW(device("tpu"), "there is no device 'tpu'; there are cpu and cuda"),
    // running
    BG_ROW(compile({x + 1.0}).run(), "input 'x' (#) is not fed"),
    BG_ROW(compile({x + 1.0}).run({{input("x", {2, 3}), good}}), "input 'x' (#) is not fed; what is fed is another, input 'x' (@)"),
    BG_ROW(compile({x + 1.0}).run({{x, good}, {x, good}}), "input 'x' (#) is fed twice"),
    BG_ROW(compile({x + 1.0}).run({{x, narrow}}), "input 'x' (#) expects f32[2, 3], got f32[3]"),
    BG_ROW(compile({x + 1.0}).run({{w, good}}), "only inputs can be fed, got parameter 'w' (#)"),
    BG_ROW(compile({x + 1.0}).run({{Expr(), good}}), "only inputs can be fed, got an empty Expr"),
    BG_ROW(compile({x + 1.0}).run_many(-1), "run_many wants a number of steps, got -1"),
    BG_ROW(compile({take(w, i)}).run({{i, tensor({0, 2}, {2})}}), "take (@): index 2 at position 1 is out of range [0, 2); step 0 of this run updated nothing"),
    BG_ROW(compile({log(x)}, {}, cpu(), {.check_numerics = true}).run({{x, zeros({2, 3})}}), "log (@): the first value that is not finite: -inf at [0, 0] of f32[2, 3] in step 0 of this run, which updated nothing; its inputs: input 'x' (#) f32[2, 3] of 0"),
    BG_ROW(compile({x * 2.0}, {}, cpu(), {.check_numerics = true}).run({{x, full({2, 3}, inf)}}), "multiply (@): a value that is not finite: inf at [0, 0] of f32[2, 3] in step 0 of this run, which updated nothing; no node made it: input 'x' (#) holds inf at [0, 0]"),
    // reading
    BG_ROW(compile({x + 1.0}).run({{x, good}}).number(0), "output 0, add (@), has shape [2, 3]; read it with tensor(0)"),
    BG_ROW(compile({x + 1.0}).run({{x, good}}).tensor(1), "there is no output 1; the program has 1, counted from 0"),
    BG_ROW(compile({w + 1.0}).run_many(0).tensor(0), "no step was run, so there is nothing to read"),
    BG_ROW(good.span<double>(), "asked for f64 elements of a tensor of f32"),
};
// clang-format on

std::string at_line(int line) { return "run_errors_test.cpp:" + std::to_string(line); }

}  // namespace

BOOST_AUTO_TEST_SUITE(run_errors)

BOOST_AUTO_TEST_CASE(every_kind_of_mistake_is_told_in_full) {
  for (const Row& row : rows) {
    std::string expected;
    for (const char* c = row.message; *c; ++c) {
      if (*c == '@') expected += at_line(row.line);
      else if (*c == '#') expected += at_line(leaves);
      else expected += *c;
    }
    std::string text = "no error";
    try {
      row.mistake();
    } catch (const Error& error) {
      text = error.what();
    }
    BOOST_TEST(text == expected);
  }
}

BOOST_AUTO_TEST_CASE(storage_in_use_is_named_with_its_line) {
  Program writes = compile({}, Updates().set(w, w + 1.0));
  const auto storage = stored(w);
  BOOST_REQUIRE(storage->lock_shared());
  std::string text;
  try {
    writes.run();
  } catch (const Error& error) {
    text = error.what();
  }
  storage->unlock_shared();
  BOOST_TEST(text == "parameter 'w' (" + at_line(leaves) +
                         ") is in use by another program; one that updates it needs it alone");
}

BOOST_AUTO_TEST_CASE(results_of_an_older_run_are_not_read) {
  Program program = compile({x + 1.0});
  const Results old = program.run({{x, good}});
  program.run({{x, good}});
  std::string text;
  try {
    old.tensor(0);
  } catch (const Error& error) {
    text = error.what();
  }
  BOOST_TEST(text ==
             "these results are of run 1, but run 2 has replaced them; read results before "
             "the next run");
}

BOOST_AUTO_TEST_CASE(a_step_that_does_not_fit_says_what_needs_most) {
  const Expr small = input("small", {});
  const int line = __LINE__ + 1;
  const Expr big = exp(broadcast_to(small, {std::int64_t{1} << 22, std::int64_t{1} << 22}));
  std::string text;
  try {
    compile({sum(matmul(big, big))}, {}, cpu(), {.skip = {"simplify"}});
  } catch (const DeviceError& error) {
    text = error.what();
  }
  BOOST_TEST(text.find("out of memory: ") == 0, text);
  BOOST_TEST(text.find(" bytes are wanted, ") != std::string::npos, text);
  BOOST_TEST(text.find(" are left; the step needs most at ") != std::string::npos, text);
  BOOST_TEST(text.find("\n  70.4 TB  f32[4194304, 4194304]  ") != std::string::npos, text);
  BOOST_TEST(text.find("exp (" + at_line(line) + ")") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
