// Programs: runs and rings of feeds, results, the commit of updates, and what is refused.
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/stored.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor number(double value, DType dtype = DType::f64) { return full({}, value, dtype); }
double value_of(const Expr& leaf) { return leaf.value().at(0); }

// A small regression with momentum in f32.
struct Model {
  Expr x = input("x", {4, 3}), t = input("t", {4, 1});
  Expr w = parameter(full({3, 1}, 0.25), "w");
  Loss loss = mse_loss(tanh(matmul(x, w)), t);
  Optimizer optimizer{Sgd{.learning_rate = 0.05, .momentum = 0.9, .weight_decay = 0.01}};
  Program step = compile({loss}, minimize(optimizer, loss));

  Feeds feeds(int i) const {
    std::vector<float> xs, ts;
    for (int k = 0; k < 12; ++k) xs.push_back(std::sin(static_cast<float>(k + 12 * i)));
    for (int k = 0; k < 4; ++k) ts.push_back(std::cos(static_cast<float>(k + 4 * i)));
    return {{x, tensor(std::span<const float>(xs), {4, 3})},
            {t, tensor(std::span<const float>(ts), {4, 1})}};
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(program)

BOOST_AUTO_TEST_CASE(run_many_equals_single_runs_bit_for_bit_with_feeds_in_rotation) {
  Model once, many;
  const Feeds ring[] = {once.feeds(0), once.feeds(1), once.feeds(2)};
  const Feeds other_ring[] = {many.feeds(0), many.feeds(1), many.feeds(2)};
  double last = 0;
  for (int i = 0; i < 100; ++i) last = once.step.run(ring[i % 3]).number(0);
  const Results results = many.step.run_many(100, other_ring);
  BOOST_TEST(results.steps() == 100);
  BOOST_TEST(results.number(0) == last);
  BOOST_TEST(same_bits(once.w.value(), many.w.value()));
  for (std::size_t s = 0; s < once.optimizer.states().size(); ++s) {
    BOOST_TEST(same_bits(once.optimizer.states()[s].value(), many.optimizer.states()[s].value()));
  }
}

BOOST_AUTO_TEST_CASE(run_many_of_no_steps_changes_nothing_and_has_nothing_to_read) {
  Model m;
  const Tensor before = m.w.value();
  const Feeds ring[] = {m.feeds(0)};
  const Results results = m.step.run_many(0, ring);
  BOOST_TEST(results.steps() == 0);
  BOOST_TEST(same_bits(before, m.w.value()));
  BOOST_TEST(contains(error_of([&] { results.number(0); }), "no step was run"));
  BOOST_TEST(contains(error_of([&] { m.step.run_many(-1, ring); }), "got -1"));
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_a_run_between_steps) {
  Model m;
  StopToken stop;
  stop.request_stop();
  const Feeds ring[] = {m.feeds(0)};
  const Tensor before = m.w.value();
  BOOST_TEST(m.step.run_many(1000, ring, &stop).steps() == 0);
  BOOST_TEST(same_bits(before, m.w.value()));
  stop.reset();
  BOOST_TEST(m.step.run_many(10, ring, &stop).steps() == 10);
}

BOOST_AUTO_TEST_CASE(a_stop_token_ends_a_run_of_tiny_steps) {
  const Expr count = state(zeros({}, DType::i64), "count");
  Updates updates;
  updates.set(count, count + constant(full({}, 1, DType::i64)));
  Program program = compile({}, updates);
  StopToken stop;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    stop.request_stop();
  });
  const std::int64_t steps = program.run_many(std::int64_t{1} << 50, {}, &stop).steps();
  other.join();
  BOOST_TEST(value_of(count) == static_cast<double>(steps));
  for (const std::int64_t n : {1, 63, 64, 65, 200}) {
    stop.reset();
    const double before = value_of(count);
    BOOST_TEST(program.run_many(n, {}, &stop).steps() == n);
    BOOST_TEST(value_of(count) == before + static_cast<double>(n));
  }
}

