// The audit of gradients: every finding with op, scope and line, all at once.
#include "blockgrad/graph/audit.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <stdexcept>
#include <string>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

using Kind = AuditEntry::Kind;

template <class Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

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

// The same value twice; the log of each is told to be 7 and means the first.
struct Twin {
  static constexpr std::string_view name = "twin";
  bool operator==(const Twin&) const = default;
  std::vector<TensorType> infer(Types in) const { return {in[0], in[0]}; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0) + b.dy(1) * 2.0}; }
  std::vector<Expr> expand(std::span<const Expr> in) const { return {in[0], in[0] * 2.0}; }
  Expr log(std::span<const Expr> in) const { return in[0] * 0.0 + 7.0; }
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

BOOST_AUTO_TEST_CASE(the_log_of_a_softmax_has_a_finite_value_and_gradient) {
  const int line = __LINE__ + 1;
  const Expr x = input("x", {3});
  const Expr y = sum(log(softmax(x)) * constant(tensor({1.0f, 0.0f, 2.0f}, {3})));
  const Expr wrt[] = {x};
  const Audit found = audit(y, wrt);
  BOOST_TEST(found.ok());
  BOOST_TEST(found.entries.size() == 1);
  BOOST_TEST((found.entries[0].kind == Kind::rewritten));
  BOOST_TEST(
      found.entries[0].text ==
      with_lines("log (@1): the log of softmax (@1) is differentiated as log_softmax", line));
  const Tensor at = tensor({1e4f, -1e4f, 0.0f}, {3});
  const Expr better = sum(log_softmax(x) * constant(tensor({1.0f, 0.0f, 2.0f}, {3})));
  const Tensor g = evaluate(grad(y, wrt)[0], {{x, at}});
  const Tensor expected = evaluate(grad(better, wrt)[0], {{x, at}});
  for (int i = 0; i < 3; ++i) BOOST_TEST(g.at(i) == expected.at(i));
  BOOST_TEST(evaluate(y, {{x, at}}).at(0) == evaluate(better, {{x, at}}).at(0));
  BOOST_TEST(std::isfinite(evaluate(y, {{x, at}}).at(0)));
}

BOOST_AUTO_TEST_CASE(the_log_of_a_sigmoid_has_a_finite_value_and_gradient) {
  const Expr x = input("x", {2}, DType::f64);
  const Expr y = sum(log(sigmoid(x)));
  const Tensor at = tensor({-1e4, 3.0}, {2});
  const Tensor g = evaluate(grad(y, {x})[0], {{x, at}});
  BOOST_TEST(g.at(0) == 1);
  BOOST_TEST(std::abs(g.at(1) - 1 / (1 + std::exp(3.0))) < 1e-15);
  const double expected = -1e4 - std::log1p(std::exp(-3.0));
  BOOST_TEST(evaluate(y, {{x, at}}).at(0) == expected, boost::test_tools::tolerance(1e-15));
}

