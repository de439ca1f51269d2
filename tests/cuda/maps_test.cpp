// Programs of Maps on CUDA's executable against the CPU's kernels: equal bits.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

Tensor drawn(const Shape& shape, DType dtype, std::uint64_t seed) {
  return test_support::drawn(shape, dtype, seed, -3, 3);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(maps)

BOOST_AUTO_TEST_CASE(formulas_of_all_sizes_have_the_bits_of_the_cpu) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const std::int64_t n : {0, 1, 7, 64, 1000}) {
      const Expr x = input("x", Shape{n}, dtype), y = input("y", Shape{n}, dtype);
      const Expr z = exp(sin(x)) * y + sigmoid(x * y);
      test_support::check_on_cuda({z, x > y, where(x > y, x, z)},
                                  {{x, drawn({n}, dtype, 1)}, {y, drawn({n}, dtype, 2)}}, 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(layouts_of_all_kinds_are_read) {
  if (test_support::skips_cuda_programs()) return;
  const Expr x = input("x", Shape{6, 4, 8}), row = input("row", Shape{8});
  const Expr column = input("column", Shape{4, 1}), number = input("number", Shape{});
  const Expr turned = permute_dims(x, std::vector<int>{2, 0, 1});
  test_support::check_on_cuda({x * row + column, turned * number, x + number,
                               permute_dims(x * 2.0, std::vector<int>{0, 2, 1}) - 1.0},
                              {{x, drawn({6, 4, 8}, DType::f32, 3)},
                               {row, drawn({8}, DType::f32, 4)},
                               {column, drawn({4, 1}, DType::f32, 5)},
                               {number, drawn({}, DType::f32, 6)}},
                              0);
}

BOOST_AUTO_TEST_CASE(a_training_step_updates_storage_and_the_host_reads_it) {
  if (test_support::skips_cuda_programs()) return;
  const auto train = [](const Device& device) {
    const Expr w = parameter(drawn({5, 3}, DType::f32, 7), "w");
    const Expr seen = state(zeros({}, DType::f32), "seen");
    const Expr x = input("x", Shape{5, 3});
    Updates updates;
    updates.set(w, w - 0.1 * (w * x - 1.0) * x);
    updates.set(seen, seen + 1.0);
    Program program = compile({w * x}, updates, device);
    const Tensor first = drawn({5, 3}, DType::f32, 8), second = drawn({5, 3}, DType::f32, 9);
    program.run_many(3, {{{x, first}}, {{x, second}}});
    w.set_value(evaluate(constant(w.value()) * 0.5));
    program.run({{x, first}});
    BOOST_TEST(seen.value().at(0) == 4);
    return w.value();
  };
  const Tensor expected = train(cpu()), got = train(test_support::cuda_test_device());
  for (std::int64_t i = 0; i < expected.size(); ++i) BOOST_TEST(got.at(i) == expected.at(i));
}

BOOST_AUTO_TEST_CASE(an_optimizers_step_over_many_parameters_is_one_launch) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Shape> shapes = {{1}, {5, 3}, {1030}, {64, 8}, {7}};
    const auto train = [&](const Device& device) {
      std::vector<Expr> parameters;
      Expr loss = constant(zeros({}, dtype));
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        parameters.push_back(parameter(drawn(shapes[i], dtype, 20 + i), "w" + std::to_string(i)));
        const Expr w = reshape(parameters.back(), {shapes[i].size()});
        for (const std::int64_t at : {std::int64_t{0}, shapes[i].size() - 1})
          loss = loss + reshape(slice(w, 0, at, at + 1, 1), Shape{}) * 0.5;
      }
      Updates updates;
      const Expr rate = state(tensor({0.125}, Shape{}).astype(dtype), "rate");
      for (const Expr& w : parameters) updates.set(w, w - rate * sin(w), rate > 0.0);
      Program program = compile({loss}, updates, device);
      program.run_many(2);
      std::vector<Tensor> values;
      for (const Expr& w : parameters) values.push_back(w.value());
      if (device.name() != "cpu")
        BOOST_TEST(program.explain().find("5 sets in one launch") != std::string::npos,
                   program.explain());
      return values;
    };
    const std::vector<Tensor> expected = train(cpu()),
                              got = train(test_support::cuda_test_device());
    BOOST_TEST(test_support::same_bits(got, expected));
  }
}

BOOST_AUTO_TEST_CASE(a_value_that_is_not_finite_is_found_and_nothing_is_updated) {
  if (test_support::skips_cuda_programs()) return;
  const Expr w = parameter(tensor({4.0f, 9.0f}, {2}), "w"), x = input("x", Shape{2});
  Updates updates;
  updates.set(w, w - 0.5);
  const Expr y = log(x) * w;
  Program program =
      compile({y}, updates, test_support::cuda_test_device(), {.check_numerics = true});
  const auto told = [&](const Tensor& value) {
    return test_support::error_of([&] { program.run({{x, value}}); });
  };
  const std::string text = told(tensor({2.0f, -1.0f}, {2}));
  BOOST_TEST(test_support::contains(text, "log (maps_test.cpp:"), text);
  BOOST_TEST(test_support::contains(text, "the first value that is not finite: nan at [1]"), text);
  BOOST_TEST(w.value().at(0) == 4);
}

// The bytes of the value have a new owner before the step ends, or the guard holds it back.
BOOST_AUTO_TEST_CASE(no_value_that_is_not_finite_is_overlooked) {
  if (test_support::skips_cuda_programs()) return;
  for (const bool is_guarded : {false, true}) {
    const Expr w = parameter(tensor({4.0f, 9.0f}, {2}), "w"), x = input("x", Shape{2});
    Updates updates;
    if (is_guarded) {
      updates.set(w, log(w - 20.0), reshape(slice(x, 0, 0, 1, 1), Shape{}) > 100.0);
    } else {
      const Expr root = sqrt(x);
      const Expr clean = where(root > 0.0, root, 0.0);
      updates.set(w, w * 0.5 + cumsum(cumsum(clean, 0), 0) * 0.0);
    }
    Program program =
        compile({sum(w)}, updates, test_support::cuda_test_device(), {.check_numerics = true});
    const std::string text =
        test_support::error_of([&] { program.run({{x, tensor({-1.0f, 2.0f}, {2})}}); });
    BOOST_TEST(test_support::contains(text, "the first value that is not finite"), text);
    BOOST_TEST(w.value().at(0) == 4);
  }
}

BOOST_AUTO_TEST_CASE(what_the_device_holds_is_in_the_report) {
  if (test_support::skips_cuda_programs()) return;
  const Expr x = input("x", Shape{1000});
  Program program = compile({x * constant(zeros({1000}))}, {}, test_support::cuda_test_device());
  BOOST_TEST(program.report().peak_bytes >= 3 * 4000);
}

BOOST_AUTO_TEST_CASE(a_watched_step_whose_values_are_finite_is_the_step) {
  if (test_support::skips_cuda_programs()) return;
  const auto trained = [](const CompileOptions& options) {
    const Expr w = parameter(tensor({4.0f, 9.0f}, {2}), "w"), x = input("x", Shape{2});
    Updates updates;
    updates.set(w, w - 0.125 * x);
    Program program = compile({w * x}, updates, test_support::cuda_test_device(), options);
    program.run_many(3, {{{x, tensor({1.0f, 2.0f}, {2})}}, {{x, tensor({3.0f, 4.0f}, {2})}}});
    return w.value();
  };
  BOOST_TEST(test_support::same_bits(trained({.check_numerics = true}), trained({})));
}

BOOST_AUTO_TEST_SUITE_END()
