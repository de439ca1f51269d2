// Programs with CompileOptions::math on both devices: what is rounded and what is not, training
// beside f32, and the same bits however a program is compiled.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "models/models.h"
#include "models/rows.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"
#include "tests/support/variants.h"

using namespace blockgrad;
using test_support::contains;
using test_support::drawn;
using test_support::error_of;
using test_support::same_bits;

namespace {

Tensor drawn_f32(const Shape& shape, std::uint64_t seed) {
  return drawn(shape, DType::f32, seed, -1, 1);
}

/// f64 numbers, rounded as `half` rounds.
Expr rounded(const Expr& x, DType half) { return astype(astype(x, half), DType::f64); }

std::vector<Tensor> run(const std::vector<Output>& outputs, MathMode math) {
  Program program = compile(outputs, {}, cpu(), {.math = math});
  const Results results = program.run();
  std::vector<Tensor> values;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    values.push_back(results.tensor(static_cast<int>(i)));
  return values;
}

/// The largest difference, as a share of the largest expected number.
double difference(const Tensor& got, const Tensor& expected) {
  double most = 0, scale = 0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    most = std::max(most, std::abs(got.at(i) - expected.at(i)));
    scale = std::max(scale, std::abs(expected.at(i)));
  }
  return most / scale;
}

/// Losses before each of `steps` steps.
std::vector<double> losses(const bench::Model& model, MathMode math, int steps,
                           const Device& device = cpu()) {
  const bench::Training training = bench::training_of(model, true);
  Program program = compile({training.model.loss}, training.updates, device, {.math = math});
  std::vector<double> all;
  for (int i = 0; i < steps; ++i) all.push_back(program.run(training.model.batch).number(0));
  return all;
}

bool has_pass(const Report& report, std::string_view pass) {
  for (const std::string& line : report.passes) {
    if (line.starts_with(pass)) return true;
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mixed)

BOOST_AUTO_TEST_CASE(the_mode_has_a_name_and_is_printed) {
  for (const MathMode mode : {MathMode::exact, MathMode::tf32, MathMode::bf16, MathMode::f16}) {
    BOOST_TEST((math_mode(name(mode)) == mode));
    const Program program = compile({constant(ones({2})) + 1.0}, {}, cpu(), {.math = mode});
    BOOST_TEST((program.report().math == mode));
    BOOST_TEST(contains(program.explain(), ", math " + std::string(name(mode)) + ":"));
  }
  BOOST_TEST(error_of([] { math_mode("fp8"); }) ==
             "math: expected one of exact, tf32, bf16, f16, got 'fp8'");
}

BOOST_AUTO_TEST_CASE(exact_programs_are_what_they_were) {
  const auto compiled = [](MathMode math) {
    const bench::Training training =
        bench::training_of(bench::chosen(bench::ladder_rows(), {"gpt"})[0].make_tiny(), true);
    const Program program = compile({training.model.loss}, training.updates, cpu(), {.math = math});
    BOOST_TEST(has_pass(program.report(), "mixed") == (math == MathMode::bf16));
    return program.to_text();
  };
  const std::string exact = compiled(MathMode::exact);
  BOOST_TEST(!contains(exact, "bf16"));
  BOOST_TEST(compiled(MathMode::tf32) == exact);
  BOOST_TEST(contains(compiled(MathMode::bf16), "bf16"));
}

BOOST_AUTO_TEST_CASE(a_master_keeps_what_bf16_could_not) {
  const Expr w = parameter(ones({1, 1}), "w"), x = constant(ones({1, 1}));
  const Loss loss{sum(matmul(x, w)), constant(ones({})), {}};
  Optimizer optimizer(Sgd{.learning_rate = 1e-4});
  Program program = compile({}, optimizer.apply(gradients(loss)), cpu(), {.math = MathMode::bf16});
  program.run_many(20);  // each a fortieth of what bf16 has between numbers near 1
  BOOST_TEST(std::abs(w.value().at(0) - 0.998) < 1e-6);
}

// One hidden layer, by the rule of backends/mixed.h in f64.
BOOST_AUTO_TEST_CASE(gradients_of_parameters_are_sums_of_rounded_operands) {
  for (const MathMode math : {MathMode::bf16, MathMode::f16}) {
    const DType half = math == MathMode::bf16 ? DType::bf16 : DType::f16;
    const Expr x = constant(drawn_f32({9, 12}, 1)), w = constant(drawn_f32({12, 7}, 2)),
               b = constant(drawn_f32({7}, 3)), v = constant(drawn_f32({7, 5}, 4)),
               c = constant(drawn_f32({5}, 5));
    const Expr y = linear(relu(linear(x, w, b)), v, c);
    const Expr loss = mean(square(y));
    const Expr wrt[] = {w, b, v, c};
    std::vector<Output> outputs{loss};
    for (const Expr& gradient : grad(loss, wrt)) outputs.push_back(gradient);
    const std::vector<Tensor> got = run(outputs, math);

    const auto wide = [](const Expr& e) { return astype(e, DType::f64); };
    const auto r = [&](const Expr& e) { return rounded(e, half); };
    const auto t = [](const Expr& e) { return transpose(e); };
    const Expr h = r(relu(r(matmul(r(x), r(w))) + wide(b)));
    const Expr out = matmul(h, r(v)) + wide(c);
    const Expr dy = r(out * (2.0 / 45));
    const Expr dh = r(where(h > 0.0, r(matmul(dy, t(r(v)))), 0.0));
    const std::vector<Tensor> expected =
        run({mean(square(out)), matmul(t(r(x)), dh), sum(dh, 0), matmul(t(h), dy), sum(dy, 0)},
            MathMode::exact);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      BOOST_TEST((got[i].dtype() == DType::f32));
      BOOST_TEST(difference(got[i], expected[i]) < 1e-6, name(math) << ", output " << i);
    }
  }
}

