// Small steps joined to one list of calls: the bits of the kernels one by one, also where storage,
// guards, feeds and large steps lie between them.
#include <boost/test/unit_test.hpp>
#include <functional>
#include <memory>
#include <random>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor random_tensor(std::mt19937& random, const Shape& shape, DType dtype) {
  std::normal_distribution<double> normal;
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& v : values) v = normal(random);
  if (!values.empty() && random() % 4 == 0) values[0] = -0.0;
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

// A program and the leaves whose values it changes; built anew for every way to run it.
struct Case {
  std::vector<Output> outputs;
  Updates updates;
  std::vector<Feeds> feeds;
};

// Outputs after some steps, then the leaves that were updated.
std::vector<Tensor> values_of(const std::function<Case()>& make, const CompileOptions& options) {
  Case made = make();
  Program program = compile(made.outputs, made.updates, cpu(), options);
  std::vector<Tensor> values;
  const auto note = [&](const Results& results) {
    for (std::size_t i = 0; i < made.outputs.size(); ++i)
      values.push_back(results.tensor(static_cast<int>(i)));
  };
  const Feeds none;
  const Feeds& first = made.feeds.empty() ? none : made.feeds[0];
  note(program.run(first));
  note(program.run_many(7, made.feeds));
  for (const Update& u : made.updates.all()) {  // the host writes in between
    if (is_floating(u.leaf.dtype())) u.leaf.set_value(u.leaf.value().astype(u.leaf.dtype()));
    values.push_back(u.leaf.value());
  }
  note(program.run_many(5, made.feeds));
  for (const Update& u : made.updates.all()) values.push_back(u.leaf.value());
  return values;
}

