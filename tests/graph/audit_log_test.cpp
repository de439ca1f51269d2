// Logs of softmax, sigmoid and whatever offers a log of its own: rewritten before gradients, and
// told.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>

#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

using Kind = AuditEntry::Kind;

// @n stands for "audit_log_test.cpp:<first + n>".
std::string with_lines(std::string text, int first) {
  for (std::size_t at = text.find('@'); at != std::string::npos; at = text.find('@', at + 1)) {
    const int line = first + (text[at + 1] - '0');
    text.replace(at, 2, "audit_log_test.cpp:" + std::to_string(line));
  }
  return text;
}

// The same value twice; the log of each is told to be 7 and means the first.
struct Twin {
  static constexpr std::string_view name = "twin";
  bool operator==(const Twin&) const = default;
  std::vector<TensorType> infer(Types in) const { return {in[0], in[0]}; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0) + b.dy(1) * 2.0}; }
  std::vector<Expr> expand(std::span<const Expr> in) const { return {in[0], in[0] * 2.0}; }
  Expr log(std::span<const Expr> in) const { return in[0] * 0.0 + 7.0; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(audit_log)

using blockgrad::audit;

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

BOOST_AUTO_TEST_SUITE_END()