// Also by the rule; delta, which the slopes of scores are seen from, is a sum and stays f32.
BOOST_AUTO_TEST_CASE(attention_reads_halves_and_gives_halves_to_products) {
  constexpr double scale = 0.4;
  for (const MathMode math : {MathMode::bf16, MathMode::f16}) {
    const DType half = math == MathMode::bf16 ? DType::bf16 : DType::f16;
    const Expr x = constant(drawn_f32({9, 12}, 1));
    std::vector<Expr> w;
    for (std::uint64_t i = 0; i < 3; ++i) w.push_back(constant(drawn_f32({12, 8}, 2 + i)));
    w.push_back(constant(drawn_f32({8, 5}, 5)));
    const Expr y = attention(matmul(x, w[0]), matmul(x, w[1]), matmul(x, w[2]),
                             {.causal = true, .scale = scale});
    const Expr loss = mean(square(matmul(y, w[3])));
    std::vector<Output> outputs{loss};
    for (const Expr& gradient : grad(loss, w)) outputs.push_back(gradient);
    const std::vector<Tensor> got = run(outputs, math);

    const auto r = [&](const Expr& e) { return rounded(e, half); };
    const auto t = [](const Expr& e) { return transpose(e); };
    const Expr q = r(matmul(r(x), r(w[0]))), k = r(matmul(r(x), r(w[1]))),
               v = r(matmul(r(x), r(w[2])));
    const std::vector<Expr> made = make_all(Attention{true, scale}, {q, k, v});
    const Expr a = r(made[0]), out = matmul(a, r(w[3]));
    const Expr dout = r(out * (2.0 / 45)), da = matmul(dout, t(r(w[3])));
    const std::vector<Expr> slopes =
        make_all(AttentionGradient{true, scale}, {q, k, v, r(da), made[1], sum(da * a, -1)});
    std::vector<Output> wanted{mean(square(out))};
    for (const Expr& slope : slopes) wanted.push_back(matmul(t(r(x)), r(slope)));
    wanted.push_back(matmul(t(a), dout));
    const std::vector<Tensor> expected = run(wanted, MathMode::exact);
    for (std::size_t i = 0; i < expected.size(); ++i)
      BOOST_TEST(difference(got[i], expected[i]) < 1e-6, name(math) << ", output " << i);
  }
}

