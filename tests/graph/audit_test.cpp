// The audit of gradients: every finding with op, scope and line, all at once.
#include "blockgrad/graph/audit.h"

#include <boost/test/unit_test.hpp>
#include <stdexcept>
#include <string>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// @n stands for "audit_test.cpp:<first + n>".
std::string with_lines(std::string text, int first) {
  for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at + 1)) {
    const int line = first + (text[at + 1] - '0');
    text.replace(at, 2, "audit_test.cpp:" + std::to_string(line));
  }
  return text;
}

// No gradient for its second input, declared or not; for the first one that of an identity.
template <bool declared>
struct Half {
  static constexpr std::string_view name = "half";
  bool operator==(const Half&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(), Expr()}; }
  bool not_differentiable(int input) const { return declared && input == 1; }
};

// A rule that throws.
struct Refusing {
  static constexpr std::string_view name = "refusing";
  bool operator==(const Refusing&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { fail({"only for even numbers"}); }
};

struct TooMany {
  static constexpr std::string_view name = "too_many";
  bool operator==(const TooMany&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(), b.dy()}; }
};

// The greatest element as a number and its place, or with a rule that is a plain exception.
template <bool throws>
struct Greatest {
  static constexpr std::string_view name = "greatest";
  bool operator==(const Greatest&) const = default;
  std::vector<TensorType> infer(Types in) const { return {{in[0].dtype, {}}, {DType::i32, {}}}; }
  std::vector<Expr> vjp(const Backward& b) const {
    if (throws) throw std::out_of_range("no such row");
    return {broadcast_to(b.dy(0), b.input(0).shape())};
  }
};

std::vector<Expr> pass_on(const Backward& b) { return {b.dy()}; }

// A rule whose own op is built wrongly.
std::vector<Expr> pass_matmul(const Backward& b) { return {matmul(b.dy(), b.dy())}; }

