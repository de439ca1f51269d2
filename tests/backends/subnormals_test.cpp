// Numbers below the least normal one: kept by default, 0 where a program is told so, and named by a
// profile.
#include "backends/cpu/subnormals.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "graph/scalar_math.h"
#include "tests/support/checks.h"
#include "tests/support/instruction_sets.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr double least = 0x1p-126;

Tensor all_of(const Shape& shape, double value) { return full(shape, value, DType::f32); }

CompileOptions flushing(int threads = 1, const std::string& isa = {}) {
  return {.threads = threads, .isa = isa, .flush_subnormals = true};
}

std::vector<std::uint32_t> bits(const Tensor& values) {
  std::vector<std::uint32_t> list;
  for (std::int64_t i = 0; i < values.size(); ++i)
    list.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(values.at(i))));
  return list;
}

// A product large enough for several threads, of numbers around the least normal one.
struct Product {
  Expr a = input("a", {96, 64}), b = input("b", {64, 80});
  std::vector<Output> outputs{matmul(a, b), a * 0.75, exp(a * 0x1p120) * least};

  std::vector<std::vector<std::uint32_t>> run(const CompileOptions& options,
                                              bool caller_flushes = false) const {
    Program program = compile(outputs, {}, cpu(), options);
    std::vector<float> values;
    for (int i = 0; i < 96 * 64; ++i) values.push_back(static_cast<float>(std::sin(i) * 4 * least));
    const Tensor small = tensor(std::span<const float>(values), {96, 64});
    const Feeds feeds{{a, small}, {b, all_of({64, 80}, 0.25)}};
    const auto run_in_mode = [&] {
      const SubnormalMode mode(caller_flushes);
      return program.run(feeds);
    };
    const Results results = run_in_mode();
    std::vector<std::vector<std::uint32_t>> all;
    for (int i = 0; i < 3; ++i) all.push_back(bits(results.tensor(i)));
    return all;
  }
};

bool has_subnormal(const std::vector<std::uint32_t>& values) {
  for (const std::uint32_t v : values) {
    const std::uint32_t size = v & 0x7fffffff;
    if (size != 0 && size < 0x00800000) return true;
  }
  return false;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(subnormals)

using Floats = std::tuple<float, double>;
BOOST_AUTO_TEST_CASE_TEMPLATE(only_what_is_below_the_least_normal_number_is_flushed, T, Floats) {
  using Limits = std::numeric_limits<T>;
  const T least_normal = Limits::min(), below = least_normal - Limits::denorm_min();
  for (const T sign : {T(1), T(-1)}) {
    BOOST_TEST(math::flush_subnormal(sign * least_normal) == sign * least_normal);
    for (const T x : {below, Limits::denorm_min(), T(0)}) {
      const T y = math::flush_subnormal(sign * x);
      BOOST_TEST((y == 0 && !std::signbit(y)));
    }
    BOOST_TEST(std::isinf(math::flush_subnormal(sign * Limits::infinity())));
  }
  BOOST_TEST(std::isnan(math::flush_subnormal(Limits::quiet_NaN())));
}

BOOST_AUTO_TEST_CASE(a_program_keeps_them_unless_it_is_told_otherwise) {
  const Product product;
  const auto kept = product.run({.threads = 1});
  const auto flushed = product.run(flushing());
  BOOST_TEST(has_subnormal(kept[0]));
  BOOST_TEST(has_subnormal(kept[1]));
  for (const auto& values : flushed) BOOST_TEST(!has_subnormal(values));
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_any_number_of_threads_and_instruction_set) {
  const Product product;
  const auto expected = product.run(flushing());
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2, 3, 7}) {
      const bool is_equal = product.run(flushing(threads, std::string(isa_name(isa)))) == expected;
      BOOST_TEST(is_equal, isa_name(isa) << " on " << threads << " threads");
    }
  }
}

