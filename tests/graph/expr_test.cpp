// Handles and leaves: identity, types, values and lifetime.
#include "blockgrad/graph/expr.h"

#include <boost/test/unit_test.hpp>
#include <set>
#include <thread>
#include <unordered_set>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/op.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

// Two results, and a count of how many of it live.
struct Halves {
  static constexpr std::string_view name = "halves";
  std::shared_ptr<int> alive;
  bool operator==(const Halves&) const = default;
  std::vector<TensorType> infer(Types in) const { return {in[0], in[0]}; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0)}; }
};

// No result, or one that its expand gives as something else.
struct Nothing {
  static constexpr std::string_view name = "nothing";
  bool operator==(const Nothing&) const = default;
  std::vector<TensorType> infer(Types) const { return {}; }
  std::vector<Expr> vjp(const Backward&) const { return {}; }
};

// Its type rule throws what an author's code throws.
struct Careless {
  static constexpr std::string_view name = "careless";
  bool operator==(const Careless&) const = default;
  TensorType infer(Types in) const { return std::vector<TensorType>(in.begin(), in.end()).at(1); }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0)}; }
};

struct Crooked {
  static constexpr std::string_view name = "crooked";
  int how = 0;
  bool operator==(const Crooked&) const = default;
  std::vector<TensorType> infer(Types in) const { return {in[0], in[0]}; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy(0)}; }
  std::vector<Expr> expand(std::span<const Expr> in) const {
    if (how == 0) return {in[0]};
    if (how == 1) return {in[0], sum(in[0])};
    if (how == 2) return {in[0], astype(in[0], DType::f64)};
    if (how == 3) return {in[0], Expr()};
    return {in[0], in[0]};
  }
};

template <class T>
concept Comparable = requires(T a, T b) { where(a == b, a, b); };
static_assert(!Comparable<Expr>, "== on Expr is identity and must not slip into where");
static_assert(OpLike<Halves>);

}  // namespace

BOOST_AUTO_TEST_SUITE(expr)

BOOST_AUTO_TEST_CASE(equality_is_identity) {
  const Expr x = input("x", {2}), y = exp(x), z = exp(x), copy = y;
  BOOST_TEST((y == copy));
  BOOST_TEST((y != z));
  const std::unordered_set<Expr> set = {x, y, z, copy};
  BOOST_TEST(set.size() == 3);
}

BOOST_AUTO_TEST_CASE(results_of_one_node_are_told_apart) {
  const Expr x = input("x", {2});
  const std::vector<Expr> both = make_all(Halves{}, {x});
  BOOST_TEST(both.size() == 2);
  BOOST_TEST((both[0] != both[1]));
  BOOST_TEST((both[0].node() == both[1].node()));
}

BOOST_AUTO_TEST_CASE(a_node_lives_as_long_as_something_refers_to_it) {
  const auto alive = std::make_shared<int>(0);
  {
    Expr kept;
    {
      const Expr x = input("x", {2});
      kept = exp(make(Halves{alive}, {x}));
      BOOST_TEST(alive.use_count() == 2);
    }
    BOOST_TEST(alive.use_count() == 2);
    Expr moved = std::move(kept);
    BOOST_TEST(!kept);
    kept = moved;
    kept = Expr(kept);
    BOOST_TEST(alive.use_count() == 2);
    std::thread([last = std::move(moved)]() mutable { last = Expr(); }).join();
    BOOST_TEST(alive.use_count() == 2);
  }
  BOOST_TEST(alive.use_count() == 1);
}

