// Shapes, layouts and arithmetic on sizes.
#include "blockgrad/graph/shape.h"

#include <boost/test/unit_test.hpp>
#include <limits>
#include <random>

using namespace blockgrad;

namespace {

constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();

std::int64_t place(const Layout& layout, std::int64_t flat) {
  std::int64_t at = layout.offset;
  for (int a = layout.shape.rank() - 1; a >= 0; --a) {
    at += flat % layout.shape[a] * layout.strides[static_cast<std::size_t>(a)];
    flat /= layout.shape[a];
  }
  return at;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shape)

BOOST_AUTO_TEST_CASE(a_shape_knows_its_rank_sizes_and_number_of_elements) {
  BOOST_TEST(Shape{}.size() == 1);
  BOOST_TEST(Shape({2, 3}).size() == 6);
  BOOST_TEST(Shape({2, 0, 3}).size() == 0);
  BOOST_TEST(Shape({2, 3}).rank() == 2);
  BOOST_TEST(to_string(Shape{}) == "[]");
  BOOST_TEST(to_string(Shape{32, 784}) == "[32, 784]");
  BOOST_TEST((Shape{2, 3} != Shape{3, 2}));
  BOOST_TEST((Shape{1} != Shape{}));
}

BOOST_AUTO_TEST_CASE(impossible_shapes_are_errors) {
  BOOST_CHECK_EXCEPTION(Shape({2, -1}), Error, [](const Error& e) {
    return std::string(e.what()) == "size of axis 1 must not be negative, got -1";
  });
  BOOST_CHECK_EXCEPTION(Shape({1, 1, 1, 1, 1, 1, 1, 1, 1}), Error, [](const Error& e) {
    return std::string(e.what()) == "a shape has at most 8 axes, got 9";
  });
  BOOST_CHECK_THROW(Shape({huge, 2}), Error);
  BOOST_CHECK_THROW(Shape({std::int64_t{1} << 40, 0, std::int64_t{1} << 40}), Error);
  BOOST_TEST(Shape({huge}).size() == huge);
}

BOOST_AUTO_TEST_CASE(sizes_never_overflow) {
  BOOST_CHECK_THROW(checked_multiply(huge, 2), Error);
  BOOST_CHECK_THROW(checked_add(huge, 1), Error);
  BOOST_TEST(checked_multiply(huge, 1) == huge);
  BOOST_TEST(checked_add(huge, -1) == huge - 1);
}

BOOST_AUTO_TEST_CASE(axes_count_from_either_end) {
  BOOST_TEST(normalize_axis(-1, 3) == 2);
  BOOST_TEST(normalize_axis(0, 3) == 0);
  BOOST_CHECK_EXCEPTION(normalize_axis(3, 3), Error, [](const Error& e) {
    return std::string(e.what()) == "axis 3 is outside [-3, 3)";
  });
  BOOST_CHECK_THROW(normalize_axis(-4, 3), Error);
  BOOST_CHECK_THROW(normalize_axis(0, 0), Error);
}

BOOST_AUTO_TEST_CASE(shapes_broadcast_as_in_numpy) {
  BOOST_TEST((broadcast({2, 3}, {3}) == Shape{2, 3}));
  BOOST_TEST((broadcast({4, 1, 2}, {3, 1}) == Shape{4, 3, 2}));
  BOOST_TEST((broadcast({}, {2}) == Shape{2}));
  BOOST_TEST((broadcast({1}, {0}) == Shape{0}));
  BOOST_CHECK_EXCEPTION(broadcast({2}, {0}), Error, [](const Error& e) {
    return std::string(e.what()) == "shapes do not broadcast: [2] and [0]";
  });
}

BOOST_AUTO_TEST_CASE(a_dense_layout_is_recognized) {
  const Layout dense = Layout::dense({2, 3, 4});
  BOOST_TEST(dense.is_dense());
  BOOST_TEST(to_string(dense) == "[2, 3, 4] strides [12, 4, 1] offset 0");
  Layout moved = dense;
  moved.offset = 1;
  BOOST_TEST(!moved.is_dense());
  Layout one = Layout::dense({1, 3});
  one.strides[0] = 77;  // an axis of size 1 does not count
  BOOST_TEST(one.is_dense());
  Layout turned{{3, 2}, {1, 3}, 0};
  BOOST_TEST(!turned.is_dense());
}

BOOST_AUTO_TEST_CASE(composed_layouts_name_the_element_that_two_steps_name) {
  std::mt19937 random(5);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  int composed = 0;
  for (int round = 0; round < 20000; ++round) {
    // inner: a dense value, permuted, sliced, broadcast or reversed; outer: the same on the dense
    // inner value.
    const auto make = [&](std::int64_t elements_below) {
      Layout layout;
      std::vector<std::int64_t> sizes;
      const int rank = below(4);
      std::int64_t low = 0, high = 0;
      for (int a = 0; a < rank; ++a) {
        sizes.push_back(1 + below(4));
        const std::int64_t strides[] = {0, 1, 2, 3, 4, 6, 12, -1};
        layout.strides[static_cast<std::size_t>(a)] = strides[below(8)];
        const std::int64_t reach = (sizes.back() - 1) * layout.strides[static_cast<std::size_t>(a)];
        (reach < 0 ? low : high) += reach;
      }
      layout.shape = Shape(sizes);
      layout.offset = -low + below(3);
      const bool fits = layout.offset + high < elements_below;
      return std::pair{layout, fits};
    };
    const auto [inner, inner_fits] = make(1000);
    if (!inner_fits) continue;
    const auto [outer, outer_fits] = make(inner.shape.size());
    if (!outer_fits) continue;
    Layout result;
    if (!compose(outer, inner, result)) continue;
    ++composed;
    BOOST_TEST_REQUIRE((result.shape == outer.shape));
    for (std::int64_t i = 0; i < outer.shape.size(); ++i) {
      BOOST_TEST_REQUIRE(place(result, i) == place(inner, place(outer, i)),
                         to_string(outer)
                             << " of " << to_string(inner) << " became " << to_string(result));
    }
  }
  BOOST_TEST(composed > 1000);
}

BOOST_AUTO_TEST_CASE(layouts_without_elements_compose) {
  Layout result;
  const Layout turned{{3, 0}, {1, 3}, 0};
  if (compose(Layout::dense({0}), turned, result)) BOOST_TEST((result.shape == Shape{0}));
  const Layout middle{{2, 0, 3}, {3, 6, 1}, 0};
  if (compose(Layout::dense({0, 5}), middle, result)) BOOST_TEST(result.shape.size() == 0);
}

BOOST_AUTO_TEST_SUITE_END()