Expr scalar(const std::string& name, SourceLoc where = SourceLoc::here()) {
  return parameter(ones({}), name, where);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(audit)

using blockgrad::audit;

BOOST_AUTO_TEST_CASE(a_graph_without_obstacles_has_nothing_to_tell) {
  const Expr w = scalar("w");
  const Audit found = audit(square(w) + exp(w));
  BOOST_TEST(found.entries.empty());
  BOOST_TEST(found.ok());
  BOOST_TEST(to_string(found) == "every wanted value gets a gradient\n");
}

BOOST_AUTO_TEST_CASE(parameters_that_the_loss_does_not_reach_are_listed) {
  const int line = __LINE__ + 1;
  const Expr a = scalar("a"), b = scalar("b"), c = scalar("c");
  const Expr all[] = {a, b, c};
  const Audit found = audit(square(b), all);
  BOOST_TEST(!found.ok());
  BOOST_TEST(found.entries.size() == 2);
  BOOST_TEST((found.entries[0].node == a));
  BOOST_TEST(
      to_string(found) ==
      with_lines("no gradient reaches parameter 'a' (@0): square (@2) does not depend on it\n"
                 "no gradient reaches parameter 'c' (@0): square (@2) does not depend on it\n",
                 line));
}

BOOST_AUTO_TEST_CASE(stopped_gradients_are_told_with_both_lines) {
  const int line = __LINE__ + 1;
  const Expr w = scalar("w"), v = scalar("v");
  const Expr still = stop_gradient(exp(w));
  const Expr y = still * v + square(w);
  const Audit found = audit(y);
  BOOST_TEST(found.ok());  // both get a gradient by another path
  BOOST_TEST(to_string(found) ==
             with_lines("stop_gradient (@1): no gradient flows to exp (@1)\n", line));
}

BOOST_AUTO_TEST_CASE(a_parameter_behind_cuts_alone_is_an_error_that_names_them) {
  const int line = __LINE__ + 1;
  const Expr w = scalar("w");
  const Expr y = astype(w > 0.5, DType::f32) + astype(astype(w, DType::i32), DType::f32);
  const Expr z = y + stop_gradient(w);
  const std::string why = with_lines(
      "no gradient reaches parameter 'w' (@0): every path is cut, at stop_gradient (@2), astype "
      "(@1), greater (@1)",
      line);
  const Audit found = audit(z);
  BOOST_TEST(found.has_errors());
  BOOST_TEST(found.entries[0].text == why);
  BOOST_TEST(found.entries.size() == 4);
  BOOST_TEST(to_string(found) ==
             why + with_lines("\nstop_gradient (@2): no gradient flows to parameter 'w' (@0)\n"
                              "astype (@1) gives i32: no gradient flows to parameter 'w' (@0)\n"
                              "greater (@1) gives bool: no gradient flows to parameter 'w' (@0)\n",
                              line));
  const int asked = __LINE__ + 1;
  const std::string text = error_of([&] { grad(z, {w}); });
  BOOST_TEST(text == with_lines("gradient of add (@2) asked for at ", line) +
                         "audit_test.cpp:" + std::to_string(asked) + ":\n  " + why);
}

BOOST_AUTO_TEST_CASE(a_missing_rule_is_an_error_when_the_gradient_is_built) {
  const int line = __LINE__ + 1;
  const Expr a = scalar("a"), b = scalar("b"), c = scalar("c");
  const Expr first = make(Half<false>{}, {exp(a), b});
  const Expr second = make(Refusing{}, {first});
  const Expr third = make(TooMany{}, {c});
  const Audit found = audit(second + first + third * a);
  BOOST_TEST(found.entries.size() == 5);
  BOOST_TEST(
      to_string(found) ==
      with_lines(
          "gradient of too_many (@3): the op gave 2 gradients for 1 inputs\n"
          "gradient of refusing (@2): only for even numbers\n"
          "half (@1) has no gradient for input 1, parameter 'b' (@0), and does not declare that\n"
          "no gradient reaches parameter 'b' (@0): every path is cut, at refusing (@2), half (@1)\n"
          "no gradient reaches parameter 'c' (@0): every path is cut, at too_many (@3)\n",
          line));
  const std::string text = error_of([&] { grad(second + first + third * a, {a, b, c}); });
  for (const AuditEntry& entry : found.entries)
    BOOST_TEST(text.find("\n  " + entry.text) != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(a_declared_missing_gradient_is_information) {
  const int line = __LINE__ + 1;
  const Expr a = scalar("a"), b = scalar("b");
  const Expr y = make(Half<true>{}, {a, b}) + b;
  const Audit found = audit(y);
  BOOST_TEST(found.ok());
  BOOST_TEST(
      to_string(found) ==
      with_lines("half (@1) declares no gradient: none flows to parameter 'b' (@0)\n", line));
}

BOOST_AUTO_TEST_CASE(slopes_of_zero_are_told_and_give_zeros) {
  const int line = __LINE__ + 1;
  const Expr w = parameter(full({2}, 1.25), "w");
  const Expr y = sum(round(exp(w)));
  const Audit found = audit(y);
  BOOST_TEST(!found.ok());
  BOOST_TEST(!found.has_errors());
  BOOST_TEST(to_string(found) ==
             with_lines("the gradient of parameter 'w' (@0) is 0: every path goes through round "
                        "(@1)\nround (@1): slope 0 everywhere, the gradient by exp (@1) is 0\n",
                        line));
  const Tensor g = evaluate(grad(y, {w})[0]);
  BOOST_TEST((g.shape() == Shape{2}));
  BOOST_TEST(g.at(1) == 0);
}

BOOST_AUTO_TEST_CASE(integers_have_no_gradient) {
  const Expr i = input("i", {}, DType::i32), w = scalar("w");
  const Expr wrt[] = {i};
  const Audit found = audit(astype(i, DType::f32) * w, wrt);
  BOOST_TEST(found.entries.size() == 1);
  BOOST_TEST(found.entries[0].text.find("it is i32, and only floating values have gradients") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(scopes_stand_in_every_line) {
  const Expr w = scalar("w");
  Expr y;
  {
    const Scope block("block3"), attention("attention");
    y = stop_gradient(w) * w;
  }
  BOOST_TEST(audit(y).entries[0].text.find("block3.attention.stop_gradient (audit_test.cpp:") == 0);
}

BOOST_AUTO_TEST_CASE(a_loss_is_audited_with_all_parameters_of_its_model) {
  const Expr w = scalar("w"), unused = scalar("unused"), x = input("x", {});
  const Expr all[] = {w, unused};
  const Loss loss = mse_loss(w * x, 1.0);
  BOOST_TEST(audit(loss).ok());
  BOOST_TEST(audit(loss, all).entries.size() == 1);
  BOOST_TEST(audit(loss, all).entries[0].text.find("'unused'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_integer_beside_a_floating_result_is_a_cut_where_it_is_used) {
  const int line = __LINE__ + 1;
  const Expr w = parameter(ones({3}), "w");
  const std::vector<Expr> both = make_all(Greatest<false>{}, {w});
  const Expr place = astype(both[1], DType::f32);
  const std::string note =
      with_lines("greatest (@1) gives i32: no gradient flows to parameter 'w' (@0)\n", line);
  BOOST_TEST(to_string(audit(both[0])) == "every wanted value gets a gradient\n");
  BOOST_TEST(to_string(audit(both[0] + place)) == note);
  BOOST_TEST(to_string(audit(place)) ==
             with_lines("no gradient reaches parameter 'w' (@0): every path is cut, at greatest "
                        "(@1)\n",
                        line) +
                 note);
  const Expr wrt[] = {both[0]};
  BOOST_TEST(
      to_string(audit(place, wrt)) ==
      with_lines("no gradient reaches greatest (@1): astype (@2) does not depend on it\n", line));
}

BOOST_AUTO_TEST_CASE(what_a_custom_gradient_leaves_out_is_told) {
  const int line = __LINE__ + 1;
  const Expr u = scalar("u"), v = scalar("v"), w = scalar("w");
  const Expr y = custom_gradient(w * v, {w}, pass_on);
  const Expr told = custom_gradient(w * v * u, {w}, pass_on);
  BOOST_TEST(to_string(audit(y + v)) ==
             with_lines("custom_gradient (@1): no gradient flows to parameter 'v' (@0), which its "
                        "value depends on and its rule's inputs do not\n",
                        line));
  const Expr wrt[] = {w, u, v};
  BOOST_TEST(to_string(audit(told + v + u, wrt)) ==
             with_lines("custom_gradient (@2): no gradient flows to parameter 'u' (@0) and 1 more, "
                        "which its value depends on and its rule's inputs do not\n",
                        line));
  // Nothing is lost where the value depends on what is wanted by the rule's inputs alone.
  const Expr x = exp(w);
  BOOST_TEST(audit(custom_gradient(round(x), {x}, pass_on) + v).entries.empty());
  BOOST_TEST(audit(custom_gradient(w * stop_gradient(v), {w}, pass_on) + v).entries.empty());
}

BOOST_AUTO_TEST_CASE(a_slope_of_zero_behind_a_stop_does_not_count) {
  const int line = __LINE__ + 1;
  const Expr u = scalar("u"), w = scalar("w");
  const Expr y = round(u + stop_gradient(w));
  const Expr z = round(where(w > 0.5, u, 1.0));
  const Expr wrt[] = {w};
  const std::string start =
      with_lines("no gradient reaches parameter 'w' (@0): every path is cut, at ", line);
  BOOST_TEST(audit(y, wrt).entries[0].text == start + with_lines("stop_gradient (@1)", line));
  BOOST_TEST(audit(z, wrt).entries[0].text == start + with_lines("greater (@2)", line));
  BOOST_CHECK_THROW(grad(y, wrt), Error);
  BOOST_TEST(
      audit(y).entries[1].text ==
      with_lines("the gradient of parameter 'u' (@0) is 0: every path goes through round (@1)",
                 line));
}

BOOST_AUTO_TEST_CASE(any_exception_of_a_rule_is_told_with_its_op_once) {
  const int line = __LINE__ + 1;
  const Expr w = parameter(ones({2, 3}), "w");
  const Expr thrown = make_all(Greatest<true>{}, {w})[0];
  const Expr crooked = custom_gradient(w, {w}, pass_matmul);
  BOOST_TEST(audit(thrown).entries[0].text ==
             with_lines("gradient of greatest (@1): no such row", line));
  BOOST_TEST(audit(crooked).entries[0].text ==
             with_lines("gradient of custom_gradient (@2): inner sizes differ: [2, 3] x [2, 3]; "
                        "the second operand would fit with {.transpose_b = true}",
                        line));
}

BOOST_AUTO_TEST_CASE(a_question_without_meaning_is_refused) {
  BOOST_TEST(error_of([] { audit(Expr()); }).find("the gradient of an empty Expr") == 0);
  const Expr i = input("i", {}, DType::i32);
  BOOST_TEST(error_of([&] { audit(i); }).find("it must be floating, it is i32[]") !=
             std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
