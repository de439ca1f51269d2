// Parts of a tensor: slices, flips and splits lie where NumPy puts them, and their gradients join.
#include "blockgrad/ops/movement.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

using Sizes = std::vector<std::int64_t>;

Sizes sizes_of(const Shape& shape) { return {shape.sizes().begin(), shape.sizes().end()}; }

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, std::vector<std::vector<Shape>> shapes, auto op,
                       auto reference) {
    OpCase row{std::move(name), std::move(shapes), op, reference};
    row.takes_integers = true;
    all.push_back(std::move(row));
  };
  add(
      "slice_with_a_step", {{{7}}, {{7, 2}}, {{9, 1, 2}}},
      [](auto x) { return slice(x[0], 0, 1, -1, 2); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] = (sizes[0] - 2 + 1) / 2;
        return make_array(Shape(sizes), [&](Index i) {
          i[0] = 1 + 2 * i[0];
          return x[0].at(i);
        });
      });
  add(
      "slice_that_is_empty", {{{7}}, {{7, 2}}}, [](auto x) { return slice(x[0], 0, 5, 2); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] = 0;
        return make_array(Shape(sizes), [](const Index&) { return 0.0; });
      });
  add(
      "slice_of_a_slice_of_a_transpose", {{{6, 8}}, {{4, 5}}},
      [](auto x) { return slice(slice(transpose(x[0]), 0, 1, 5), 1, 1, 4, 2); },
      [](auto x) {
        const std::int64_t rows = std::min<std::int64_t>(5, x[0].shape[1]) - 1;
        return make_array(Shape{rows, (std::min<std::int64_t>(4, x[0].shape[0])) / 2},
                          [&](const Index& i) { return x[0].at({1 + 2 * i[1], 1 + i[0]}); });
      });
  add(
      "overlapping_slices_added", {{{8}}, {{8, 2}}},
      [](auto x) { return slice(x[0], 0, 0, 6) * slice(x[0], 0, 1, 7) + slice(x[0], 0, 2, 8); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] = 6;
        return make_array(Shape(sizes), [&](Index i) {
          const auto at = [&](std::int64_t d) {
            Index j = i;
            j[0] += d;
            return x[0].at(j);
          };
          return at(0) * at(1) + at(2);
        });
      });
  all.back().takes_integers = false;
  const auto flipped = [](const Array& x, std::vector<int> axes) {
    return make_array(x.shape, [&](Index i) {
      for (const int a : axes)
        i[static_cast<std::size_t>(a)] = x.shape[a] - 1 - i[static_cast<std::size_t>(a)];
      return x.at(i);
    });
  };
  add(
      "flip", {{{5}}, {{2, 3}}, {{3, 1, 2}}, {{1}}, {{0, 2}}, {{}}},
      [](auto x) { return flip(x[0]); },
      [=](auto x) {
        std::vector<int> axes;
        for (int a = 0; a < x[0].shape.rank(); ++a) axes.push_back(a);
        return flipped(x[0], axes);
      });
  add(
      "flip_along_the_last_axis", {{{5}}, {{2, 3}}, {{3, 1, 2}}, {{2, 0}}},
      [](auto x) { return flip(x[0], -1); },
      [=](auto x) { return flipped(x[0], {x[0].shape.rank() - 1}); });
  add(
      "flip_of_a_transpose_times_x", {{{4, 3}}, {{1, 5}}, {{2, 2}}},
      [](auto x) { return flip(transpose(x[0]), 0) * transpose(x[0]); },
      [=](auto x) {
        const Shape& s = x[0].shape;
        return make_array(Shape{s[1], s[0]}, [&](const Index& i) {
          return x[0].at({i[1], s[1] - 1 - i[0]}) * x[0].at({i[1], i[0]});
        });
      });
  all.back().takes_integers = false;
  add(
      "slice_of_several_axes", {{{4, 2, 5}}, {{6, 1, 3}}, {{3, 0, 4}}},
      [](auto x) { return slice(x[0], {{1, -1}, {}, {.step = -2}}); },
      [](auto x) {
        const Shape& s = x[0].shape;
        return make_array(Shape{s[0] - 2, s[1], (s[2] + 1) / 2}, [&](const Index& i) {
          return x[0].at({i[0] + 1, i[1], s[2] - 1 - 2 * i[2]});
        });
      });
  add(
      "slice_backwards_of_a_slice_backwards", {{{9}}, {{6, 2}}, {{7, 1}}},
      [](auto x) { return slice(slice(x[0], 0, -2, 0, -1), 0, -1, -9, -2); },
      [](auto x) {
        // x[-2:0:-1] is x[n-2], …, x[1]; every second of it from its end is x[1], x[3], …
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] = (sizes[0] - 2 + 1) / 2;
        return make_array(Shape(sizes), [&](Index i) {
          i[0] = 1 + 2 * i[0];
          return x[0].at(i);
        });
      });
  add(
      "split_into_equal_parts", {{{6}}, {{2, 6}}, {{2, 3, 0}}, {{3, 3}}},
      [](auto x) {
        const std::vector<Expr> parts = split(x[0], 3, -1);
        return concat({parts[2], parts[0], parts[1]}, -1);
      },
      [](auto x) {
        const std::int64_t n = x[0].shape[x[0].shape.rank() - 1];
        return make_array(x[0].shape, [&](Index i) {
          i.back() = (i.back() + n / 3 * 2) % n;
          return x[0].at(i);
        });
      });
  add(
      "split_into_named_sizes", {{{6}}, {{6, 2}}, {{6, 1, 3}}},
      [](auto x) {
        const std::vector<Expr> parts = split(x[0], {1, 0, 3, 2}, 0);
        return concat({parts[1], parts[2] * parts[2], parts[0]}, 0);
      },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] = 4;
        return make_array(Shape(sizes), [&](Index i) {
          const bool is_last = i[0] == 3;
          i[0] = is_last ? 0 : i[0] + 1;
          return is_last ? x[0].at(i) : x[0].at(i) * x[0].at(i);
        });
      });
  all.back().takes_integers = false;
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(slices)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(many_slices_of_one_tensor_add_up_in_its_gradient) {
  const std::int64_t n = 200;
  const Expr x = input("x", {n, 3}, DType::f64);
  Expr total;
  for (std::int64_t i = 0; i < n; ++i) {
    const Expr row = slice(x, 0, i, i + 1) * double(i);
    total = total ? total + sum(row) : sum(row);
  }
  const Tensor g = evaluate(grad(total, {x})[0], {{x, ones({n, 3}, DType::f64)}});
  for (std::int64_t i = 0; i < n; ++i) BOOST_TEST_REQUIRE(g.at(3 * i + 1) == double(i));
}

