// Random numbers: the same from the graph and as tensors, with the distributions they name.
#include "blockgrad/ops/random.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Stream fixed(std::uint64_t seed, std::int64_t number, std::int64_t step) {
  return {seed, number, constant(tensor({step}, Shape{}))};
}

struct Moments {
  double mean = 0, variance = 0, low = INFINITY, high = -INFINITY;
};

Moments moments(const Tensor& x) {
  Moments m;
  for (std::int64_t i = 0; i < x.size(); ++i) {
    m.mean += x.at(i) / static_cast<double>(x.size());
    m.low = std::min(m.low, x.at(i));
    m.high = std::max(m.high, x.at(i));
  }
  for (std::int64_t i = 0; i < x.size(); ++i)
    m.variance += (x.at(i) - m.mean) * (x.at(i) - m.mean) / static_cast<double>(x.size());
  return m;
}

const Shape large{200, 500};

}  // namespace

BOOST_AUTO_TEST_SUITE(random_numbers)

BOOST_AUTO_TEST_CASE(graph_and_tensor_give_the_same_bits_with_any_passes) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Stream stream = fixed(0x123456789abcdefu, 7, 41);
    const Draw draw{0x123456789abcdefu, 7, 41};
    const Shape shape{37, 11};
    for (const bool fused : {true, false}) {
      CompileOptions options;
      if (!fused) options.skip = {"simplify", "merge_equal", "fuse_rows", "fuse_maps"};
      BOOST_TEST(same_bits(evaluate(uniform(shape, -2, 3, stream, dtype), {}, options),
                           uniform_tensor(shape, -2, 3, draw, dtype)));
      BOOST_TEST(same_bits(evaluate(normal(shape, 1, 2, stream, dtype), {}, options),
                           normal_tensor(shape, 1, 2, draw, dtype)));
      BOOST_TEST(same_bits(evaluate(truncated_normal(shape, 1, 2, stream, dtype), {}, options),
                           truncated_normal_tensor(shape, 1, 2, draw, dtype)));
    }
  }
}

BOOST_AUTO_TEST_CASE(uniform_numbers_are_the_top_bits_of_the_philox_block) {
  const Tensor x = uniform_tensor({2}, 0, 1, {0, 0, 0});
  BOOST_TEST(x.at(0) == (0x6627e8d5u >> 8) * 0x1p-24);
  const Tensor y = uniform_tensor({1}, 0, 1, {0, 0, 0}, DType::f64);
  BOOST_TEST(y.at(0) == static_cast<double>((0xe169c58d6627e8d5u) >> 11) * 0x1p-53);
}

BOOST_AUTO_TEST_CASE(distributions_have_their_moments) {
  const Moments u = moments(uniform_tensor(large, -1, 3, {1, 2, 3}));
  BOOST_TEST(std::abs(u.mean - 1) < 0.02);
  BOOST_TEST(std::abs(u.variance - 16.0 / 12) < 0.02);
  BOOST_TEST(u.low >= -1);
  BOOST_TEST(u.high < 3);
  const Moments n = moments(normal_tensor(large, 0.5, 2, {1, 2, 3}));
  BOOST_TEST(std::abs(n.mean - 0.5) < 0.03);
  BOOST_TEST(std::abs(n.variance - 4) < 0.08);
  const Moments t = moments(truncated_normal_tensor(large, 0, 1, {1, 2, 3}));
  BOOST_TEST(std::abs(t.mean) < 0.015);
  BOOST_TEST(std::abs(t.variance - 0.7737413) < 0.02);
  BOOST_TEST(t.low >= -2.000001);
  BOOST_TEST(t.high <= 2.000001);
}

BOOST_AUTO_TEST_CASE(normal_numbers_fall_where_the_distribution_function_says) {
  const Tensor x = normal_tensor(large, 0, 1, {9, 0, 0}, DType::f64);
  std::vector<double> sorted(x.span<double>().begin(), x.span<double>().end());
  std::sort(sorted.begin(), sorted.end());
  double worst = 0;  // the statistic of Kolmogorov and Smirnov
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    const double expected = 0.5 * std::erfc(-sorted[i] / std::sqrt(2.0));
    worst = std::max(
        worst, std::abs(expected - static_cast<double>(i) / static_cast<double>(sorted.size())));
  }
  BOOST_TEST(worst < 1.95 / std::sqrt(static_cast<double>(
                                sorted.size())));  // 0.1 % of honest draws exceed it
}

