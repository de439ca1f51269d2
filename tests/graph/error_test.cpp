// Errors: messages, source lines and scopes.
#include "blockgrad/graph/error.h"

#include <boost/test/unit_test.hpp>
#include <thread>

#include "blockgrad/graph/dtype.h"
#include "blockgrad/graph/expr.h"
#include "blockgrad/graph/shape.h"
#include "blockgrad/ops/elementwise.h"

using namespace blockgrad;

BOOST_AUTO_TEST_SUITE(error)

BOOST_AUTO_TEST_CASE(a_message_joins_text_numbers_shapes_and_dtypes) {
  BOOST_TEST(join({"a ", 3, " b ", std::int64_t{-4}, " ", 0.5, " ", Shape{2, 3}, " ", DType::i64,
                   std::size_t{7}}) == "a 3 b -4 0.5 [2, 3] i647");
}

BOOST_AUTO_TEST_CASE(the_kinds_of_errors_tell_whose_mistake_it_was) {
  BOOST_CHECK_THROW(require(false, "x"), Error);
  BOOST_CHECK_NO_THROW(require(true, "x"));
  BOOST_CHECK_EXCEPTION(
      check_internal(false, "broken ", 3), InternalError, [](const InternalError& e) {
        return std::string(e.what()) == "blockgrad internal error, please report it: broken 3";
      });
}

BOOST_AUTO_TEST_CASE(a_line_is_written_without_folders) {
  BOOST_TEST(to_string(SourceLoc{"/a/b/train.cpp", 41}) == "train.cpp:41");
  BOOST_TEST(to_string(SourceLoc{"train.cpp", 7}) == "train.cpp:7");
  BOOST_TEST(to_string(SourceLoc{}) == "unknown line");
}

BOOST_AUTO_TEST_CASE(scopes_name_nodes_and_nest) {
  const Expr x = input("x", {2});
  Expr outer, inner, outside;
  {
    const Scope a("block3", SourceLoc{"model.cpp", 41});
    outer = exp(x);
    {
      const Scope b("attention");
      inner = exp(x);
    }
  }
  outside = exp(x);
  BOOST_TEST(describe(outer) == "block3.exp (model.cpp:41)");
  BOOST_TEST(describe(inner) == "block3.attention.exp (model.cpp:41)");
  BOOST_TEST(describe(outside).find("exp (error_test.cpp:") == 0, describe(outside));
}

BOOST_AUTO_TEST_CASE(scopes_belong_to_their_thread_and_end_with_an_exception) {
  const Expr x = input("x", {2});
  const Scope here("here");
  std::string there;
  std::thread([&] { there = describe(exp(x)); }).join();
  BOOST_TEST(there.find("here") == std::string::npos);
  try {
    const Scope inside("inside");
    throw Error("out");
  } catch (const Error&) {
  }
  BOOST_TEST(describe(exp(x)).find("here.exp") == 0);
}

BOOST_AUTO_TEST_CASE(an_error_names_scope_op_and_the_users_line) {
  const Expr a = input("a", {2}), b = input("b", {3});
  const Scope scope("layer");
  try {
    static_cast<void>(add(a, b));
    BOOST_TEST(false);
  } catch (const Error& error) {
    const std::string text = error.what();
    BOOST_TEST(text.find("layer.add (error_test.cpp:") == 0, text);
    BOOST_TEST(text.find("shapes do not broadcast: [2] and [3]") != std::string::npos, text);
  }
}

BOOST_AUTO_TEST_SUITE_END()
