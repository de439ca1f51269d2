#pragma once
// What a refused call must say: op, the caller's line, the fact.

#include <boost/test/unit_test.hpp>
#include <functional>
#include <source_location>
#include <string>

#include "tests/support/checks.h"

/// The message of `call` reads "<op> (<the test's file>:<line>): <fact>".
inline void check_refusal(const std::function<void()>& call, const std::string& op,
                          const std::string& fact,
                          std::source_location where = std::source_location::current()) {
  const std::string path = where.file_name(), text = test_support::error_of(call);
  BOOST_TEST(text.starts_with(op + " (" + path.substr(path.rfind('/') + 1) + ":"), text);
  BOOST_TEST(text.ends_with("): " + fact), text);
}
