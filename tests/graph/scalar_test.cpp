// The elementwise language: recording, folding, sharing and differentiating scalar programs.
#include "blockgrad/graph/scalar.h"
#include "tests/support/checks.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>

using namespace blockgrad;
using namespace test_support;

namespace {

using Formula = std::function<Scalar(std::span<const Scalar>)>;

ScalarFn record(std::vector<DType> dtypes, const Formula& formula) {
  ScalarRecorder recorder(dtypes);
  std::vector<Scalar> args;
  for (std::size_t i = 0; i < dtypes.size(); ++i)
    args.push_back(recorder.input(static_cast<int>(i)));
  const Scalar results[] = {formula(args)};
  return recorder.finish(results);
}

// Runs a program over f64 numbers with the interpreter.
std::vector<double> run(const ScalarFn& fn, std::vector<double> inputs) {
  std::vector<std::uint64_t> values;
  for (const ScalarInstr& instr : fn.code()) {
    if (instr.op == ScalarOp::input) {
      values.push_back(std::bit_cast<std::uint64_t>(inputs[instr.bits]));
    } else if (instr.op == ScalarOp::constant) {
      values.push_back(instr.bits);
    } else {
      std::vector<DType> dtypes;
      std::vector<std::uint64_t> args;
      for (int a = 0; a < arity(instr.op); ++a) {
        const auto from = static_cast<std::size_t>(instr.args[static_cast<std::size_t>(a)]);
        dtypes.push_back(fn.code()[from].dtype);
        args.push_back(values[from]);
      }
      values.push_back(evaluate(instr, dtypes, args));
    }
  }
  std::vector<double> results;
  for (const std::int32_t r : fn.results())
    results.push_back(std::bit_cast<double>(values[static_cast<std::size_t>(r)]));
  return results;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(scalar)

BOOST_AUTO_TEST_CASE(equal_instructions_are_recorded_once) {
  const ScalarFn fn =
      record({DType::f64}, [](auto x) { return exp(x[0]) * exp(x[0]) + exp(x[0]); });
  BOOST_TEST(fn.code().size() == 4);  // input, exp, multiply, add
  BOOST_TEST(std::abs(run(fn, {1.0})[0] - std::exp(2.0) - std::exp(1.0)) < 1e-14);
}

BOOST_AUTO_TEST_CASE(numbers_are_folded_and_unused_instructions_dropped) {
  const ScalarFn fn = record({DType::f64, DType::f64}, [](auto x) {
    static_cast<void>(sin(x[1]));
    return x[0] * (Scalar(2) * 3 + 1) + 0.0;
  });
  BOOST_TEST(run(fn, {2.0, 0.0})[0] == 14);
  for (const ScalarInstr& instr : fn.code()) BOOST_TEST((instr.op != ScalarOp::sin));
}

BOOST_AUTO_TEST_CASE(identities_that_change_no_bit_are_dropped_and_others_kept) {
  const auto size = [](const Formula& f) { return record({DType::f64}, f).code().size(); };
  BOOST_TEST(size([](auto x) { return x[0] * 1; }) == 1);
  BOOST_TEST(size([](auto x) { return x[0] - 0; }) == 1);
  BOOST_TEST(size([](auto x) { return x[0] / 1; }) == 1);
  BOOST_TEST(size([](auto x) { return x[0] + 0; }) == 3);  // -0 + 0 is 0
  BOOST_TEST(size([](auto x) { return x[0] * 0; }) == 3);  // NaN * 0 is NaN
  BOOST_TEST(size([](auto x) { return x[0] - x[0]; }) == 2);
}

BOOST_AUTO_TEST_CASE(dtypes_that_do_not_fit_are_refused) {
  BOOST_TEST(error_of([] {
               record({DType::f64, DType::f32}, [](auto x) { return x[0] + x[1]; });
             }) == "add wants one dtype, got f64 and f32; convert one with astype");
  BOOST_TEST(error_of([] { record({DType::i32}, [](auto x) { return exp(x[0]); }); }) ==
             "exp wants a floating dtype, got i32; convert with astype");
  BOOST_TEST(error_of([] { record({DType::i32}, [](auto x) { return x[0] + 0.5; }); }) ==
             "the number 0.5 does not fit i32; convert the tensor with astype");
  BOOST_TEST(error_of([] { record({DType::boolean}, [](auto x) { return x[0] + 1; }); }) ==
             "add wants numbers, got bool");
  BOOST_TEST(error_of([] { record({DType::f32}, [](auto x) { return logical_not(x[0]); }); }) ==
             "logical_not wants bool, got f32");
  BOOST_TEST(error_of([] {
               record({DType::f32}, [](auto x) { return where(x[0], x[0], x[0]); });
             }) == "where wants a bool condition, got f32");
}

BOOST_AUTO_TEST_CASE(a_formula_may_be_long_but_not_endless) {
  BOOST_TEST(error_of([] {
               record({DType::f64}, [](auto x) {
                 Scalar y = x[0];
                 for (int i = 0; i < 5000; ++i) y = sin(y);
                 return y;
               });
             }).find("at most 4096 instructions, this one has 5001") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(numbers_alone_are_computed_at_once) {
  const Scalar y = exp(Scalar(0)) + Scalar(2);
  BOOST_TEST(y.is_number());
  BOOST_TEST(run(record({DType::f64}, [&](auto x) { return x[0] * y; }), {2.0})[0] == 6);
}

BOOST_AUTO_TEST_CASE(f32_constants_are_rounded_to_f32) {
  const ScalarFn fn = record({DType::f32}, [](auto x) { return x[0] + 0.1; });
  bool found = false;
  for (const ScalarInstr& instr : fn.code()) {
    if (instr.op != ScalarOp::constant) continue;
    found = true;
    BOOST_TEST(std::bit_cast<double>(instr.bits) == static_cast<double>(0.1f));
  }
  BOOST_TEST(found);
}

BOOST_AUTO_TEST_CASE(equal_programs_are_equal_values) {
  const Formula f = [](auto x) { return tanh(x[0]) * x[1]; };
  const std::vector<DType> dtypes = {DType::f64, DType::f64};
  BOOST_TEST((record(dtypes, f) == record(dtypes, f)));
  BOOST_TEST(record(dtypes, f).hash() == record(dtypes, f).hash());
  BOOST_TEST(!(record(dtypes, f) == record(dtypes, [](auto x) { return tanh(x[1]) * x[0]; })));
  BOOST_TEST(!(record(dtypes, [](auto x) { return x[0] * 0.0; }) ==
               record(dtypes, [](auto x) { return x[0] * -0.0; })));
  const Formula not_a_number = [](auto x) {
    return x[0] + std::numeric_limits<double>::quiet_NaN();
  };
  BOOST_TEST((record(dtypes, not_a_number) == record(dtypes, not_a_number)));
}

BOOST_AUTO_TEST_CASE(a_derivative_is_a_program_over_inputs_results_and_adjoints,
                     *boost::unit_test::tolerance(1e-14)) {
  const ScalarFn fn = record({DType::f64, DType::f64}, [](auto x) { return x[0] * x[0] * x[1]; });
  const int both[] = {0, 1};
  const ScalarFn d = derivative(fn, both);
  BOOST_TEST(d.inputs().size() == 4);
  const std::vector<double> g = run(d, {3, 5, 45, 2});
  BOOST_TEST(g[0] == 2.0 * 2 * 3 * 5);
  BOOST_TEST(g[1] == 2.0 * 9);
}

BOOST_AUTO_TEST_CASE(nested_branches_not_taken_add_exactly_zero) {
  const ScalarFn fn = record({DType::f64}, [](auto x) {
    return where(x[0] > 0, where(x[0] > 1, log(x[0] - 1), sqrt(x[0])), reciprocal(x[0] + 1));
  });
  const int first[] = {0};
  const ScalarFn d = derivative(fn, first);
  const auto slope = [&](double x) { return run(d, {x, run(fn, {x})[0], 1})[0]; };
  BOOST_TEST(slope(0) == -1);   // sqrt and log are infinite there
  BOOST_TEST(slope(1) == 0.5);  // log'(0) is infinite
  BOOST_TEST(slope(3) == 0.5);
  BOOST_TEST(std::isinf(slope(-1)));
}

// So a program that keeps the value need not keep the argument.
BOOST_AUTO_TEST_CASE(a_slope_that_the_value_tells_is_read_from_the_value) {
  const int first[] = {0};
  constexpr Scalar (*functions[])(Scalar) = {exp, expm1, reciprocal, sqrt, tanh, sigmoid, relu};
  for (const auto function : functions) {
    const ScalarFn fn = record({DType::f32}, [&](auto x) { return function(x[0]); });
    const ScalarFn d = derivative(fn, first);
    for (const ScalarInstr& instr : d.code())
      BOOST_TEST((instr.op != ScalarOp::input || instr.bits != 0), to_string(d));
  }
}

BOOST_AUTO_TEST_CASE(relu_sends_nothing_where_it_is_not_above_zero) {
  const ScalarFn fn = record({DType::f64}, [](auto x) { return relu(x[0]); });
  const int first[] = {0};
  const ScalarFn d = derivative(fn, first);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto sent = [&](double x) { return run(d, {x, run(fn, {x})[0], infinity})[0]; };
  for (const double x : {-1.0, -0.0, 0.0, -infinity, std::numeric_limits<double>::quiet_NaN()})
    BOOST_TEST(sent(x) == 0);
  BOOST_TEST(sent(std::numeric_limits<double>::denorm_min()) == infinity);
}

BOOST_AUTO_TEST_CASE(every_result_sends_its_own_adjoint) {
  ScalarRecorder recorder(std::vector<DType>{DType::f64});
  const Scalar x = recorder.input(0), y = exp(x);
  const Scalar results[] = {y, y * y, x};
  const ScalarFn fn = recorder.finish(results);
  const int first[] = {0};
  const std::vector<double> at = run(fn, {0.0});
  const std::vector<double> g = run(derivative(fn, first), {0.0, at[0], at[1], at[2], 1, 10, 100});
  BOOST_TEST(g[0] == 1 + 10 * 2 + 100);
}

BOOST_AUTO_TEST_CASE(a_program_is_printed_one_line_per_instruction) {
  const std::string text = to_string(record({DType::f32}, [](auto x) { return exp(x[0]); }));
  BOOST_TEST(text.find("exp %0 : f32") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
