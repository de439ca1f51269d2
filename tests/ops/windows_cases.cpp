// Sliding windows against their definition; the gradient adds up where windows overlap.
#include "blockgrad/ops/windows.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

using Sizes = std::vector<std::int64_t>;

// Counts the windows one after the other instead of dividing.
Array slow_windows(const Array& x, const Sizes& sizes, const Sizes& strides,
                   const Sizes& dilation) {
  Sizes shape(x.shape.sizes().begin(), x.shape.sizes().end());
  const std::size_t before = shape.size() - sizes.size();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    std::int64_t count = 0;
    for (std::int64_t at = 0; at + (sizes[i] - 1) * dilation[i] < shape[before + i];
         at += strides[i])
      ++count;
    shape[before + i] = count;
  }
  shape.insert(shape.end(), sizes.begin(), sizes.end());
  return make_array(Shape(shape), [&](Index i) {
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      std::int64_t& at = i[before + k];
      at = at * strides[k] + i[before + sizes.size() + k] * dilation[k];
    }
    i.resize(before + sizes.size());
    return x.at(i);
  });
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, std::vector<std::vector<Shape>> shapes, Sizes sizes,
                       Sizes strides, Sizes dilation) {
    OpCase row{"windows_" + name, std::move(shapes),
               [=](auto x) { return windows(x[0], sizes, strides, dilation); },
               [=](auto x) {
                 const Sizes ones(sizes.size(), 1);
                 return slow_windows(x[0], sizes, strides.empty() ? ones : strides,
                                     dilation.empty() ? ones : dilation);
               }};
    row.takes_integers = true;
    all.push_back(std::move(row));
  };
  add("of_a_line", {{{5}}, {{2, 4}}, {{3}}, {{0, 3}}}, {3}, {}, {});
  add("of_one_element", {{{4}}, {{1}}}, {1}, {}, {});
  add("of_an_image", {{{4, 5}}, {{2, 3, 3}}, {{1, 2, 2, 3}}}, {2, 3}, {}, {});
  add("with_stride", {{{7}}, {{2, 6}}, {{2}}}, {2}, {3}, {});
  add("with_dilation", {{{7}}, {{2, 5}}}, {3}, {}, {2});
  add("with_stride_and_dilation", {{{6, 7}}, {{2, 5, 9}}}, {2, 3}, {2, 1}, {3, 2});
  add("that_leave_gaps", {{{9}}, {{2, 7}}}, {1}, {4}, {});
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(windows)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(every_element_receives_the_gradient_of_all_windows_it_is_in) {
  const Expr x = input("x", {5}, DType::f64);
  const Tensor g =
      evaluate(grad(sum(blockgrad::windows(x, {3})), {x})[0], {{x, zeros({5}, DType::f64)}});
  const double expected[] = {1, 2, 3, 2, 1};
  for (int i = 0; i < 5; ++i) BOOST_TEST(g.at(i) == expected[i]);
}

BOOST_AUTO_TEST_CASE(windows_move_nothing) {
  const Expr x = input("x", {2, 9, 9});
  BOOST_TEST((blockgrad::windows(x, {3, 3}, {2, 2}).op().as<View>() != nullptr));
}

BOOST_AUTO_TEST_SUITE_END()
