#pragma once
// The system calls of a file's replacement, made to fail on purpose. While armed, call number `at`
// of those that this header counts answers `error`; 0 only counts.

#include <cstddef>

namespace data_test {

enum class Failure { none, error, short_write, interrupted };

struct FailingCalls {
  int at = 0;
  int error = 0;
  Failure failure = Failure::none;
  int count = 0;
  const char* failed = "";  // the name of the call that failed
};

/// Arms the wrappers of this thread until it is destroyed.
class Armed {
 public:
  explicit Armed(FailingCalls& calls);
  ~Armed();
  Armed(const Armed&) = delete;
  Armed& operator=(const Armed&) = delete;
};

}  // namespace data_test