BOOST_AUTO_TEST_CASE(results_are_refused_after_a_later_run_and_copies_keep_their_bits) {
  const Expr x = input("x", {2}, DType::f64);
  Program program = compile({x * 2.0, sum(x)});
  const Results first = program.run({{x, tensor({1.0, 2.0}, {2})}});
  const Tensor kept = first.tensor(0);
  const Results second = program.run({{x, tensor({5.0, 6.0}, {2})}});
  BOOST_TEST(kept.at(1) == 4);
  BOOST_TEST(second.number(1) == 11);
  BOOST_TEST(contains(error_of([&] { first.tensor(0); }),
                      "these results are of run 1, but run 2 has replaced them"));
  BOOST_TEST(contains(error_of([&] { first.number(1); }), "these results are of run 1"));
  BOOST_TEST(
      contains(error_of([&] { second.number(0); }), "has shape [2]; read it with tensor(0)"));
  BOOST_TEST(contains(error_of([&] { second.tensor(2); }),
                      "there is no output 2; the program has 2, counted from 0"));
  BOOST_TEST(contains(error_of([&] { second.tensor(-1); }), "output -1"));
}

BOOST_AUTO_TEST_CASE(a_program_may_go_before_its_results) {
  const Expr x = input("x", {}, DType::f64);
  const Results results = compile({x + 1.0}).run({{x, number(2)}});
  BOOST_TEST(results.number(0) == 3);
}

BOOST_AUTO_TEST_CASE(wrong_feeds_are_refused_before_anything_runs) {
  Model m;
  const Tensor before = m.w.value();
  const Feeds good = m.feeds(0);
  const Expr stranger = input("stranger", {1});
  const auto text = [&](const Feeds& feeds) { return error_of([&] { m.step.run(feeds); }); };
  BOOST_TEST(contains(text({good[0]}), "input 't' (program_test.cpp:"));
  BOOST_TEST(contains(text({good[0]}), "is not fed"));
  BOOST_TEST(contains(text({good[0], good[1], good[0]}), "is fed twice"));
  BOOST_TEST(contains(text({good[0], {m.t, zeros({1, 4})}}), "expects f32[4, 1], got f32[1, 4]"));
  BOOST_TEST(contains(text({good[0], {m.t, zeros({4, 1}, DType::f64)}}),
                      "expects f32[4, 1], got f64[4, 1]"));
  BOOST_TEST(
      contains(text({good[0], {m.w, zeros({3, 1})}}), "only inputs can be fed, got parameter 'w'"));
  BOOST_TEST(contains(text({good[0], {Expr(), zeros({3, 1})}}), "an empty Expr"));
  BOOST_TEST(contains(error_of([&] { m.step.run_many(3, {good, {good[0]}}); }), "is not fed"));
  BOOST_TEST(same_bits(before, m.w.value()));
  m.step.run(
      {good[0], good[1], {stranger, zeros({1})}});  // what the program does not read is no matter
  BOOST_TEST(!same_bits(before, m.w.value()));
}

BOOST_AUTO_TEST_CASE(values_without_elements_are_fed_in_every_form) {
  const Expr x = input("x", {0, 3});
  Program program = compile({sum(x), x + 1.0});
  BOOST_TEST(program.run({{x, zeros({0, 3})}}).number(0) == 0);
  const std::vector<float> none;
  BOOST_TEST(program.run({{x, borrow(std::span<const float>(none), {0, 3})}}).number(0) == 0);
  BOOST_TEST(program.run({{x, zeros({5, 3}).rows(2, 2)}}).tensor(1).size() == 0);
}

BOOST_AUTO_TEST_CASE(fed_memory_is_read_where_it_lies_and_never_written) {
  const Expr x = input("x", {5}, DType::f32);
  Program program = compile({exp(x) * x, x});
  alignas(64) float memory[8] = {9, 1, 2, 3, 4, 5, 9, 9};
  const Tensor view =
      borrow(std::span<const float>(memory + 1, 5), {5});  // not aligned to 64 bytes
  BOOST_TEST(program.run({{x, view}}).tensor(1).at(4) == 5);
  memory[5] = 7;
  BOOST_TEST(program.run({{x, view}}).tensor(1).at(4) == 7);
  BOOST_TEST(memory[0] == 9);
  BOOST_TEST(memory[1] == 1);
  BOOST_TEST(memory[6] == 9);
}

