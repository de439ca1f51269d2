#pragma once
// What each row has checked, for the table of ops in docs/ops.md.

#include <cstdint>
#include <set>
#include <string>

#include "tests/support/op_case.h"

namespace op_check {

class RowRecord {
 public:
  explicit RowRecord(const OpCase& row) : row_(row) {}
  /// One try, or one refusal, and how many numbers it compared.
  void add(DType dtype, std::int64_t comparisons);
  /// Adds a line to `<suite>.rows` in the folder that BLOCKGRAD_ROWS names; else does nothing.
  void write() const;

 private:
  const OpCase& row_;
  std::set<DType> dtypes_;
  std::int64_t cases_ = 0;
  std::int64_t comparisons_ = 0;
};

}  // namespace op_check