BOOST_AUTO_TEST_CASE(bernoulli_and_randint_have_their_frequencies) {
  const Tensor b = evaluate(bernoulli(large, 0.3, fixed(5, 0, 0)));
  BOOST_TEST(std::abs(moments(b).mean - 0.3) < 0.01);
  BOOST_TEST(moments(evaluate(bernoulli(large, 1, fixed(5, 0, 0)))).low == 1);
  BOOST_TEST(moments(evaluate(bernoulli(large, 0, fixed(5, 0, 0)))).high == 0);
  const Tensor r = evaluate(randint(large, -3, 4, fixed(5, 1, 0)));
  BOOST_TEST((r.dtype() == DType::i32));
  int counts[7] = {};
  for (std::int64_t i = 0; i < r.size(); ++i) ++counts[static_cast<int>(r.at(i)) + 3];
  for (const int count : counts) BOOST_TEST(std::abs(count / 100000.0 - 1.0 / 7) < 0.01);
  const Tensor far = evaluate(randint({64}, (std::int64_t{1} << 60) + 1,
                                      (std::int64_t{1} << 60) + 2, fixed(5, 1, 0), DType::i64));
  BOOST_TEST(far.span<std::int64_t>()[63] == (std::int64_t{1} << 60) + 1);
}

BOOST_AUTO_TEST_CASE(a_permutation_has_every_number_once_and_each_place_sees_all) {
  const Tensor p = evaluate(permutation(1000, fixed(4, 0, 0)));
  std::vector<int> seen(1000, 0);
  double distance = 0;
  for (std::int64_t i = 0; i < p.size(); ++i) {
    ++seen[static_cast<std::size_t>(p.at(i))];
    distance += std::abs(p.at(i) - static_cast<double>(i)) / 1000;
  }
  BOOST_TEST((std::count(seen.begin(), seen.end(), 1) == 1000));
  BOOST_TEST(std::abs(distance - 1000.0 / 3) < 40);  // the mean of abs(a - b) is n / 3
  BOOST_TEST(evaluate(permutation(0, fixed(4, 0, 0))).size() == 0);
}

BOOST_AUTO_TEST_CASE(streams_steps_and_seeds_give_other_numbers) {
  const Tensor base = uniform_tensor({100}, 0, 1, {1, 1, 1});
  for (const Draw& other : {Draw{2, 1, 1}, Draw{1, 2, 1}, Draw{1, 1, 2}})
    BOOST_TEST(!same_bits(base, uniform_tensor({100}, 0, 1, other)));
  BOOST_TEST(same_bits(base, uniform_tensor({100}, 0, 1, {1, 1, 1})));
}

BOOST_AUTO_TEST_CASE(a_context_counts_steps_by_its_updates) {
  Context context({.seed = 3});
  const Expr x = uniform({4}, 0, 1, context.stream());
  const Expr y = uniform({4}, 0, 1, context.stream());
  Program program = compile({x, y}, context.updates());
  for (std::int64_t step = 0; step < 3; ++step) {
    const Results results = program.run();
    BOOST_TEST(same_bits(results.tensor(0), uniform_tensor({4}, 0, 1, {3, 0, step})));
    BOOST_TEST(same_bits(results.tensor(1), uniform_tensor({4}, 0, 1, {3, 1, step})));
  }
}

BOOST_AUTO_TEST_CASE(dropout_scales_what_it_keeps_and_its_gradient_has_the_same_mask) {
  Context context({.seed = 8});
  const Expr x = input("x", large);
  const Expr y = dropout(x, 0.25, context);
  Program program = compile({y, grad(sum(y), {x})[0]}, context.updates());
  const Feed ones_fed{x, ones(large)};
  const Results first = program.run({ones_fed});
  const Tensor value = first.tensor(0), slope = first.tensor(1);
  BOOST_TEST(same_bits(value, slope));
  int kept = 0;
  for (std::int64_t i = 0; i < value.size(); ++i) {
    kept += value.at(i) != 0;
    BOOST_TEST_REQUIRE((value.at(i) == 0 || value.at(i) == static_cast<float>(1 / 0.75)));
  }
  BOOST_TEST(std::abs(kept / 100000.0 - 0.75) < 0.01);
  BOOST_TEST(!same_bits(program.run({ones_fed}).tensor(0), value));
}

BOOST_AUTO_TEST_CASE(dropout_is_the_identity_outside_training_and_zero_for_probability_1) {
  Context evaluation({.is_training = false}), training;
  const Expr x = input("x", {5});
  BOOST_TEST((dropout(x, 0.5, evaluation) == x));
  BOOST_TEST((dropout(x, 0, training) == x));
  const Tensor none = evaluate(dropout(x, 1, training), {{x, full({5}, INFINITY)}});
  for (std::int64_t i = 0; i < 5; ++i) BOOST_TEST(none.at(i) == 0);
}