BOOST_AUTO_TEST_CASE(a_gradient_by_the_inside_of_a_log_is_left_alone) {
  const Expr x = input("x", {2}, DType::f64);
  const Expr p = softmax(x), l = log(p), y = sum(l * l);
  const Tensor at = tensor({0.5, -0.25}, {2});
  const std::vector<Expr> both = grad(y, {p, x});
  const double p0 = evaluate(p, {{x, at}}).at(0);
  BOOST_TEST(evaluate(both[0], {{x, at}}).at(0) == 2 * std::log(p0) / p0,
             boost::test_tools::tolerance(1e-12));
  const std::vector<Expr> by_log = grad(y, {l});
  BOOST_TEST(evaluate(by_log[0], {{x, at}}).at(0) == 2 * std::log(p0),
             boost::test_tools::tolerance(1e-12));
  // What lies behind a rewritten log is asked for by the same name.
  const Expr square_of = l * l, total = sum(square_of);
  const std::vector<Expr> behind = grad(total, {square_of, x});
  BOOST_TEST(evaluate(behind[0], {{x, at}}).at(1) == 1);
  const double expected = evaluate(both[1], {{x, at}}).at(0);
  BOOST_TEST(evaluate(behind[1], {{x, at}}).at(0) == expected, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(the_log_of_a_second_result_is_a_plain_log) {
  const Expr x = input("x", {}, DType::f64);
  const std::vector<Expr> both = make_all(Twin{}, {x});
  for (int r = 0; r < 2; ++r) {
    const Expr y = log(both[static_cast<std::size_t>(r)]);
    BOOST_TEST(evaluate(y, {{x, full({}, 3, DType::f64)}}).at(0) == std::log(3.0 * (r + 1)),
               boost::test_tools::tolerance(1e-15));
    BOOST_TEST(audit(y, {&x, 1}).entries.empty());
  }
}

BOOST_AUTO_TEST_CASE(a_checkpoint_does_not_hide_what_a_log_is_taken_of) {
  const int line = __LINE__ + 2;
  const Expr x = input("x", {3});
  const Expr p = checkpoint(checkpoint(softmax(x))), y = sum(log(p));
  const Expr better = sum(log_softmax(x));
  const Tensor at = tensor({1e4f, -1e4f, 0.0f}, {3});
  const Audit found = audit(y, {&x, 1});
  BOOST_TEST(
      to_string(found) ==
      with_lines("log (@0): the log of softmax (@0) is differentiated as log_softmax\n", line));
  BOOST_TEST(evaluate(y, {{x, at}}).at(0) == evaluate(better, {{x, at}}).at(0));
  const Tensor g = evaluate(grad(y, {x})[0], {{x, at}});
  const Tensor expected = evaluate(grad(better, {x})[0], {{x, at}});
  for (int i = 0; i < 3; ++i) BOOST_TEST(g.at(i) == expected.at(i));
  const Expr wrt[] = {p, x};  // asked for: left alone
  BOOST_TEST(audit(y, wrt).entries.empty());
}

BOOST_AUTO_TEST_CASE(a_gradient_by_the_log_itself_leaves_those_behind_it_finite) {
  const Expr x = input("x", {3});
  const Expr l = log(softmax(x)), y = sum(l * constant(tensor({1.0f, 0.0f, 2.0f}, {3})));
  const Tensor at = tensor({1e4f, -1e4f, 0.0f}, {3});
  const std::vector<Expr> g = grad(y, {l, x});
  const Tensor by_log = evaluate(g[0], {{x, at}}), by_x = evaluate(g[1], {{x, at}});
  const Tensor expected = evaluate(grad(y, {x})[0], {{x, at}});
  for (int i = 0; i < 3; ++i) {
    BOOST_TEST(by_log.at(i) == (i == 0 ? 1 : i == 1 ? 0 : 2));
    BOOST_TEST(by_x.at(i) == expected.at(i));
    BOOST_TEST(std::isfinite(by_x.at(i)));
  }
}

BOOST_AUTO_TEST_CASE(logs_inside_of_logs_are_all_rewritten) {
  const Expr x = input("x", {2}), w = parameter(full({2}, 0.5), "w");
  const Expr h = log(softmax(x)) * w, y = sum(log(softmax(h)));
  const Tensor at = tensor({200.0f, -200.0f}, {2});
  const Expr wrt[] = {x, h, w};
  BOOST_TEST(audit(y, wrt).entries.size() == 2);
  const Expr better_h = log_softmax(x) * w;
  const std::vector<Expr> g = grad(y, wrt);
  const std::vector<Expr> expected = grad(sum(log_softmax(better_h)), {x, better_h, w});
  for (std::size_t k = 0; k < g.size(); ++k) {
    const Tensor got = evaluate(g[k], {{x, at}}), wanted = evaluate(expected[k], {{x, at}});
    for (int i = 0; i < 2; ++i) BOOST_TEST(got.at(i) == wanted.at(i));
  }
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