BOOST_AUTO_TEST_CASE(halves_are_joined_as_halves) {
  const Expr x = constant(drawn_f32({9, 12}, 1)), w = constant(drawn_f32({12, 24}, 2));
  const std::vector<Expr> parts = split(matmul(x, w), 3, -1);
  const Expr y = attention(parts[0], parts[1], parts[2]);
  const Expr loss = mean(square(matmul(y, constant(drawn_f32({8, 5}, 3)))));
  const auto join_of = [&](MathMode math) {
    const Program program = compile({grad(loss, {w})[0]}, {}, cpu(), {.math = math});
    std::istringstream lines(program.to_text());
    std::string last;  // the others are parts
    for (std::string line; std::getline(lines, line);) {
      if (contains(line, " = split ")) last = line;
    }
    return last;
  };
  BOOST_TEST(contains(join_of(MathMode::exact), " : f32[9, 24]"));
  BOOST_TEST(contains(join_of(MathMode::bf16), " : bf16[9, 24]"));
}

// Of scores so large that halves would spoil the weights made of them.
BOOST_AUTO_TEST_CASE(logarithms_of_sums_of_scores_stay_f32_where_products_read_them_too) {
  std::vector<Expr> in;
  for (std::uint64_t i = 0; i < 3; ++i) in.push_back(constant(drawn_f32({9, 8}, 1 + i)));
  in.push_back(constant(drawn({9, 9}, DType::f32, 4, 200, 202)));
  const std::vector<Expr> made = make_all(Attention{false, 0.4}, in);
  const Expr read = matmul(reshape(made[1], {1, 9}), constant(drawn_f32({9, 3}, 5)));
  const Expr y = matmul(made[0], constant(drawn_f32({8, 5}, 6)));
  const std::vector<Output> outputs{grad(mean(square(read)) + mean(square(y)), {in[3]})[0]};
  const Tensor exact = run(outputs, MathMode::exact)[0];
  for (const MathMode math : {MathMode::bf16, MathMode::f16}) {
    const double off = difference(run(outputs, math)[0], exact);
    BOOST_TEST(off <= 0.03, name(math) << " is off by " << off);
  }
}

// Large sums of squares, arguments of sin and features above what f16 holds.
BOOST_AUTO_TEST_CASE(what_no_product_made_stays_as_it_is_until_a_product_reads_it) {
  const auto random = [](const Shape& shape, std::uint64_t seed, double low, double high) {
    return constant(drawn(shape, DType::f32, seed, low, high));
  };
  const Expr x = random({16, 32}, 1, -1, 1), w = random({32, 32}, 2, -1, 1);
  const Expr bias = random({32}, 3, 9, 11), v = random({32, 8}, 4, -1, 1);
  const Expr h = matmul(x, w) * 0.1 + x + bias, middle = mean(h, -1, true);
  const Expr variance = mean(square(h), -1, true) - square(middle);
  const Expr norm = mean(square(matmul((h - middle) * rsqrt(variance + 1e-5), v)));
  const Expr f = random({16}, 5, -200, 200), features = random({64, 1}, 6, -1, 1);
  const Expr waves = mean(square(matmul(sin(features * f), random({16, 8}, 7, -1, 1)) - 1.0));
  const Expr scale = random({16}, 8, 1, 2), large = random({64, 16}, 9, 1e5, 1e6);
  const Expr logs = mean(square(matmul(log(large * scale), random({16, 8}, 10, -1, 1)) - 1.0));
  std::vector<Output> outputs{norm, waves, logs};
  for (const Expr& slope : grad(norm, {w, bias, v})) outputs.emplace_back(slope);
  outputs.emplace_back(grad(waves, {f})[0]);
  outputs.emplace_back(grad(logs, {scale})[0]);
  const std::vector<Tensor> exact = run(outputs, MathMode::exact);
  for (const MathMode math : {MathMode::bf16, MathMode::f16}) {
    const std::vector<Tensor> mixed = run(outputs, math);
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const double off = difference(mixed[i], exact[i]);
      BOOST_TEST(off <= 0.03, name(math) << ", output " << i << " is off by " << off);
    }
  }
}

