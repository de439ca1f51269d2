// Programs under a limit of memory: they fit with equal bits, or say what would.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "support/models.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// A training step with everything in it: dropout draws by a counter that the step itself advances.
struct Trained {
  Context context;
  models::Task task;
  Optimizer optimizer{AdamW{.learning_rate = 1e-3}};
  Updates updates;

  explicit Trained(const models::GptSizes& sizes)
      : task(models::gpt(sizes, context)),
        updates(minimize(optimizer, task.loss, {.clip_norm = 1})) {
    updates = updates + context.updates();
  }
  Program program(const CompileOptions& options) const {
    return compile({task.loss}, updates, cpu(), options);
  }
  std::vector<Expr> leaves() const {
    std::vector<Expr> all;
    for (const Update& u : updates.all()) all.push_back(u.leaf);
    return all;
  }
};

// Losses of some steps and all states after them, which are then as before.
struct Outcome {
  std::vector<double> losses;
  std::vector<Tensor> states;
};
Outcome run(const Trained& trained, const CompileOptions& options, int steps) {
  std::vector<Tensor> before;
  for (const Expr& leaf : trained.leaves()) before.push_back(leaf.value());
  Outcome outcome;
  Program program = trained.program(options);
  for (int i = 0; i < steps; ++i)
    outcome.losses.push_back(program.run(trained.task.feeds).number(0));
  for (const Expr& leaf : trained.leaves()) outcome.states.push_back(leaf.value());
  for (std::size_t i = 0; i < before.size(); ++i) trained.leaves()[i].set_value(before[i]);
  return outcome;
}

void check_equal(const Outcome& a, const Outcome& b) {
  BOOST_TEST(a.losses == b.losses, boost::test_tools::per_element());
  for (std::size_t i = 0; i < a.states.size(); ++i)
    BOOST_TEST(same_bits(a.states[i], b.states[i]), "state " << i);
}

constexpr std::string_view marker = "the least that would do is ";

// The limit that the Error of a program names which fits in no memory.
std::int64_t least_of(const std::function<Program(const CompileOptions&)>& program,
                      CompileOptions options = {}) {
  options.memory_limit = 1;
  const std::string text = error_of([&] { program(options); });
  BOOST_TEST_REQUIRE(text.find(marker) != std::string::npos, text);
  return std::stoll(text.substr(text.find(marker) + marker.size()));
}

const models::GptSizes small{
    .layers = 3, .width = 32, .heads = 4, .length = 32, .batch = 6, .dropout = 0.1};

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_limit)

BOOST_AUTO_TEST_CASE(a_transformer_trains_with_equal_bits_in_as_little_memory_as_there_is) {
  const Trained trained(small);
  const auto program_of = [&](const CompileOptions& o) { return trained.program(o); };
  const Outcome free = run(trained, {}, 4);
  const std::int64_t peak = trained.program({}).report().peak_bytes, least = least_of(program_of);
  BOOST_TEST(free.losses[0] != free.losses[3]);
  BOOST_TEST(least < peak * 8 / 10);
  for (const std::int64_t limit : {peak * 95 / 100, (peak + least) / 2, least}) {
    CompileOptions options;
    options.memory_limit = limit;
    const Program program = trained.program(options);
    const Report& report = program.report();
    BOOST_TEST(report.peak_bytes <= limit);
    BOOST_TEST(!report.recomputed.empty());
    std::printf("%lld of %lld bytes: %zu nodes again\n", static_cast<long long>(report.peak_bytes),
                static_cast<long long>(peak), report.recomputed.size());
    check_equal(free, run(trained, options, 4));
    const std::string text = program.explain();
    BOOST_TEST(text.find("  Made again to fit in ") != std::string::npos, text);
  }
}

BOOST_AUTO_TEST_CASE(passes_left_out_change_no_bit_under_a_limit) {
  const Trained trained(small);
  const auto program_of = [&](const CompileOptions& o) { return trained.program(o); };
  const Outcome free = run(trained, {.threads = 1}, 2);
  for (const char* pass : {"simplify", "merge_equal", "fuse_maps", "shorten_lives"}) {
    CompileOptions options;
    options.skip = {pass};
    const std::int64_t peak = trained.program(options).report().peak_bytes;
    options.memory_limit = (peak + least_of(program_of, options)) / 2;
    BOOST_TEST_CONTEXT(pass) { check_equal(free, run(trained, options, 2)); }
  }
}

BOOST_AUTO_TEST_CASE(a_limit_that_is_no_limit_changes_nothing) {
  const Trained trained(small);
  const Program program = trained.program({});
  CompileOptions options;
  options.memory_limit = program.report().peak_bytes;
  const Program same = trained.program(options);
  BOOST_TEST(same.to_text() == program.to_text());
  BOOST_TEST(same.report().recomputed.empty());
  BOOST_TEST(same.explain().find("Made again") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_least_memory_is_named_with_the_line_that_sets_it_and_it_suffices) {
  const Trained trained(small);
  CompileOptions options;
  options.memory_limit = 1000;
  const std::string text = error_of([&] { trained.program(options); });
  BOOST_TEST(text.find("compile at memory_limit_test.cpp:") == 0, text);
  BOOST_TEST(text.find("memory_limit is 1.00 kB, " + std::string(marker)) != std::string::npos,
             text);
  BOOST_TEST(text.find("; the step needs most at ") != std::string::npos, text);
  BOOST_TEST(text.find("models.h:") != std::string::npos, text);
  options.memory_limit = std::stoll(text.substr(text.find(marker) + marker.size()));
  BOOST_TEST(trained.program(options).report().peak_bytes <= options.memory_limit);
  check_equal(run(trained, {}, 2), run(trained, options, 2));
  options.memory_limit /= 2;
  BOOST_TEST(error_of([&] { trained.program(options); }).find(marker) != std::string::npos);
  options.memory_limit = -1;
  BOOST_TEST(error_of([&] {
               trained.program(options);
             }).find("memory_limit must not be negative, got -1") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_runs_again_reads_storage_as_it_was_before_the_update) {
  // The update of w runs in place; tanh(w) is wanted long before and again at the end.
  const Expr w = parameter(normal_tensor({64, 64}, 0, 1, Draw{2}), "w"), x = input("x", {64, 64});
  const Expr early = tanh(w);
  Expr y = matmul(x, early);
  for (int i = 0; i < 4; ++i) y = tanh(matmul(y, x)) + cos(y);
  const Expr late = sum(matmul(y, early));
  const Updates updates = Updates().set(w, w * 0.5 + 0.01 * y);
  const Feeds feeds = {{x, normal_tensor({64, 64}, 0, 0.05, Draw{1})}};
  const auto values = [&](std::int64_t limit) {
    const Tensor before = w.value();
    CompileOptions options;
    options.memory_limit = limit;
    Program program = compile({late}, updates, cpu(), options);
    std::vector<double> all;
    for (int i = 0; i < 3; ++i) all.push_back(program.run(feeds).number(0));
    all.push_back(w.value().at(17));
    w.set_value(before);
    return all;
  };
  const std::int64_t least =
      least_of([&](const CompileOptions& o) { return compile({late}, updates, cpu(), o); });
  BOOST_TEST(least < compile({late}, updates).report().peak_bytes);
  BOOST_TEST(values(0) == values(least), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
