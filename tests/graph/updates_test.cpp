// Updates: one new value per leaf, chains, joins and what is refused.
#include "blockgrad/graph/updates.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/ops/elementwise.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

struct Leaves {
  Expr w = parameter(zeros({2}), "w"), s = state(zeros({}), "s"), x = input("x", {2});
};

}  // namespace

BOOST_AUTO_TEST_SUITE(updates)

BOOST_AUTO_TEST_CASE(two_values_for_one_leaf_are_an_error_with_both_lines) {
  const Leaves l;
  Updates u;
  u.set(l.w, exp(l.x));
  const std::string text = error_of([&] { u.set(l.w, tanh(l.x)); });
  BOOST_TEST(contains(text, "parameter 'w' (updates_test.cpp:"), text);
  BOOST_TEST(contains(text, "gets two new values: from exp (updates_test.cpp:"), text);
  BOOST_TEST(contains(text, "and from tanh (updates_test.cpp:"), text);
  BOOST_TEST(u.all().size() == 1);
}

BOOST_AUTO_TEST_CASE(the_same_value_twice_is_one_update) {
  const Leaves l;
  const Expr y = exp(l.x);
  Updates u;
  u.set(l.w, y).set(l.w, y);
  BOOST_TEST(u.all().size() == 1);
  BOOST_TEST(contains(error_of([&] { u.set(l.w, y, l.s > 0.0); }), "gets two new values"));
}

BOOST_AUTO_TEST_CASE(repeated_changes_chain_through_the_latest_value) {
  const Leaves l;
  Updates u;
  BOOST_TEST((u.latest(l.w) == l.w));
  u.chain(l.w, u.latest(l.w) + l.x);
  const Expr first = u.latest(l.w);
  u.chain(l.w, first * 2.0);
  BOOST_TEST(u.all().size() == 1);
  BOOST_TEST((u.latest(l.w) != first));
}

BOOST_AUTO_TEST_CASE(joined_updates_hold_both_and_refuse_conflicts) {
  const Leaves l;
  const Updates a = Updates().set(l.w, exp(l.x)), b = Updates().set(l.s, l.s + 1.0);
  BOOST_TEST((a + b).all().size() == 2);
  BOOST_TEST((a + Updates()).all().size() == 1);
  const Updates c = Updates().set(l.w, l.x);
  BOOST_TEST(contains(error_of([&] { a + c; }), "gets two new values"));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_an_update_is_refused) {
  const Leaves l;
  Updates u;
  BOOST_TEST(
      contains(error_of([&] { u.set(l.x, l.x); }), "only parameters and states can be updated"));
  BOOST_TEST(contains(error_of([&] { u.set(l.w, l.s); }),
                      "holds f32[2], its new value from state 's' (updates_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { u.set(l.w, l.x, l.s); }),
                      "the guard of parameter 'w' (updates_test.cpp:"));
  BOOST_TEST(contains(error_of([&] { u.set(l.w, l.x, l.x > 0.0); }), "must be a bool scalar"));
  BOOST_TEST(contains(error_of([&] { u.set(l.w, Expr()); }), "an update needs a leaf and a value"));
  BOOST_TEST(contains(error_of([&] { u.set(Expr(), l.x); }), "an update needs a leaf and a value"));
  BOOST_TEST(u.empty());
}

BOOST_AUTO_TEST_SUITE_END()