BOOST_AUTO_TEST_CASE(models_train_as_in_f32) {
  constexpr int steps = 20;
  for (const char* name : {"mlp_small", "lenet", "gpt", "resnet", "lstm"}) {
    const bench::Row row = bench::chosen(bench::ladder_rows(), {name})[0];
    const std::vector<double> exact = losses(row.make_tiny(), MathMode::exact, steps);
    BOOST_TEST_REQUIRE(exact.back() < exact.front());
    for (const MathMode math : {MathMode::bf16, MathMode::f16}) {
      const std::vector<double> got = losses(row.make_tiny(), math, steps);
      BOOST_TEST(got != exact);
      for (std::size_t i = 0; i < exact.size(); ++i)
        BOOST_TEST(std::abs(got[i] - exact[i]) <= 0.02 * exact.front(),
                   name << " in " << blockgrad::name(math) << ", step " << i << ": " << got[i]
                        << ", f32 " << exact[i]);
    }
  }
}

BOOST_AUTO_TEST_CASE(cuda_trains_as_the_cpu) {
  if (test_support::skips_cuda_programs()) return;
  for (const char* name : {"mlp_small", "lenet", "gpt"}) {
    const bench::Row row = bench::chosen(bench::ladder_rows(), {name})[0];
    const std::vector<double> expected = losses(row.make_tiny(), MathMode::bf16, 3);
    const std::vector<double> got =
        losses(row.make_tiny(), MathMode::bf16, 3, test_support::cuda_test_device());
    for (std::size_t i = 0; i < expected.size(); ++i)
      BOOST_TEST(std::abs(got[i] - expected[i]) <= 2e-3 * expected[i],
                 name << ", step " << i << ": " << got[i] << ", the CPU " << expected[i]);
  }
}

BOOST_AUTO_TEST_CASE(a_transformer_needs_less_memory) {
  const auto arena = [](MathMode math) {
    const bench::Training training =
        bench::training_of(bench::gpt({.batch = 8, .context = 32, .layers = 4, .width = 64}), true);
    return compile({training.model.loss}, training.updates, cpu(), {.math = math})
        .report()
        .arena_bytes;
  };
  const auto exact = static_cast<double>(arena(MathMode::exact));
  BOOST_TEST(static_cast<double>(arena(MathMode::bf16)) < 0.75 * exact);
}

BOOST_AUTO_TEST_CASE(an_overflow_of_f16_halves_the_scale_and_training_goes_on) {
  const auto trains = [](const Device& device, MathMode math, std::int64_t steps) {
    const Expr x = constant(drawn_f32({16, 6}, 1)), t = constant(drawn_f32({16, 1}, 2));
    const Expr w = parameter(drawn_f32({6, 8}, 3), "w"), v = parameter(drawn_f32({8, 1}, 4), "v");
    Optimizer optimizer(Adam{.learning_rate = 0.02});
    const Loss loss = mse_loss(matmul(tanh(matmul(x, w)), v), t);
    const LossScale scale(0x1p24);
    Program program =
        compile({loss}, optimizer.apply(scale.gradients(loss)), device, {.math = math});
    const Tensor before = w.value();
    const double first = program.run().number(0);
    if (math == MathMode::f16) {
      BOOST_TEST(same_bits(w.value(), before));
      BOOST_TEST(scale.value() == 0x1p23);
    } else {
      BOOST_TEST(scale.value() == 0x1p24);
    }
    const double last = program.run_many(steps).number(0);
    BOOST_TEST(scale.value() >= 0x1p8);
    BOOST_TEST(last < first);
    return last;
  };
  const double f16 = trains(cpu(), MathMode::f16, 100), f32 = trains(cpu(), MathMode::exact, 100);
  BOOST_TEST(f16 < 1.5 * f32);
  if (test_support::skips_cuda_programs()) return;
  constexpr std::int64_t steps = 15;
  const double cuda = trains(test_support::cuda_test_device(), MathMode::f16, steps);
  const double same = trains(cpu(), MathMode::f16, steps);
  BOOST_TEST(std::abs(cuda - same) < 0.02 * same);
}

