// Parts that are told to be apart are; what is planned for parts of any size takes no memory.
#include "graph/disjoint_parts.h"

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <random>
#include <vector>

#include "backends/fit_memory.h"
#include "blockgrad/blockgrad.h"

using namespace blockgrad;

namespace {

Layout part(const Shape& shape, const std::vector<std::int64_t>& strides, std::int64_t offset) {
  Layout layout;
  layout.shape = shape;
  layout.offset = offset;
  for (std::size_t a = 0; a < strides.size(); ++a) layout.strides[a] = strides[a];
  return layout;
}

// By a look at every element.
bool overlap(const std::vector<Layout>& parts, const Shape& whole) {
  std::vector<char> hit(static_cast<std::size_t>(whole.size()), 0);
  for (const Layout& layout : parts) {
    for (std::int64_t i = 0; i < layout.shape.size(); ++i) {
      std::int64_t rest = i, at = layout.offset;
      for (int a = layout.shape.rank(); a-- > 0; rest /= layout.shape[a])
        at += rest % layout.shape[a] * layout.strides[static_cast<std::size_t>(a)];
      if (hit[static_cast<std::size_t>(at)]++) return true;
    }
  }
  return false;
}

// Some of the whole along each axis, with a step, in any order of axes, forwards or backwards.
Layout random_slice(const Shape& whole, std::mt19937& random) {
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  };
  const Layout dense = Layout::dense(whole);
  std::vector<int> order;
  for (int a = 0; a < whole.rank(); ++a) order.insert(order.begin() + below(a + 1), a);
  std::vector<std::int64_t> sizes, strides;
  std::int64_t offset = 0;
  for (const int a : order) {
    const std::int64_t stride = dense.strides[static_cast<std::size_t>(a)];
    const std::int64_t step = 1 + below(3), first = below(whole[a]);
    const std::int64_t count = below((whole[a] - 1 - first) / step + 2);
    const bool backwards = random() % 4 == 0 && count > 0;
    sizes.push_back(count);
    strides.push_back(backwards ? -step * stride : step * stride);
    offset += (backwards ? first + step * (count - 1) : first) * stride;
  }
  return part(Shape(sizes), strides, offset);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(disjoint_parts)

BOOST_AUTO_TEST_CASE(halves_thirds_and_every_other_element_are_apart) {
  const Shape whole{4, 6};
  const Layout left = part({4, 3}, {6, 1}, 0), right = part({4, 3}, {6, 1}, 3);
  BOOST_TEST(are_surely_disjoint(std::vector{left, right}, whole));
  BOOST_TEST(!are_surely_disjoint(std::vector{left, right, left}, whole));
  const Layout even = part({4, 3}, {6, 2}, 0), odd = part({3, 4}, {2, 6}, 1);
  BOOST_TEST(are_surely_disjoint(std::vector{even, odd}, whole));
  BOOST_TEST(!are_surely_disjoint(std::vector{even, left}, whole));
  const Layout last_row = part({6}, {-1}, 23), others = part({3, 6}, {6, 1}, 0);
  BOOST_TEST(are_surely_disjoint(std::vector{last_row, others}, whole));
  BOOST_TEST(are_surely_disjoint(std::vector{part({0, 6}, {6, 1}, 0), left, right}, whole));
  BOOST_TEST(are_surely_disjoint(std::vector{part({}, {}, 0), part({1}, {0}, 1)}, {2}));
}

// Two parts of three heads each, which have four elements, side by side in a row.
BOOST_AUTO_TEST_CASE(axes_side_by_side_in_one_are_apart) {
  const Layout left = part({2, 3, 5, 4}, {120, 4, 24, 1}, 0);
  Layout right = left;
  right.offset = 12;
  BOOST_TEST(are_surely_disjoint(std::vector{left, right}, {2, 5, 24}));
  right.offset = 8;  // its first head is the third one
  BOOST_TEST(!are_surely_disjoint(std::vector{left, right}, {2, 5, 24}));
  right.offset = 10;
  BOOST_TEST(!are_surely_disjoint(std::vector{left, right}, {2, 5, 24}));
  BOOST_TEST(!are_surely_disjoint(std::vector{part({3, 5}, {4, 1}, 0)}, {24}));
}

BOOST_AUTO_TEST_CASE(nothing_is_told_of_windows_repeats_and_parts_across_rows) {
  BOOST_TEST(!are_surely_disjoint(std::vector{part({3, 2}, {1, 1}, 0)}, {4}));
  BOOST_TEST(!are_surely_disjoint(std::vector{part({3}, {0}, 0)}, {4}));
  BOOST_TEST(!are_surely_disjoint(std::vector{part({8}, {1}, 0)}, {4, 4}));
  BOOST_TEST(!are_surely_disjoint(std::vector{part({3}, {5}, 0)}, {4, 4}));
}

BOOST_AUTO_TEST_CASE(random_slices_that_are_told_apart_are) {
  std::mt19937 random(3);
  int told = 0, apart = 0;
  for (int i = 0; i < 3000; ++i) {
    const Shape whole = i % 3 == 0 ? Shape{7, 5} : i % 3 == 1 ? Shape{4, 1, 6} : Shape{3, 4, 3};
    std::vector<Layout> parts;
    for (std::uint64_t p = 0; p < 1 + random() % 3; ++p)
      parts.push_back(random_slice(whole, random));
    const bool sure = are_surely_disjoint(parts, whole), overlaps = overlap(parts, whole);
    BOOST_TEST_REQUIRE(!(sure && overlaps), "trial " << i);
    const bool is_sure_of_one_axis = are_surely_disjoint(parts, {whole.size()});
    BOOST_TEST_REQUIRE(!(is_sure_of_one_axis && overlaps), "one axis, trial " << i);
    told += sure;
    apart += !overlaps;
  }
  BOOST_TEST(told > apart * 9 / 10, told << " of " << apart);
}

BOOST_AUTO_TEST_CASE(a_plan_for_absurdly_many_rows_takes_no_memory) {
  const std::int64_t rows = std::int64_t{1} << 40;
  const Expr x = input("x", {rows, 3}), y = input("y", {rows, 5});
  const auto planned = [](const Expr& e) { return planned_bytes({&e, 1}, {}, cpu(), {}); };
  BOOST_TEST(planned(concat({x, y}, 1)) >= rows * 8 * 4);
  BOOST_TEST(planned(pad(x, {1, 0}, {2, 1})) >= rows * 4 * 4);
  const Expr some = slice(x, 0, 1, rows, 2);
  BOOST_TEST(planned(grad(sum(some * some), {x})[0]) >= rows * 3 * 4);
  // Windows share places: of so many it is not looked at.
  const Expr z = input("z", {rows + 2}), windows = make(View{part({rows, 3}, {1, 1}, 0)}, {z});
  BOOST_TEST(planned(grad(sum(windows * windows), {z})[0]) >= rows * 4);
}

BOOST_AUTO_TEST_SUITE_END()