BOOST_AUTO_TEST_CASE(outputs_may_be_leaves_views_constants_and_repeated) {
  const Expr x = input("x", {2, 3}, DType::f64), p = parameter(ones({2}, DType::f64), "p");
  const Tensor data = tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3});
  const Expr t = transpose(x);
  Program program = compile({x, p, t, t, constant(data), broadcast_to(constant(number(4)), {2, 2})},
                            Updates().set(p, p * 2.0));
  const Results r = program.run({{x, data}});
  BOOST_TEST(same_bits(r.tensor(0), data));
  BOOST_TEST(r.tensor(1).at(0) == 1);  // the value from before the run
  BOOST_TEST(r.tensor(2).at(1) == 4);
  BOOST_TEST(same_bits(r.tensor(2), r.tensor(3)));
  BOOST_TEST(same_bits(r.tensor(4), data));
  BOOST_TEST(r.tensor(5).at(3) == 4);
  BOOST_TEST(value_of(p) == 2);
}

BOOST_AUTO_TEST_CASE(two_programs_share_one_storage) {
  const Expr x = input("x", {}, DType::f64), w = parameter(number(3), "w");
  Program predict = compile({w * x});
  Program train = compile({}, Updates().set(w, w + x));
  BOOST_TEST(predict.run({{x, number(2)}}).number(0) == 6);
  train.run({{x, number(2)}});
  BOOST_TEST(predict.run({{x, number(2)}}).number(0) == 10);
  w.set_value(number(1));
  BOOST_TEST(predict.run({{x, number(2)}}).number(0) == 2);
  const std::uint64_t version = stored(w)->version();
  predict.run({{x, number(2)}});
  BOOST_TEST(stored(w)->version() == version);
  train.run({{x, number(2)}});
  BOOST_TEST(stored(w)->version() > version);
}