BOOST_AUTO_TEST_CASE(a_look_at_the_numbers_repeats_the_step_in_its_mode) {
  const Expr x = input("x", {1, 1}), w = constant(ones({1, 1}));
  const auto message = [&](MathMode math) {
    Program program =
        compile({matmul(x, w) + 1.0}, {}, cpu(), {.math = math, .check_numerics = true});
    return error_of([&] { program.run({{x, full({1, 1}, 1e6)}}); });
  };
  BOOST_TEST(message(MathMode::exact) == "no error");
  BOOST_TEST(message(MathMode::bf16) == "no error");
  const std::string told = message(MathMode::f16);
  BOOST_TEST(told.starts_with("input 'x' (mixed_test.cpp:"), told);
  BOOST_TEST(contains(told, "), rounded to f16: the first value that is not finite: inf"), told);
  BOOST_TEST(!contains(told, "astype"), told);
}

BOOST_AUTO_TEST_CASE(what_overflows_between_two_products_is_told_by_the_users_op) {
  const Expr x = constant(ones({1, 1})), w = constant(ones({1, 1}));
  Program program = compile({matmul(exp(matmul(x, w) * 20.0), w)}, {}, cpu(),
                            {.math = MathMode::f16, .check_numerics = true});
  const std::string told = error_of([&] { program.run(); });
  BOOST_TEST(contains(told, ", rounded to f16: "), told);
  BOOST_TEST(!contains(told, "astype"), told);
}

namespace {

/// A network of layers drawn at random, with its gradients.
std::vector<Expr> random_network(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<Expr> weights, streams;
  const auto weight = [&](const Shape& shape) {
    weights.push_back(constant(drawn_f32(shape, random())));
    return weights.back();
  };
  Expr x = weight({6, 8});
  const int layers = 2 + static_cast<int>(random() % 4);
  for (int i = 0; i < layers; ++i) {
    streams.push_back(x);
    const Expr before = streams[random() % streams.size()];
    switch (random() % 10) {
      case 0: x = linear(x, weight({8, 8}), weight({8})); break;
      case 1: x = before + relu(linear(x, weight({8, 8}))); break;
      case 2: x = gelu(linear(x, weight({8, 8}), weight({8}))); break;
      case 3: x = tanh(matmul(x, weight({8, 8}))) * before; break;
      case 4: x = layer_norm(x, weight({8}), weight({8})); break;
      case 5: x = matmul(softmax(matmul(x, before, {.transpose_b = true})), before); break;
      case 6: x = matmul(concat({x, before}, 1), weight({16, 8})); break;
      case 7: x = reshape(transpose(reshape(sigmoid(x), {3, 4, 4})), {6, 8}); break;
      case 8: {
        const Expr image = reshape(x, {1, 3, 4, 4}), kernel = weight({3, 3, 3, 3});
        x = reshape(conv2d(image, kernel, {.padding = 1}), {6, 8});
        break;
      }
      case 9: x = attention(x, before, linear(x, weight({8, 8})), {.causal = true}); break;
    }
  }
  const Expr loss = mean(square(matmul(x, weight({8, 3}))));
  std::vector<Expr> all = grad(loss, weights);
  all.push_back(loss);
  all.push_back(x);
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(random_networks_have_equal_bits_however_they_are_compiled) {
  int rounded = 0;
  for (std::uint64_t seed = 0; seed < 12; ++seed) {
    const std::vector<Expr> outputs = random_network(seed);
    const MathMode math = seed % 2 == 0 ? MathMode::bf16 : MathMode::f16;
    const auto compiled = [&](CompileOptions options) {
      options.math = math;
      return op_check::run(outputs, {}, options);
    };
    const std::vector<Tensor> expected = compiled(op_check::variants()[0].options);
    for (const op_check::Variant& variant : op_check::variants())
      BOOST_TEST(same_bits(compiled(variant.options), expected),
                 "seed " << seed << ", " << variant.name);
    const std::vector<Tensor> exact = op_check::run(outputs, {});
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double error = difference(expected[i], exact[i]);
      BOOST_TEST(error < 0.15, "seed " << seed << ", output " << i << ": " << error);
      rounded += error > 1e-5;
    }
  }
  BOOST_TEST(rounded > 12);
}

BOOST_AUTO_TEST_SUITE_END()
