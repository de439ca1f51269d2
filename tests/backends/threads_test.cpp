// Threads: equal bits for every number of them and every instruction set, two programs at once, and
// forks.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "backends/cpu/thread_pool.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor waves(const Shape& shape, DType dtype, double phase) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.37 * static_cast<double>(i) + phase) * 3);
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

// Large enough that maps, reductions in each form and products are split over threads.
struct Wide {
  Expr a, b, w;
  std::vector<Output> outputs;
  Updates updates;
  Feeds feeds;

  explicit Wide(DType dtype) {
    a = input("a", {300, 257}, dtype);
    b = input("b", {257, 130}, dtype);
    w = parameter(waves({130, 20}, dtype, 2), "w");
    const Expr hidden = tanh(matmul(a, b) * 0.01);
    const Expr scores = matmul(hidden, w);
    const Expr loss = mean(cross_entropy(scores, constant(zeros({300}, DType::i32))));
    const std::vector<Expr> g = grad(loss, {a, b, w});
    outputs = {loss,
               g[0],
               g[1],
               sum(exp(a), 0),
               sum(a, 1),
               max(a, 0),
               argmax(transpose(a), 0),
               sum(transpose(a) * 2.0),
               softmax(a, 0),
               sum(slice(a, 1, 0, 257, 2), 0)};
    updates.set(w, w - g[2] * 0.5);
    feeds = {{a, waves({300, 257}, dtype, 0)}, {b, waves({257, 130}, dtype, 1)}};
  }

  std::vector<Tensor> run(const CompileOptions& options) {
    w.set_value(waves({130, 20}, w.dtype(), 2));
    Program program = compile(outputs, updates, cpu(), options);
    program.run(feeds);
    const Results results = program.run(feeds);
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      all.push_back(results.tensor(static_cast<int>(i)));
    all.push_back(w.value());
    return all;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(threads)

BOOST_AUTO_TEST_CASE(threads_instruction_sets_passes_and_reruns_give_equal_bits) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    Wide wide(dtype);
    const std::vector<Tensor> expected = wide.run({.threads = 1});
    const auto check = [&](const std::string& what, const CompileOptions& options) {
      const std::vector<Tensor> got = wide.run(options);
      for (std::size_t i = 0; i < got.size(); ++i) {
        BOOST_TEST(same_bits(got[i], expected[i]),
                   what << ", " << name(dtype) << ": output " << i << " differs");
      }
    };
    for (const int threads : {1, 2, 3, 7})
      check(std::to_string(threads) + " threads", {.threads = threads});
    for (const int threads : {1, 3})
      check("portable on " + std::to_string(threads), {.threads = threads, .isa = "portable"});
    check("without passes",
          {.skip = {"simplify", "merge_equal", "fuse_rows", "fuse_maps"}, .threads = 2});
    check("without reuse of memory", {.threads = 2, .reuse_memory = false});
  }
}

BOOST_AUTO_TEST_CASE(steps_that_are_timed_both_ways_give_equal_bits) {
  const auto trained = [](int threads) {
    const Expr x = input("x", {64, 96}), w = parameter(waves({96, 80}, DType::f32, 1), "w");
    const Expr loss = mean(square(tanh(matmul(x, w))));
    Updates updates;
    updates.set(w, w - grad(loss, {w})[0] * 0.01);
    Program program = compile({loss}, updates, cpu(), {.threads = threads});
    const Feeds ring[] = {{{x, waves({64, 96}, DType::f32, 0)}}};
    const std::uint64_t before = ThreadPool::shared().runs();
    program.run_many(500, ring);
    return std::pair(w.value(), ThreadPool::shared().runs() - before);
  };
  const auto [alone, never] = trained(1);
  const auto [tried, shared] = trained(2);
  BOOST_TEST(never == 0);
  BOOST_TEST(shared > 0);
  BOOST_TEST(same_bits(tried, alone));
}

BOOST_AUTO_TEST_CASE(another_kind_of_sharing_is_refused) {
  const Expr x = input("x", {2});
  ::setenv("BLOCKGRAD_SHARING", "never", 1);
  const std::string refused = error_of([&] { compile({x * 2.0}); });
  ::unsetenv("BLOCKGRAD_SHARING");
  BOOST_TEST(refused == "BLOCKGRAD_SHARING must be 'always' or empty, got 'never'");
}

BOOST_AUTO_TEST_CASE(parts_are_put_together_by_any_number_of_threads) {
  struct Sizes {
    Shape shape;
    int axis;
  };
  for (const auto& [shape, axis] :
       {Sizes{{12, 64, 128}, 2}, Sizes{{12, 64, 128}, 0}, Sizes{{3, 200, 150}, 1},
        Sizes{{90000}, 0}, Sizes{{9, 11, 1000}, 1}}) {
    std::vector<Expr> parts;
    Feeds feeds;
    for (int p = 0; p < 3; ++p) {
      parts.push_back(input(std::string(1, static_cast<char>('a' + p)), shape));
      feeds.push_back({parts.back(), waves(shape, DType::f32, p)});
    }
    const auto joined = [&](int threads) {
      Program program = compile({concat(parts, axis)}, {}, cpu(), {.threads = threads});
      return program.run(feeds).tensor(0);
    };
    const Tensor expected = joined(1);
    for (const int threads : {2, 3, 7})
      BOOST_TEST(same_bits(joined(threads), expected),
                 join({shape}) << " along " << axis << ", " << threads << " threads");
  }
}