BOOST_AUTO_TEST_CASE(a_subnormal_argument_gives_what_0_gives) {
  const std::pair<const char*, Expr (*)(Arg)> functions[] = {
#define BG_UNARY(name, types, value, adjoint) {#name, name},
#define BG_BINARY(...)
#define BG_PREDICATE(...)
#define BG_COMPARE(...)
#define BG_LOGICAL(...)
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  };
  const std::vector<double> small{4e-45, 1e-40, 1.1e-38};
  for (const auto& [name, function] : functions) {
    for (const Isa isa : supported_isas()) {
      const Expr x = input("x", {40});
      Program program = compile({function(x)}, {}, cpu(), flushing(1, std::string(isa_name(isa))));
      const double zero = program.run({{x, all_of({40}, 0)}}).tensor(0).at(3);
      for (const double value : small) {
        const double y = program.run({{x, all_of({40}, value)}}).tensor(0).at(3);
        // What only moves bits may keep the number.
        const bool is_kept = std::abs(y) < least && zero == 0;
        const bool is_equal = y == zero || (std::isnan(y) && std::isnan(zero));
        BOOST_TEST((is_equal || is_kept), name << '(' << value << ") on " << isa_name(isa) << ": "
                                               << y << ", of 0: " << zero);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(the_callers_arithmetic_stays_as_it_was) {
  Product().run(flushing(2));
  volatile float small = 1e-40f;
  volatile float half = small * 0.5f;
  const float kept = half;
  BOOST_TEST(kept > 0);
}

BOOST_AUTO_TEST_CASE(the_callers_mode_is_not_a_programs) {
  const Product product;
  const auto kept = product.run({.threads = 1});
  for (const int threads : {1, 2, 7}) {
    const bool is_equal = product.run({.threads = threads}, true) == kept;
    BOOST_TEST(is_equal, threads << " threads");
  }
  const SubnormalMode flushes(true);
  {
    const SubnormalMode keeps(false);
    const volatile float small = 1e-40f;
    const volatile float kept_half = small * 0.5f;
    const bool is_kept = std::bit_cast<std::uint32_t>(float{kept_half}) != 0;
    BOOST_TEST(is_kept);
  }
  const volatile float small = 1e-40f;
  const volatile float flushed_half = small * 0.5f;
  const bool is_flushed = std::bit_cast<std::uint32_t>(float{flushed_half}) == 0;
  BOOST_TEST(is_flushed);
}

BOOST_AUTO_TEST_CASE(programs_side_by_side_have_their_own_modes) {
  const Product product;
  const auto kept = product.run({.threads = 1}), flushed = product.run(flushing());
  bool is_kept = true, is_flushed = true;
  std::thread other([&] {
    for (int i = 0; i < 200; ++i) is_flushed = is_flushed && product.run(flushing(2)) == flushed;
  });
  for (int i = 0; i < 200; ++i) is_kept = is_kept && product.run({.threads = 2}) == kept;
  other.join();
  BOOST_TEST(is_kept);
  BOOST_TEST(is_flushed);
}

BOOST_AUTO_TEST_CASE(a_profile_names_the_kernels_that_met_them) {
#if !defined(__x86_64__)
  BOOST_TEST_MESSAGE("skipped: only x86-64 tells");
#else
  for (const int threads : {1, 2}) {
    const Expr a = input("a", {96, 64}), b = input("b", {64, 80});
    const std::vector<Output> outputs{matmul(a, b), sum(tanh(b))};
    Program program = compile(outputs, {}, cpu(), {.threads = threads});
    const auto met = [&](Program& p, double value) {
      const Report& report =
          p.profile({{a, all_of({96, 64}, value)}, {b, all_of({64, 80}, 0.25)}}, 2);
      std::vector<std::string> names;
      for (const NodeReport& node : report.nodes) {
        if (node.met_subnormals) names.push_back(node.node.substr(0, 6));
      }
      return names;
    };
    BOOST_TEST(met(program, 1).empty());
    BOOST_TEST(!contains(program.explain(), "Subnormal numbers"));
    const bool is_matmul = met(program, 1e-40) == std::vector<std::string>{"matmul"};
    BOOST_TEST(is_matmul);
    BOOST_TEST(contains(program.explain(), "kernel 0,"));
    BOOST_TEST(met(program, 0).empty());
    Program flushed = compile(outputs, {}, cpu(), flushing(threads));
    BOOST_TEST(met(flushed, 1e-40).empty());
    BOOST_TEST(contains(flushed.explain(), "math exact, subnormals as 0"));
    BOOST_TEST(flushed.report().flushes_subnormals);
  }
#endif
}

BOOST_AUTO_TEST_SUITE_END()
