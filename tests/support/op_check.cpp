#include "tests/support/op_check.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string_view>

#include "tests/support/op_check_cuda.h"
#include "tests/support/op_try.h"
#include "tests/support/row_log.h"

namespace op_check {

using namespace blockgrad;

namespace {

std::string text_of(const std::vector<Shape>& shapes) {
  std::string text;
  for (const Shape& shape : shapes) text += " " + to_string(shape);
  return text;
}

bool are_equal(const std::vector<Shape>& shapes) {
  return std::all_of(shapes.begin(), shapes.end(), [&](const Shape& s) { return s == shapes[0]; });
}

bool takes_numbers_alone(const OpCase& row) {
  return std::all_of(row.inputs.begin(), row.inputs.end(), [](const Draw& draw) {
    return draw.kind == Draw::Kind::number && draw.has_gradient;
  });
}

// The message with "(here)" for the row's file and any line of it.
std::string without_line(std::string message, std::string_view file) {
  const std::string place = "(" + std::string(file.substr(file.rfind('/') + 1)) + ":";
  const std::size_t first = message.find(place);
  if (first == std::string::npos) return message;
  std::size_t last = first + place.size();
  while (last < message.size() && message[last] >= '0' && message[last] <= '9') ++last;
  return message.replace(first, last - first, "(here");
}

void check_refusal(const OpCase& row, const Refusal& refusal, const char* file) {
  std::vector<Expr> inputs;
  for (std::size_t i = 0; i < refusal.shapes.size(); ++i) {
    const auto kind = row.inputs.empty() ? Draw::Kind::number : row.inputs[i].kind;
    const DType dtype = kind == Draw::Kind::index     ? DType::i32
                        : kind == Draw::Kind::boolean ? DType::boolean
                                                      : refusal.dtype;
    inputs.push_back(input("x" + std::to_string(i), refusal.shapes[i], dtype));
  }
  try {
    const Expr y = row.op(inputs);
    BOOST_TEST(false, "accepted, giving " << to_string(y.type()));
  } catch (const Error& error) {
    BOOST_TEST(without_line(error.what(), file) == refusal.message);
  }
}

}  // namespace

void check(const OpCase& row, const char* file) {
  if (is_about_cuda()) return check_cuda(row);
  RowRecord record{row};
  std::vector<DType> dtypes = row.dtypes;
  if (row.takes_integers) dtypes.insert(dtypes.end(), {DType::i32, DType::i64, DType::u8});
  for (const DType dtype : dtypes) {
    for (const std::vector<Shape>& shapes : row.shapes) {
      for (const bool same : {false, true}) {
        if (same && (shapes.size() < 2 || !are_equal(shapes) || !takes_numbers_alone(row))) break;
        BOOST_TEST_CONTEXT(name(dtype)
                           << text_of(shapes) << (same ? ", one tensor for all inputs" : "")) {
          OpTry one(row, shapes, dtype, same);
          one.run_checks();
          record.add(dtype, one.comparisons());
        }
      }
    }
  }
  for (const Refusal& refusal : row.refuses) {
    BOOST_TEST_CONTEXT("refused:" << text_of(refusal.shapes)) check_refusal(row, refusal, file);
    record.add(refusal.dtype, 1);
  }
  record.write();
}

bool add_cases(std::vector<OpCase> rows, const char* file, int line) {
  namespace utf = boost::unit_test;
  for (OpCase& row : rows) {
    const std::string title = row.name;
    utf::framework::current_auto_test_suite().add(
        utf::make_test_case([row = std::move(row), file] { check(row, file); }, title, file,
                            static_cast<std::size_t>(line)));
  }
  return true;
}

}  // namespace op_check
