// Maps whose results are made where a join puts them, as columns of a larger value: equal bits.
#include <boost/test/unit_test.hpp>
#include <cmath>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor waves(const Shape& shape, DType dtype, int seed) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(1.5 + std::sin(1.7 * static_cast<double>(i) + seed));
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

// Rows of five Maps that become one kernel: functions, a product's neighbour, a number.
std::vector<Expr> joined(const Shape& shape, DType dtype) {
  const Expr x = parameter(waves(shape, dtype, 1), "x"), y = parameter(waves(shape, dtype, 2), "y");
  const Expr z = parameter(waves(shape, dtype, 3), "z"), s = parameter(waves({}, dtype, 4), "s");
  const Expr u = x * y, v = u + z;
  const Expr all = concat({log(u), v, sqrt(v) * s, broadcast_to(exp(s), shape), u / z}, -1);
  return {all, sum(all * all), v * 2.0};
}

std::vector<Tensor> values(const std::vector<Expr>& outputs, const CompileOptions& options) {
  const std::vector<Output> wanted(outputs.begin(), outputs.end());
  Program program = compile(wanted, {}, cpu(), options);
  const Results made = program.run();
  std::vector<Tensor> all;
  for (std::size_t i = 0; i < outputs.size(); ++i) all.push_back(made.tensor(static_cast<int>(i)));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(joined_maps)

BOOST_AUTO_TEST_CASE(columns_made_in_place_have_the_bits_of_copied_ones) {
  for (const Shape& shape : {Shape{8, 64}, Shape{3, 5, 80}, Shape{1, 256}, Shape{96, 128},
                             Shape{7, 1040}, Shape{0, 64}}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const std::vector<Expr> outputs = joined(shape, dtype);
      const std::vector<Tensor> expected =
          values(outputs, {.skip = {"fuse_maps"}, .threads = 1, .reuse_memory = false});
      BOOST_TEST(same_bits(values(outputs, {.threads = 1}), expected));
      BOOST_TEST(same_bits(values(outputs, {.threads = 3}), expected));
      BOOST_TEST(same_bits(values(outputs, {.skip = {"fuse_maps"}}), expected));
      BOOST_TEST(same_bits(values(outputs, {.check_numerics = true}), expected));
      for (const Isa isa : {Isa::portable, Isa::avx2, Isa::neon}) {
        if (is_supported(isa))
          BOOST_TEST(same_bits(values(outputs, {.isa = std::string(isa_name(isa))}), expected));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_report_says_so) {
  const Expr x = parameter(waves({8, 64}, DType::f32, 1), "x");
  const Program program = compile({concat({exp(x), sin(x)}, 1)}, {}, cpu(), {.threads = 1});
  BOOST_TEST(contains(program.explain(), "2 parts into [8, 128], made in place"));
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_in_a_column_is_named) {
  const Expr x = input("x", {8, 64});
  Tensor bad = waves({8, 64}, DType::f32, 1);
  Program program = compile({concat({exp(x), log(x)}, 1)}, {}, cpu(), {.check_numerics = true});
  program.run({{x, bad}});
  const Expr zero = where(equal(x, x), x * 0.0f, x);
  Program failing = compile({concat({exp(x), log(zero)}, 1)}, {}, cpu(), {.check_numerics = true});
  const std::string message = error_of([&] { failing.run({{x, bad}}); });
  BOOST_TEST(contains(message, "log"), message);
  BOOST_TEST(contains(message, "-inf"), message);
}

BOOST_AUTO_TEST_SUITE_END()
