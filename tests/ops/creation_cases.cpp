// Constants of a shape.
#include "blockgrad/ops/creation.h"

#include <boost/test/unit_test.hpp>

#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, auto op, double value) {
    OpCase row{std::move(name),
               {{{2, 3}}, {{4}}, {{}}, {{0, 2}}, {{1, 1}}},
               [op](auto x) { return op(x[0]); },
               [value](auto x) {
                 return make_array(x[0].shape, [value](const Index&) { return value; });
               }};
    row.has_gradient = false;
    row.takes_integers = true;
    all.push_back(std::move(row));
  };
  add("full_like", [](Expr x) { return full_like(x, 7); }, 7);
  add("zeros_like", [](Expr x) { return zeros_like(x); }, 0);
  add("ones_like", [](Expr x) { return ones_like(x); }, 1);
  add("filled", [](Expr x) { return filled(x.shape(), 3, x.dtype()); }, 3);
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(creation)

BG_CASES(rows())

BOOST_AUTO_TEST_SUITE_END()
