// The checks of rows: what they must not let through.
#include "tests/support/op_try.h"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

// No gradient for its only input, declared or not.
template <bool declared>
struct Wall {
  static constexpr std::string_view name = "wall";
  bool operator==(const Wall&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
  bool not_differentiable(int) const { return declared; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(op_try)

BOOST_AUTO_TEST_CASE(an_infinity_is_met_by_itself_alone) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double expected : {inf, -inf}) {
    BOOST_TEST(op_check::is_near(expected, expected, 1e-6));
    for (const double got : {0.0, 1e300, -expected, nan})
      BOOST_TEST(!op_check::is_near(got, expected, 1e-6), got << " for " << expected);
  }
  BOOST_TEST(op_check::is_near(nan, nan, 0));
  BOOST_TEST(!op_check::is_near(inf, 1, 1e-6));
  BOOST_TEST(!op_check::is_near(nan, 1, 1e-6));
  BOOST_TEST(op_check::is_near(100.001, 100, 1e-4));
  BOOST_TEST(!op_check::is_near(100.1, 100, 1e-4));
}

BOOST_AUTO_TEST_CASE(a_missing_gradient_is_not_taken_for_none) {
  const Expr x = input("x", {}, DType::f64);
  BOOST_TEST(op_check::mistake_in_no_gradient(make(Wall<true>{}, {x}), x) == "");
  BOOST_TEST(op_check::mistake_in_no_gradient(make(Wall<false>{}, {x}), x)
                 .ends_with("and does not declare that"));
  BOOST_TEST(op_check::mistake_in_no_gradient(x * 2.0, x).starts_with("a gradient reaches input"));
}

BOOST_AUTO_TEST_SUITE_END()