BOOST_AUTO_TEST_CASE(storage_in_use_is_refused_without_waiting) {
  const Expr w = parameter(number(3), "w");
  Program reads = compile({w * 2.0}), writes = compile({}, Updates().set(w, w + 1.0));
  BOOST_TEST_REQUIRE(stored(w)->lock_shared());
  BOOST_TEST(reads.run().number(0) == 6);
  BOOST_TEST(contains(error_of([&] { writes.run(); }), ") is in use by another program"));
  BOOST_TEST(
      contains(error_of([&] { w.set_value(number(1)); }), "'w' is in use by a running program"));
  stored(w)->unlock_shared();
  BOOST_TEST_REQUIRE(stored(w)->lock_exclusive());
  BOOST_TEST(contains(error_of([&] { reads.run(); }), "parameter 'w' (program_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { w.value(); }), "'w' is being updated"));
  stored(w)->unlock_exclusive();
  writes.run();
  BOOST_TEST(value_of(w) == 4);
}

BOOST_AUTO_TEST_CASE(every_node_reads_values_from_before_the_run) {
  const Expr a = state(number(1), "a"), b = state(number(2), "b"), c = state(number(3), "c");
  // A swap, and a value that reads what others change.
  Program program =
      compile({a + b * 10.0 + c * 100.0}, Updates().set(a, b).set(b, a).set(c, a + b + c));
  BOOST_TEST(program.run().number(0) == 321);
  BOOST_TEST(value_of(a) == 2);
  BOOST_TEST(value_of(b) == 1);
  BOOST_TEST(value_of(c) == 6);
  BOOST_TEST(program.run_many(3, std::span<const Feeds>()).number(0) == 1200 + 12);
  BOOST_TEST(value_of(a) == 1);
}

BOOST_AUTO_TEST_CASE(updates_in_place_and_by_copy_agree) {
  for (const bool is_plain : {false, true}) {
    const Expr x = input("x", {6}, DType::f64);
    const Expr w = parameter(arange(0, 6, 1, DType::f64), "w"),
               v = state(ones({6}, DType::f64), "v");
    const Expr m = state(zeros({2, 3}, DType::f64), "m");
    const Expr g = x * w;
    const Expr next = v * 0.9 + g;
    Updates updates;
    updates.set(v, next).set(w, w - next * 0.1);
    updates.set(m, transpose(reshape(w, Shape{3, 2})));  // reads the storage of w through a view
    CompileOptions options;
    options.reuse_memory = !is_plain;
    if (is_plain) options.skip = {"simplify", "merge_equal", "fuse_rows", "fuse_maps"};
    Program program = compile({sum(next)}, updates, cpu(), options);
    std::vector<double> ww = {0, 1, 2, 3, 4, 5}, vv(6, 1.0), mm(6, 0.0);
    for (int step = 0; step < 4; ++step) {
      program.run({{x, full({6}, 0.5, DType::f64)}});
      for (std::size_t i = 0; i < 6; ++i) mm[i % 2 * 3 + i / 2] = ww[i];
      for (std::size_t i = 0; i < 6; ++i) {
        vv[i] = vv[i] * 0.9 + 0.5 * ww[i];
        ww[i] = ww[i] - vv[i] * 0.1;
      }
    }
    BOOST_TEST(w.value().span<double>() == std::span<const double>(ww),
               boost::test_tools::per_element());
    BOOST_TEST(v.value().span<double>() == std::span<const double>(vv),
               boost::test_tools::per_element());
    BOOST_TEST(m.value().span<double>() == std::span<const double>(mm),
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_matrix_and_its_transpose_may_update_each_other) {
  const Expr a = state(tensor({1.0, 2.0, 3.0, 4.0}, {2, 2}), "a"),
             b = state(tensor({5.0, 6.0, 7.0, 8.0}, {2, 2}), "b");
  Program program = compile({}, Updates().set(a, transpose(b) + a).set(b, transpose(a)));
  program.run();
  const double expected_a[] = {6, 9, 9, 12}, expected_b[] = {1, 3, 2, 4};
  BOOST_TEST(a.value().span<double>() == std::span(expected_a), boost::test_tools::per_element());
  BOOST_TEST(b.value().span<double>() == std::span(expected_b), boost::test_tools::per_element());
  Program turn = compile({}, Updates().set(a, transpose(a)));
  turn.run();
  const double turned[] = {6, 9, 9, 12};
  BOOST_TEST(a.value().span<double>() == std::span(turned), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_false_guard_keeps_the_old_value) {
  const Expr x = input("x", {}, DType::f64), a = state(number(1), "a"), b = state(number(1), "b"),
             n = state(number(0), "n");
  const Expr guard = x > 0.0;
  Program program = compile(
      {a}, Updates().set(a, a + x, guard).set(b, b + x).set(n, n + 1.0, logical_not(guard)));
  program.run({{x, number(2)}});
  program.run({{x, number(-5)}});
  BOOST_TEST(value_of(a) == 3);
  BOOST_TEST(value_of(b) == -2);
  BOOST_TEST(value_of(n) == 1);
}

BOOST_AUTO_TEST_CASE(an_index_error_in_a_step_leaves_everything_as_before_that_step) {
  const Expr rows = input("rows", {3}, DType::i32), table = constant(arange(0, 4, 1, DType::f64));
  const Expr w = parameter(number(0), "w"), steps = state(number(0), "steps"),
             copy = state(zeros({3}, DType::f64), "copy");
  const Expr picked = take(table, rows);
  Program program =
      compile({w}, Updates().set(w, w + sum(picked)).set(steps, steps + 1.0).set(copy, picked));
  const Feeds good = {{rows, tensor({0, 1, 2}, {3})}}, bad = {{rows, tensor({0, 7, 2}, {3})}};
  const std::string text = error_of([&] { program.run_many(6, {good, good, bad}); });
  BOOST_TEST(contains(text, "index 7 at position 1 is out of range"), text);
  BOOST_TEST(contains(text, "step 2 of this run updated nothing"), text);
  BOOST_TEST(value_of(w) == 6);
  BOOST_TEST(value_of(steps) == 2);
  BOOST_TEST(copy.value().at(2) == 2);
  program.run(good);
  BOOST_TEST(value_of(steps) == 3);
}

BOOST_AUTO_TEST_CASE(a_step_that_is_not_finite_updates_nothing_in_run_many_too) {
  const Expr x = input("x", {}, DType::f64), w = parameter(number(1), "w");
  Optimizer optimizer(Sgd{.learning_rate = 0.1, .momentum = 0.5});
  const Loss loss = mse_loss(w * x, constant(number(0)));
  Program program = compile({loss}, minimize(optimizer, loss));
  const double inf = std::numeric_limits<double>::infinity();
  program.run({{x, number(1)}});
  const double before = value_of(w), velocity = value_of(optimizer.states().back());
  for (const double bad : {inf, -inf, std::nan(""), 1e200}) {
    program.run_many(3, {{{x, number(bad)}}});
    BOOST_TEST(value_of(w) == before);
    BOOST_TEST(value_of(optimizer.states().back()) == velocity);
  }
  program.run({{x, number(1)}});
  BOOST_TEST(value_of(w) != before);
  const Updates unguarded = minimize(optimizer, loss, {.guard_finite = false});
  compile({}, unguarded).run({{x, number(inf)}});
  BOOST_TEST(!std::isfinite(value_of(w)));
}

BOOST_AUTO_TEST_CASE(the_numeric_check_names_the_first_node_that_goes_wrong) {
  const Expr x = input("x", {3}, DType::f64), w = parameter(ones({3}, DType::f64), "w");
  CompileOptions options;
  options.check_numerics = true;
  Program program = compile({sum(exp(log(x) * w))}, Updates().set(w, w + x), cpu(), options);
  program.run({{x, tensor({1.0, 2.0, 3.0}, {3})}});
  const std::string text = error_of([&] { program.run({{x, tensor({1.0, -2.0, 3.0}, {3})}}); });
  BOOST_TEST(contains(text, "log (program_test.cpp:"), text);
  BOOST_TEST(contains(text, "the first value that is not finite: "), text);
  BOOST_TEST(contains(text, "at [1] of f64[3]"), text);
  BOOST_TEST(w.value().at(0) == 2);
}

BOOST_AUTO_TEST_CASE(leaves_of_one_program_have_names_of_their_own) {
  const Expr a = parameter(number(1), "w"), b = parameter(number(2), "w"),
             x = input("x", {}, DType::f64), z = input("x", {}, DType::f64);
  BOOST_TEST(contains(error_of([&] { compile({a + b}); }),
                      "two leaves of one program are named 'w': parameter 'w' (program_test.cpp:"));
  BOOST_TEST(
      contains(error_of([&] { compile({x + z}); }), "two leaves of one program are named 'x'"));
  const Expr input_and_parameter = input("w", {}, DType::f64);
  BOOST_TEST(compile({a + input_and_parameter}).run({{input_and_parameter, number(4)}}).number(0) ==
             5);
}

BOOST_AUTO_TEST_CASE(unknown_devices_passes_and_instruction_sets_are_named) {
  const Expr x = input("x", {}, DType::f64);
  BOOST_CHECK_EXCEPTION(device("tpu"), DeviceError, [](const DeviceError& e) {
    return contains(e.what(), "there is no device 'tpu'; there are cpu and cuda");
  });
  BOOST_TEST(
      contains(error_of([&] { compile({x}, {}, cpu(), {.skip = {"magic"}}); }),
               "no pass is called 'magic'; there are join_products, mixed, simplify, merge_equal, "
               "insert_copies, share_panels, fuse_rows, fuse_maps, share_functions, "
               "group_reductions, fuse_product_updates, group_updates"));
  BOOST_TEST(contains(error_of([&] { compile({x}, {}, cpu(), {.skip = {"insert_copies"}}); }),
                      "cannot be left out"));
  BOOST_TEST(contains(error_of([&] { compile({x}, {}, cpu(), {.isa = "mmx"}); }),
                      "unknown instruction set 'mmx'"));
  BOOST_TEST(contains(error_of([&] { compile({x, Expr()}); }), "output 1 is empty"));
}

BOOST_AUTO_TEST_CASE(texts_of_a_program_name_ops_lines_and_leaves) {
  Model m;
  BOOST_TEST(contains(m.step.explain(), "matmul"));
  BOOST_TEST(contains(m.step.explain(), "program_test.cpp:"));
  BOOST_TEST(contains(m.step.to_text(), "w"));
  BOOST_TEST(contains(m.step.to_dot(), "digraph"));
  const Output outputs[] = {m.loss};
  BOOST_TEST(contains(to_dot(outputs), "matmul"));
  Model again;
  BOOST_TEST(m.step.to_text() == again.step.to_text());
}

BOOST_AUTO_TEST_CASE(a_program_without_outputs_updates_or_inputs_runs) {
  Program nothing = compile(std::span<const Output>(), {}, cpu());
  BOOST_TEST(nothing.run().steps() == 1);
  Program constant_only = compile({constant(number(2)) * 3.0});
  BOOST_TEST(constant_only.run().number(0) == 6);
}

BOOST_AUTO_TEST_SUITE_END()