BOOST_AUTO_TEST_CASE(bf16_and_f16_are_drawn_as_f32_and_rounded) {
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Shape shape{50};
    const Stream stream = fixed(6, 2, 9);
    const Draw draw{6, 2, 9};
    BOOST_TEST(same_bits(normal_tensor(shape, 0, 1, draw, dtype),
                         normal_tensor(shape, 0, 1, draw).astype(dtype)));
    BOOST_TEST(same_bits(evaluate(normal(shape, 0, 1, stream, dtype)),
                         normal_tensor(shape, 0, 1, draw, dtype)));
    Context context;
    const Expr x = input("x", shape, dtype);
    const Tensor y = evaluate(dropout(x, 0.5, context), {{x, ones(shape, dtype)}});
    for (std::int64_t i = 0; i < 50; ++i) BOOST_TEST((y.at(i) == 0 || y.at(i) == 2));
  }
}

BOOST_AUTO_TEST_CASE(the_upper_end_is_not_reached_by_rounding) {
  const Tensor near = uniform_tensor({1 << 20}, 1, std::nextafter(1.0f, 2.0f), {1, 0, 0});
  BOOST_TEST(moments(near).high == 1);
  BOOST_TEST(moments(uniform_tensor({8}, 2, 2, {1, 0, 0})).high == 2);
}

BOOST_AUTO_TEST_CASE(large_values_count_their_elements_across_parts_and_threads) {
  const Shape shape{3, 70001};
  for (const int threads : {1, 2, 3}) {
    CompileOptions options;
    options.threads = threads;
    BOOST_TEST(same_bits(evaluate(uniform(shape, 0, 1, fixed(2, 1, 5)), {}, options),
                         uniform_tensor(shape, 0, 1, {2, 1, 5})));
  }
}

BOOST_AUTO_TEST_CASE(the_mask_of_dropout_is_drawn_again_instead_of_being_kept) {
  Context context;
  const Expr w = parameter(ones({64, 64}), "w"), x = input("x", {64, 64});
  const Expr y = dropout(matmul(x, w), 0.5, context);
  const Expr g = grad(sum(square(matmul(y, w))), {w})[0];
  Program program = compile({g}, context.updates());
  BOOST_TEST(program.to_text().find("uniform") != std::string::npos);
  int maps_that_draw = 0;
  const std::string text = program.to_text();
  for (std::size_t at = text.find("uniform_low"); at != std::string::npos;
       at = text.find("uniform_low", at + 1))
    ++maps_that_draw;
  BOOST_TEST(maps_that_draw == 2);  // one forward, one backward
}

BOOST_AUTO_TEST_CASE(wrong_settings_are_named_with_the_users_line) {
  Context context;
  const Stream stream = context.stream();
  const auto has = [](const std::string& text, const char* part) {
    BOOST_TEST(text.find(part) != std::string::npos, text);
  };
  has(error_of([&] { uniform({2}, 1, 0, stream); }), "uniform (random_numbers_test.cpp:");
  has(error_of([&] { uniform({2}, 1, 0, stream); }),
      "wants finite bounds, low <= high, got 1 and 0");
  has(error_of([&] { uniform({2}, 0, 1, stream, DType::i32); }), "wants a floating dtype, got i32");
  has(error_of([&] { normal({2}, 0, -1, stream); }),
      "wants a finite mean and sigma >= 0, got 0 and -1");
  has(error_of([&] { bernoulli({2}, 1.5, stream); }), "wants a probability in [0, 1], got 1.5");
  has(error_of([&] { randint({2}, 3, 3, stream); }),
      "wants low < high, at most 2^31 apart, got 3 and 3");
  has(error_of([&] { permutation(-1, stream); }), "wants a number that is not negative, got -1");
  has(error_of([&] { uniform({2}, 0, 1e39, stream); }), "wants finite bounds");
  has(error_of([&] { uniform_tensor({2}, 2, 1, {}); }),
      "uniform_tensor: wants finite bounds, low <= high, got 2 and 1");
  has(error_of([&] { normal_tensor({2}, 0, 1, {0, 0, -1}); }),
      "normal_tensor: wants stream and step in [0, 2^32), got 0 and -1");
  has(error_of([&] { randint({2}, 2147483646, 2147483650, stream); }), "do not fit i32");
  has(error_of([&] { dropout(input("x", {2}), -0.1, context); }),
      "dropout (random_numbers_test.cpp:");
  has(error_of([&] { uniform({2}, 0, 1, Stream{}); }),
      "a stream wants its step as an i64 scalar, got an empty Expr");
  has(error_of([&] { Context({.step = input("s", {})}); }),
      "wants its step as an i64 scalar, got f32[]");
}

BOOST_AUTO_TEST_SUITE_END()
