#pragma once
// The heap of this test binary: counts what is taken, and makes the N-th allocation fail.

#include <cstdint>

namespace heap {

/// Allocations since the start of the process: operator new in every form, and malloc where no
/// sanitizer owns it.
std::int64_t allocations();

/// While it lives, allocation number `at` (from 1) of this thread by operator new fails; once, or
/// that and all later ones.
class Failing {
 public:
  explicit Failing(std::int64_t at, bool for_good = false);
  ~Failing();
  Failing(const Failing&) = delete;
  Failing& operator=(const Failing&) = delete;
  /// Whether it came that far.
  bool has_failed() const;
};

}  // namespace heap