BOOST_AUTO_TEST_CASE(two_programs_run_in_two_threads_over_one_parameter_that_both_read) {
  const Expr x = input("x", {200, 200}), w = parameter(waves({200, 200}, DType::f32, 1), "w");
  const Tensor value = waves({200, 200}, DType::f32, 0);
  const Tensor expected = evaluate(tanh(matmul(x, w)), {{x, value}});
  std::atomic<int> wrong{0};
  const auto work = [&] {
    Program program = compile({tanh(matmul(x, w))}, {}, cpu(), {.threads = 2});
    for (int i = 0; i < 30; ++i) wrong += !same_bits(program.run({{x, value}}).tensor(0), expected);
  };
  std::thread other(work);
  work();
  other.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(four_threads_train_programs_of_their_own) {
  const auto trained = [](int threads) {
    const Expr x = input("x", {64, 96}), w = parameter(waves({96, 80}, DType::f32, 1), "w");
    const Expr loss = mean(square(tanh(matmul(x, w))));
    Updates updates;
    updates.set(w, w - grad(loss, {w})[0] * 0.5);
    Program program = compile({loss}, updates, cpu(), {.threads = threads});
    const Feeds ring[] = {{{x, waves({64, 96}, DType::f32, 0)}}};
    program.run_many(20, ring);
    return w.value();
  };
  const Tensor expected = trained(1);
  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int user = 0; user < 4; ++user)
    users.emplace_back([&] { wrong += !same_bits(trained(3), expected); });
  for (std::thread& user : users) user.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(graphs_are_built_differentiated_and_dropped_in_several_threads) {
  const Expr shared = parameter(ones({4}, DType::f64), "shared");
  std::atomic<int> wrong{0};
  const auto work = [&] {
    for (int i = 0; i < 50; ++i) {
      Expr y = shared;
      for (int k = 0; k < 40; ++k) y = y * 1.5 + shared;
      const Expr g = grad(sum(y), {shared})[0];
      wrong += evaluate(g).at(0) < 1;
    }
  };
  std::thread one(work), two(work);
  work();
  one.join();
  two.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_CASE(one_program_in_two_threads_is_refused_or_runs_alone) {
  const Expr x = input("x", {300, 300});
  Program program = compile({matmul(x, x)}, {}, cpu(), {.threads = 1});
  const Tensor value = waves({300, 300}, DType::f32, 0);
  std::atomic<int> done{0}, refused{0}, other_errors{0};
  const auto work = [&] {
    for (int i = 0; i < 20; ++i) {
      try {
        program.run({{x, value}});
        ++done;
      } catch (const Error& error) {
        const bool expected = std::string_view(error.what()).find("running in another thread") !=
                              std::string_view::npos;
        ++(expected ? refused : other_errors);
      }
    }
  };
  std::thread other(work);
  work();
  other.join();
  BOOST_TEST(done + refused == 40);
  BOOST_TEST(done > 0);
  BOOST_TEST(other_errors == 0);
}

#if !defined(__SANITIZE_THREAD__)
BOOST_AUTO_TEST_CASE(a_forked_child_computes_the_same) {
  const Expr x = input("x", {400, 300});
  const Tensor value = waves({400, 300}, DType::f32, 0);
  Program program =
      compile({sum(exp(x) * 2.0), matmul(x, transpose(x))}, {}, cpu(), {.threads = 3});
  const Tensor expected = program.run({{x, value}}).tensor(1);  // the pool's workers are up
  const pid_t child = fork();
  BOOST_TEST_REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);  // a child that waits for threads it does not have ends here
    const bool same = same_bits(program.run({{x, value}}).tensor(1), expected);
    Program fresh = compile({matmul(x, transpose(x))}, {}, cpu(), {.threads = 2});
    const bool fresh_same = same_bits(fresh.run({{x, value}}).tensor(0), expected);
    const bool has_workers = ThreadPool::shared().workers() > 0;  // of its own
    _exit(same && fresh_same && has_workers ? 0 : 1);
  }
  int status = 0;
  BOOST_TEST(waitpid(child, &status, 0) == child);
  BOOST_TEST(WIFEXITED(status));
  BOOST_TEST(WEXITSTATUS(status) == 0);
  BOOST_TEST(same_bits(program.run({{x, value}}).tensor(1), expected));
}
#endif

BOOST_AUTO_TEST_SUITE_END()