BOOST_AUTO_TEST_CASE(slice_follows_numpy_for_every_start_stop_and_step) {
  for (const std::int64_t n : {0, 1, 4}) {
    const Tensor values = arange(0, static_cast<double>(n), 1, DType::f64);
    for (std::int64_t start = -6; start <= 6; ++start) {
      for (std::int64_t stop = -6; stop <= 6; ++stop) {
        for (const std::int64_t step : {-5, -2, -1, 1, 2, 5}) {
          // As Python defines it: i = start, start + step, … while it is before stop.
          std::int64_t i = start < 0 ? start + n : start, end = stop < 0 ? stop + n : stop;
          if (step > 0) i = std::max<std::int64_t>(i, 0);
          else i = std::min(i, n - 1);
          end = step > 0 ? std::min(end, n) : std::max<std::int64_t>(end, -1);
          std::vector<double> expected;
          for (; step > 0 ? i < end : i > end; i += step) expected.push_back(double(i));
          const Tensor got = evaluate(slice(constant(values), 0, start, stop, step));
          BOOST_TEST_CONTEXT(n << " elements, " << start << ":" << stop << ":" << step)
          BOOST_TEST(array_of(got).values == expected, boost::test_tools::per_element());
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_range_left_open_takes_the_whole_axis_either_way) {
  const Expr x = constant(arange(0, 5, 1, DType::f64));
  BOOST_TEST((slice(x, {{}}) == x));
  BOOST_TEST(array_of(evaluate(slice(x, {{.start = 3, .step = -2}}))).values ==
                 (std::vector<double>{3, 1}),
             boost::test_tools::per_element());
  BOOST_TEST(
      array_of(evaluate(slice(x, {{.stop = 2, .step = -1}}))).values == (std::vector<double>{4, 3}),
      boost::test_tools::per_element());
  constexpr std::int64_t far = std::numeric_limits<std::int64_t>::max();
  BOOST_TEST(
      array_of(evaluate(slice(x, 0, far, -far - 1, -far - 1))).values == (std::vector<double>{4}),
      boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(flips_that_change_nothing_make_no_node) {
  const Expr x = input("x", {1, 3}), scalar = input("s", {}), empty = input("e", {0, 3});
  BOOST_TEST((flip(x, 0) == x));
  BOOST_TEST((flip(scalar) == scalar));
  BOOST_TEST((flip(empty) == empty));
}

// A value of [64, 32, 256] cut into T steps, as an unrolled network does: the work of the gradient
// must not grow with T, its nodes only in proportion.
BOOST_AUTO_TEST_CASE(the_gradient_of_many_slices_is_one_unview_of_linear_cost) {
  for (const std::int64_t steps : {8, 16, 32}) {
    const Expr x = input("x", {64, 32, 256}, DType::f32);
    Expr total;
    for (const Expr& part : split(x, steps, 1)) {
      const Expr s = sum(square(part));
      total = total ? total + s : s;
    }
    const Expr g = grad(total, {x})[0];
    std::int64_t unviews = 0, elements = 0, nodes = 0;
    for (const Node* node : detail::in_order({&g, 1})) {
      ++nodes;
      if (node->op.as<View>()) continue;
      elements += node->results[0].shape.size();
      if (const Unview* op = node->op.as<Unview>()) {
        ++unviews;
        BOOST_TEST(op->layouts.size() == static_cast<std::size_t>(steps));
      }
    }
    BOOST_TEST(unviews == 1);
    BOOST_TEST(nodes <= 10 * steps);
    BOOST_TEST(elements <= 4 * x.shape().size());
  }
}

BOOST_AUTO_TEST_CASE(slices_and_other_uses_of_one_tensor_add_up) {
  const Expr x = input("x", {3}, DType::f64);
  const Expr y = sum(slice(x, 0, 0, 2)) * 2.0 + sum(square(x)) + sum(slice(x, 0, 1, 3)) * 5.0 +
                 sum(exp(x)) + sum(flip(slice(x, 0, 0, 2)) * constant(tensor({1.0, 10.0}, {2})));
  const Tensor g = evaluate(grad(y, {x})[0], {{x, zeros({3}, DType::f64)}});
  const double expected[] = {2 + 1 + 10, 2 + 5 + 1 + 1, 5 + 1};
  for (int i = 0; i < 3; ++i) BOOST_TEST(g.at(i) == expected[i]);
}

BOOST_AUTO_TEST_SUITE_END()