BOOST_AUTO_TEST_CASE(values_outside_of_runs_belong_to_storage_and_constants_alone) {
  const Expr p = parameter(tensor({1.f, 2.f}, {2}), "p"), s = state(zeros({}, DType::i64), "s"),
             c = constant(ones({3}));
  BOOST_TEST(p.value().at(1) == 2);
  BOOST_TEST(c.value().at(2) == 1);
  p.set_value(tensor({5.f, 6.f}, {2}));
  BOOST_TEST(p.value().at(0) == 5);
  const Tensor old = p.value();
  p.set_value(zeros({2}));
  BOOST_TEST(old.at(0) == 5);
  BOOST_TEST(is_parameter(p));
  BOOST_TEST(!is_parameter(s));
  BOOST_TEST(leaf_name(s) == "s");
  BOOST_TEST(error_of([&] { p.set_value(zeros({3})); }) ==
             describe(p) + " holds f32[2], got f32[3]");
  BOOST_TEST(error_of([&] {
               exp(p).value();
             }).find("only parameters, states and constants have a value outside of a run") !=
             std::string::npos);
  BOOST_TEST(error_of([&] {
               c.set_value(ones({3}));
             }).find("only parameters and states can be written") != std::string::npos);
  BOOST_TEST(error_of([&] { Expr().value(); }) == "an empty Expr has no value");
  BOOST_TEST(error_of([&] { Expr().set_value(ones({3})); }).find("an empty Expr") == 0);
  BOOST_TEST(error_of([&] { Expr().type(); }) == "an empty Expr has no type");
}

BOOST_AUTO_TEST_CASE(leaves_want_names_and_parameters_a_floating_dtype) {
  BOOST_TEST(error_of([] { input("", {}); }).find("an input needs a name (expr_test.cpp:") == 0);
  BOOST_TEST(error_of([] {
               parameter(zeros({}), "");
             }).find("a parameter needs a name (expr_test.cpp:") == 0);
  BOOST_TEST(error_of([] { state(zeros({}), ""); }).find("a state needs a name (expr_test.cpp:") ==
             0);
  BOOST_TEST(error_of([] {
               parameter(zeros({}, DType::i32), "k");
             }).find("must be floating, got i32") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_empty_argument_is_an_error_of_the_op_that_got_it) {
  const Expr x = input("x", {2}), empty;
  const std::string text = error_of([&] { make(Halves{}, {empty}); });
  BOOST_TEST(text.find("halves (expr_test.cpp:") == 0, text);
  BOOST_TEST(text.find("input 0 is an empty Expr") != std::string::npos, text);
  BOOST_TEST(error_of([&] { add(x, empty); }) != "no error");
}

BOOST_AUTO_TEST_CASE(an_op_without_results_is_refused) {
  const std::string text = error_of([] { make(Nothing{}, {}); });
  const std::string line = std::to_string(__LINE__ - 1);
  BOOST_TEST(text == "nothing (expr_test.cpp:" + line + "): its infer gives no result");
}

BOOST_AUTO_TEST_CASE(what_a_type_rule_throws_is_told_with_op_and_line) {
  const std::string text = error_of([] { make(Careless{}, {input("x", {2})}); });
  const std::string line = std::to_string(__LINE__ - 1);
  BOOST_TEST(text.starts_with("careless (expr_test.cpp:" + line + "): "), text);
}

BOOST_AUTO_TEST_CASE(an_expansion_of_other_results_than_inferred_is_told_with_op_and_line) {
  const Expr x = input("x", {2});
  const auto compiled = [&](int how) {
    return error_of([&] { compile({make(Crooked{how}, {x})}); });
  };
  const std::string start = "crooked (expr_test.cpp:" + std::to_string(__LINE__ - 2) + "): ";
  const std::string said = ", its infer said f32[2], f32[2]";
  BOOST_TEST(compiled(0) == start + "its expand gives f32[2]" + said);
  BOOST_TEST(compiled(1) == start + "its expand gives f32[2], f32[]" + said);
  BOOST_TEST(compiled(2) == start + "its expand gives f32[2], f64[2]" + said);
  BOOST_TEST(compiled(3) == start + "its expand gives f32[2], an empty Expr" + said);
  BOOST_TEST(compiled(4) == "no error");
}

BOOST_AUTO_TEST_SUITE_END()
