#include "tests/support/row_log.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace op_check {

namespace {

std::string suite_name() {
  namespace utf = boost::unit_test;
  const utf::test_unit_id suite = utf::framework::current_test_case().p_parent_id;
  return utf::framework::get<utf::test_suite>(suite).p_name;
}

// "number index number": what the op is given.
std::string kinds_of(const OpCase& row) {
  std::string kinds;
  const std::size_t count =
      row.inputs.empty() ? (row.shapes.empty() ? 0 : row.shapes[0].size()) : row.inputs.size();
  for (std::size_t i = 0; i < count; ++i) {
    const Draw draw = row.inputs.empty() ? Draw() : row.inputs[i];
    if (i > 0) kinds += " ";
    switch (draw.kind) {
      case Draw::Kind::number: kinds += "number"; break;
      case Draw::Kind::index: kinds += "index"; break;
      case Draw::Kind::boolean: kinds += "bool"; break;
    }
  }
  return kinds;
}

}  // namespace

void RowRecord::add(DType dtype, std::int64_t comparisons) {
  dtypes_.insert(dtype);
  ++cases_;
  comparisons_ += comparisons;
}

void RowRecord::write() const {
  const char* folder = std::getenv("BLOCKGRAD_ROWS");
  if (!folder) return;
  static std::set<std::string> begun;
  const std::string suite = suite_name();
  const bool is_first = begun.insert(suite).second;
  std::filesystem::create_directories(folder);
  std::ofstream out(std::filesystem::path(folder) / (suite + ".rows"),
                    is_first ? std::ios::trunc : std::ios::app);
  out << row_.name << '\t' << kinds_of(row_) << '\t';
  for (const DType dtype : dtypes_) out << (dtype == *dtypes_.begin() ? "" : " ") << name(dtype);
  out << '\t' << (row_.has_gradient ? "yes" : "no") << '\t'
      << (row_.has_gradient && row_.has_second_order ? "yes" : "no") << '\t' << row_.shapes.size()
      << '\t' << cases_ << '\t' << comparisons_ << '\n';
}

}  // namespace op_check