void check(const std::string& what, const std::function<Case()>& make) {
  const std::vector<Tensor> expected = values_of(make, {.threads = 1, .reuse_memory = false});
  const auto compare = [&](const std::string& how, const CompileOptions& options) {
    const std::vector<Tensor> got = values_of(make, options);
    BOOST_TEST_REQUIRE(got.size() == expected.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      BOOST_TEST(same_bits(got[i], expected[i]), what << ", " << how << ": value " << i << " is "
                                                      << to_string(got[i]) << ", not "
                                                      << to_string(expected[i]));
  };
  compare("joined", {.threads = 1});
  compare("without passes",
          {.skip = {"simplify", "merge_equal", "fuse_maps", "group_updates"}, .threads = 1});
  for (const Isa isa : {Isa::avx2, Isa::portable}) {
    if (is_supported(isa))
      compare(std::string(isa_name(isa)), {.threads = 1, .isa = std::string(isa_name(isa))});
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(small_program)

BOOST_AUTO_TEST_CASE(a_regression_with_each_recipe) {
  using Made = std::shared_ptr<Optimizer>;
  const std::function<Made()> recipes[] = {
      [] { return std::make_shared<Optimizer>(Sgd{.learning_rate = 0.1}); },
      [] {
        return std::make_shared<Optimizer>(
            Sgd{.learning_rate = 0.1, .momentum = 0.9, .weight_decay = 0.01});
      },
      [] { return std::make_shared<Optimizer>(AdamW{.learning_rate = 0.1}); }};
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::function<Made()>& recipe : recipes) {
      std::vector<Made> optimizers;
      check(std::string(name(dtype)), [&] {
        std::mt19937 random(3);
        const Expr x = input("x", {5, 2}, dtype), t = input("t", {5, 1}, dtype);
        const Expr w = parameter(zeros({2, 1}, dtype), "w"), b = parameter(zeros({1}, dtype), "b");
        const Loss loss = mse_loss(matmul(x, w) + b, t);
        optimizers.push_back(recipe());
        Case made{{loss, matmul(x, w)}, minimize(*optimizers.back(), loss), {}};
        for (int i = 0; i < 3; ++i)
          made.feeds.push_back({{x, random_tensor(random, {5, 2}, dtype)},
                                {t, random_tensor(random, {5, 1}, dtype)}});
        return made;
      });
    }
  }
}

BOOST_AUTO_TEST_CASE(products_of_every_small_size_and_order) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t m : {1, 2, 3, 4, 16}) {
      for (const std::int64_t n : {1, 2, 5, 8}) {
        for (const std::int64_t k : {1, 2, 7, 8, 16}) {
          check(join({"m ", m, " n ", n, " k ", k}), [&] {
            std::mt19937 random(static_cast<unsigned>(m * 1000 + n * 100 + k));
            const Expr a = input("a", {m, k}, dtype), b = input("b", {n, k}, dtype);
            const Expr s = state(zeros({m, n}, dtype), "s");
            const Expr product = matmul(a, transpose(b));
            Updates updates;
            updates.set(s, s * 0.5 + product);
            return Case{{product, matmul(transpose(a) * 2.0, matmul(a, transpose(b)))},
                        updates,
                        {{{a, random_tensor(random, {m, k}, dtype)},
                          {b, random_tensor(random, {n, k}, dtype)}}}};
          });
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(reductions_of_every_kind_along_every_axis) {
  for (const DType dtype : {DType::f32, DType::f64, DType::i32, DType::boolean}) {
    check(std::string(name(dtype)), [&] {
      std::mt19937 random(5);
      const Expr x = input("x", {2, 4}, dtype);
      std::vector<Output> outputs;
      for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::max, ReduceKind::min,
                                    ReduceKind::argmax, ReduceKind::argmin}) {
        const bool picks = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
        if (picks && dtype == DType::boolean) continue;
        for (const std::vector<int>& axes : {std::vector<int>{}, {0}, {1}}) {
          outputs.push_back(reduce(x, kind, axes, false));
          outputs.push_back(reduce(transpose(x), kind, axes, true));
        }
      }
      outputs.push_back(sum(slice(x, 1, 0, 4, 2)));
      return Case{outputs, {}, {{{x, random_tensor(random, {2, 4}, dtype)}}}};
    });
  }
}

BOOST_AUTO_TEST_CASE(storage_that_is_exchanged_shared_or_read_again) {
  check("exchanged", [] {
    std::mt19937 random(7);
    const Expr a = state(random_tensor(random, {3}, DType::f32), "a");
    const Expr b = state(random_tensor(random, {3}, DType::f32), "b");
    const Expr c = state(random_tensor(random, {3, 3}, DType::f32), "c");
    Updates updates;
    updates.set(a, b);
    updates.set(b, a);
    updates.set(c, transpose(c) * 2.0 + a);
    return Case{{a + b, sum(c)}, updates, {}};
  });
  check("two results of one formula", [] {
    std::mt19937 random(8);
    const Expr m = state(zeros({4}), "m"),
               w = parameter(random_tensor(random, {4}, DType::f32), "w");
    const Expr x = input("x", {4});
    const Expr velocity = m * 0.9 + w * x;
    Updates updates;
    updates.set(m, velocity);
    updates.set(w, w - velocity * 0.1 * m);
    return Case{{velocity}, updates, {{{x, random_tensor(random, {4}, DType::f32)}}}};
  });
}

BOOST_AUTO_TEST_CASE(guards_hold_back_what_they_guard_alone) {
  check("guards", [] {
    const Expr step = state(zeros({}, DType::i64), "step");
    const Expr odd = equal(remainder(step, constant(full({}, 2, DType::i64))),
                           constant(full({}, 1, DType::i64)));
    const Expr a = state(zeros({2}), "a"), b = state(zeros({2}), "b"), c = state(zeros({3}), "c");
    const Expr x = input("x", {});
    Updates updates;
    updates.set(step, step + constant(full({}, 1, DType::i64)));
    updates.set(a, a + broadcast_to(x, {2}), odd);
    updates.set(b, b + broadcast_to(x, {2}) * 2.0, logical_not(odd));
    updates.set(c, broadcast_to(astype(step, DType::f32) * x, {3}), odd);
    return Case{{a + b, odd}, updates, {{{x, full({}, 0.5)}}, {{x, full({}, 0.25)}}}};
  });
}

BOOST_AUTO_TEST_CASE(large_steps_between_small_ones_read_and_feed_them) {
  check("between", [] {
    std::mt19937 random(11);
    const Expr x = input("x", {40, 30}),
               w = parameter(random_tensor(random, {30, 3}, DType::f32), "w");
    const Expr scale = parameter(full({}, 1), "scale"), b = parameter(zeros({3}), "b");
    const Expr y = matmul(x * broadcast_to(exp(scale * 0.1), {40, 30}), w) + b;
    const Expr loss = mean(square(tanh(y)));
    const std::vector<Expr> g = grad(loss, {w, scale, b});
    const Expr ok = isfinite(loss);
    Updates updates;
    updates.set(w, w - g[0] * (scale * 0.1), ok);
    updates.set(scale, scale - g[1] * 0.1, ok);
    updates.set(b, b - g[2] * 0.1, ok);
    return Case{
        {loss, g[1], sum(y, 0)}, updates, {{{x, random_tensor(random, {40, 30}, DType::f32)}}}};
  });
}

// The formula takes over the memory of what it reads in another shape, and which goes on as it is.
BOOST_AUTO_TEST_CASE(what_another_result_overwrites_is_read_before) {
  check("a value in another shape beside a formula of it", [] {
    std::mt19937 random(7);
    const Expr large = parameter(random_tensor(random, {2, 4096}, DType::f64), "large");
    const Expr e = reshape(sum(large * large, 1), {2, 1, 1});
    Case made;
    made.outputs = {reshape(e, {1, 2, 1}) * 0.5 + 1.0, reshape(e, {1, 2, 1})};
    return made;
  });
}

BOOST_AUTO_TEST_CASE(functions_casts_positions_and_random_numbers) {
  check("functions", [] {
    std::mt19937 random(13);
    const Expr x = input("x", {2, 3});
    const Expr h = astype(astype(x, DType::f16) * 2.0, DType::f32);
    const Expr n = astype(x * 3.0, DType::i32);
    const Expr chosen = where(x > 0.0, exp(x), tanh(x) / (abs(x) + 1.0));
    return Case{{h, n, chosen, sqrt(abs(x)), maximum(x, -x), floor(x), astype(n, DType::f64) / 3.0,
                 logical_or(x > 0.5, n < 0), softmax(x, -1)},
                {},
                {{{x, random_tensor(random, {2, 3}, DType::f32)}},
                 {{x, random_tensor(random, {2, 3}, DType::f32)}}}};
  });
}

BOOST_AUTO_TEST_CASE(fed_memory_without_room_behind_it_is_read_to_its_end_only) {
  const Expr x = input("x", {3}), y = input("y", {3});
  const Expr row = reshape(x, {1, 3}), column = reshape(y, {3, 1});
  Program program = compile({sum(x * y), x + y, matmul(row, column), slice(x, 0, 0, 3, 2) * 2.0});
  for (int i = 0; i < 3; ++i) {
    const auto a = std::make_unique<float[]>(3), b = std::make_unique<float[]>(3);
    for (int k = 0; k < 3; ++k) {
      a[static_cast<std::size_t>(k)] = static_cast<float>(k + i);
      b[static_cast<std::size_t>(k)] = 2;
    }
    const Results results = program.run({{x, borrow(std::span<const float>(a.get(), 3), {3})},
                                         {y, borrow(std::span<const float>(b.get(), 3), {3})}});
    BOOST_TEST(results.number(0) == 2 * (3 + 3 * i));
    BOOST_TEST(results.number(2) == 2 * (3 + 3 * i));
    const Tensor ends = results.tensor(3);
    BOOST_TEST(ends.span<float>()[0] == 2.0F * static_cast<float>(i));
    BOOST_TEST(ends.span<float>()[1] == 2.0F * static_cast<float>(2 + i));
  }
}

BOOST_AUTO_TEST_SUITE_END()
