// Shape ops: every element lies where the definition says, and its gradient goes back there.
#include "blockgrad/ops/movement.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

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

// The reference of ops that only rename the axes.
Array with_shape(Array x, Sizes sizes) {
  x.shape = Shape(sizes);
  return x;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, std::vector<std::vector<Shape>> shapes, auto op,
                       auto reference) {
    OpCase row{std::move(name), std::move(shapes), op, reference};
    row.takes_integers = true;
    all.push_back(std::move(row));
  };
  add(
      "transpose", {{{2, 3}}, {{4, 2, 3}}, {{1, 5}}, {{0, 3}}, {{3, 0}}},
      [](auto x) { return transpose(x[0]); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
        return make_array(Shape(sizes), [&](Index i) {
          std::swap(i[i.size() - 1], i[i.size() - 2]);
          return x[0].at(i);
        });
      });
  add(
      "permute_dims", {{{2, 3, 4}}, {{1, 3, 1}}, {{0, 2, 3}}},
      [](auto x) { return permute_dims(x[0], std::vector{2, 0, 1}); },
      [](auto x) {
        const Shape& s = x[0].shape;
        return make_array(Shape{s[2], s[0], s[1]},
                          [&](const Index& i) { return x[0].at({i[1], i[2], i[0]}); });
      });
  add(
      "flatten_from_axis_1", {{{2, 3, 4}}, {{2, 3}}, {{0, 3, 2}}},
      [](auto x) { return flatten(x[0]); },
      [](auto x) {
        return with_shape(
            x[0], {x[0].shape[0], x[0].shape[0] == 0 ? 6 : x[0].shape.size() / x[0].shape[0]});
      });
  add(
      "reshape_with_an_open_size", {{{2, 6}}, {{12}}, {{3, 1, 4}}},
      [](auto x) { return reshape(x[0], std::vector<std::int64_t>{4, -1}); },
      [](auto x) { return with_shape(x[0], {4, 3}); });
  add(
      "reshape_of_a_transpose", {{{2, 6}}, {{3, 4}}, {{0, 3}}, {{12, 1}}},
      [](auto x) { return reshape(transpose(x[0]), Shape{x[0].shape().size()}); },
      [](auto x) {
        const Shape& s = x[0].shape;
        return with_shape(
            make_array(Shape{s[1], s[0]}, [&](const Index& i) { return x[0].at({i[1], i[0]}); }),
            {s.size()});
      });
  add(
      "expand_dims_and_squeeze", {{{2, 3}}, {{1, 4}}, {{0, 2}}},
      [](auto x) { return squeeze(expand_dims(expand_dims(x[0], 1), -1), 1); },
      [](auto x) { return with_shape(x[0], {x[0].shape[0], x[0].shape[1], 1}); });
  add(
      "broadcast_to", {{{3}}, {{2, 1, 3}}, {{1}}, {{}}, {{1, 4, 1}}},
      [](auto x) {
        return broadcast_to(x[0], broadcast(x[0].shape(), x[0].rank() == 3 && x[0].shape()[1] == 4
                                                              ? Shape{2, 4, 3}
                                                              : Shape{2, 4, 3}));
      },
      [](auto x) {
        return pointwise(
            std::vector<Array>{x[0], make_array(Shape{2, 4, 3}, [](const Index&) { return 0.0; })},
            [](auto v) { return v[0]; });
      });
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
      "concat_along_axis_0", {{{2, 3}, {1, 3}}, {{4}, {3}}, {{0, 2}, {2, 2}}, {{2, 2}, {2, 2}}},
      [](auto x) { return concat(x, 0); },
      [](auto x) {
        Array joined{{}, x[0].values};
        joined.values.insert(joined.values.end(), x[1].values.begin(), x[1].values.end());
        Sizes sizes = sizes_of(x[0].shape);
        sizes[0] += x[1].shape[0];
        return with_shape(joined, sizes);
      });
  add(
      "concat_along_the_last_axis_of_three",
      {{{2, 3}, {2, 1}, {2, 2}}, {{2, 2}, {2, 2}, {2, 2}}, {{1, 2, 1}, {1, 2, 0}, {1, 2, 4}}},
      [](auto x) { return concat(x, -1); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes.back() += x[1].shape[x[1].shape.rank() - 1] + x[2].shape[x[2].shape.rank() - 1];
        return make_array(Shape(sizes), [&](Index i) {
          for (const Array& part : x) {
            const std::int64_t own = part.shape[part.shape.rank() - 1];
            if (i.back() < own) return part.at(i);
            i.back() -= own;
          }
          return 0.0;
        });
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
  add(
      "coordinate_times_x", {{{2, 3, 4}}, {{1, 2, 1}}},
      [](auto x) { return x[0] * astype(coordinate(x[0].shape(), 1), x[0].dtype()); },
      [](auto x) {
        return make_array(x[0].shape, [&](const Index& i) { return x[0].at(i) * double(i[1]); });
      });
  add(
      "views_of_views_and_a_map_between", {{{4, 6}}, {{2, 3}}},
      [](auto x) {
        const Expr a = reshape(transpose(x[0]), Shape{x[0].shape().size()});
        const Expr b = reshape(a + a, Shape{x[0].shape()[0], x[0].shape()[1]});
        return transpose(b) * reshape(x[0], Shape{x[0].shape()[1], x[0].shape()[0]});
      },
      [](auto x) {
        const std::int64_t m = x[0].shape[0], n = x[0].shape[1];
        return make_array(Shape{n, m}, [&](const Index& i) {
          const std::int64_t flat = i[1] * n + i[0];  // in b, and so in a
          const double a = x[0].at({flat % m, flat / m});
          return 2 * a * x[0].values[static_cast<std::size_t>(i[0] * m + i[1])];
        });
      });
  all.back().takes_integers = false;
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(movement)

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

BOOST_AUTO_TEST_CASE(bools_move_as_they_are) {
  const Expr b = input("b", {2, 2}, DType::boolean);
  const Tensor t = evaluate(concat(std::vector<Expr>{transpose(b), b}, 0),
                            {{b, tensor({true, true, false, false}, {2, 2})}});
  const double expected[] = {1, 0, 1, 0, 1, 1, 0, 0};
  for (int i = 0; i < 8; ++i) BOOST_TEST(t.at(i) == expected[i]);
}

BOOST_AUTO_TEST_SUITE_END()
