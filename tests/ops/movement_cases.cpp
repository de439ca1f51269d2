// Shape ops: every element lies where the definition says, and its gradient goes back there.
#include "blockgrad/ops/movement.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/ops/elementwise.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double nan_value = std::numeric_limits<double>::quiet_NaN();
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
      "permute_dims", {{{2, 3, 4}}, {{1, 3, 1}}, {{0, 2, 3}}, {{1, 1, 1}}, {{3, 3, 3}}},
      [](auto x) { return permute_dims(x[0], std::vector{2, 0, 1}); },
      [](auto x) {
        const Shape& s = x[0].shape;
        return make_array(Shape{s[2], s[0], s[1]},
                          [&](const Index& i) { return x[0].at({i[1], i[2], i[0]}); });
      });
  add(
      "flatten_from_axis_1", {{{2, 3, 4}}, {{2, 3}}, {{0, 3, 2}}, {{3, 1, 1}}, {{1, 2, 1, 2}}},
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
      "expand_dims_of_several_axes", {{{2, 3}}, {{}}, {{4}}, {{0, 2}}},
      [](auto x) { return expand_dims(x[0], {-1, 0}); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        sizes.insert(sizes.begin(), 1);
        sizes.push_back(1);
        return with_shape(x[0], sizes);
      });
  add(
      "squeeze_of_several_axes", {{{1, 3, 1}}, {{1, 1, 1}}, {{1, 0, 1}}},
      [](auto x) { return squeeze(x[0], {-1, 0}); },
      [](auto x) { return with_shape(x[0], {x[0].shape[1]}); });
  add(
      "squeeze_of_all_axes_of_size_1", {{{1, 3, 1}}, {{2, 3}}, {{1}}, {{}}, {{0, 1}}},
      [](auto x) { return squeeze(x[0]); },
      [](auto x) {
        Sizes sizes = sizes_of(x[0].shape);
        std::erase(sizes, 1);
        return with_shape(x[0], sizes);
      });
  for (const int axis : {0, 1, -1}) {
    add(
        "stack_along_axis_" + std::to_string(axis),
        {{{2, 3}, {2, 3}, {2, 3}}, {{1}, {1}, {1}}, {{2, 0}, {2, 0}, {2, 0}}},
        [=](auto x) { return stack(x, axis); },
        [=](auto x) {
          Sizes sizes = sizes_of(x[0].shape);
          const int at = axis < 0 ? static_cast<int>(sizes.size()) : axis;
          sizes.insert(sizes.begin() + at, 3);
          return make_array(Shape(sizes), [&](Index i) {
            const auto part = static_cast<std::size_t>(i[static_cast<std::size_t>(at)]);
            i.erase(i.begin() + at);
            return x[part].at(i);
          });
        });
  }
  add(
      "stack_of_scalars", {{{}, {}}}, [](auto x) { return stack(x, 0); },
      [](auto x) { return Array{Shape{2}, {x[0].values[0], x[1].values[0]}}; });
  const auto padded = [](const Array& x, const Sizes& low, const Sizes& high, double value) {
    Sizes sizes = sizes_of(x.shape);
    for (std::size_t a = 0; a < sizes.size(); ++a) sizes[a] += low[a] + high[a];
    return make_array(Shape(sizes), [&](Index i) {
      for (std::size_t a = 0; a < sizes.size(); ++a) {
        i[a] -= low[a];
        if (i[a] < 0 || i[a] >= x.shape[static_cast<int>(a)]) return value;
      }
      return x.at(i);
    });
  };
  add(
      "pad_a_matrix", {{{2, 3}}, {{1, 1}}, {{0, 2}}, {{4, 0}}},
      [](auto x) { return pad(x[0], {1, 0}, {2, 3}, 7); },
      [=](auto x) { return padded(x[0], {1, 0}, {2, 3}, 7); });
  add(
      "pad_with_zeros_below", {{{3}}, {{1}}, {{0}}}, [](auto x) { return pad(x[0], {2}, {0}); },
      [=](auto x) { return padded(x[0], {2}, {0}, 0); });
  add(
      "pad_that_adds_nothing", {{{3}}}, [](auto x) { return pad(x[0], {0}, {0}, 5) + x[0]; },
      [=](auto x) { return pointwise(x, [](auto v) { return v[0] + v[0]; }); });
  add(
      "pad_of_a_slice", {{{5, 2}}, {{3, 4}}},
      [](auto x) { return pad(slice(x[0], 0, 2, -9, -2), {0, 1}, {1, 0}, 3); },
      [=](auto x) {
        const Array picked = make_array(
            Shape{2, x[0].shape[1]}, [&](const Index& i) { return x[0].at({2 - 2 * i[0], i[1]}); });
        return padded(picked, {0, 1}, {1, 0}, 3);
      });
  const auto tiled = [](const Array& x, Sizes own, const Sizes& times) {
    Sizes sizes = own;
    for (std::size_t a = 0; a < sizes.size(); ++a) sizes[a] *= times[a];
    return make_array(Shape(sizes), [&](Index i) {
      for (std::size_t a = 0; a < own.size(); ++a) i[a] %= own[a];
      return x.at(Index(i.end() - x.shape.rank(), i.end()));
    });
  };
  add(
      "tile_a_matrix", {{{2, 3}}, {{1, 4}}, {{0, 2}}, {{1, 1}}},
      [](auto x) { return tile(x[0], {2, 3}); },
      [=](auto x) { return tiled(x[0], sizes_of(x[0].shape), {2, 3}); });
  add(
      "tile_into_more_axes", {{{3}}, {{1}}, {{0}}, {{}}},
      [](auto x) { return tile(x[0], {2, 1, 2}); },
      [=](auto x) {
        const bool is_scalar = x[0].shape.rank() == 0;
        return tiled(x[0], {1, 1, is_scalar ? 1 : x[0].shape[0]}, {2, 1, 2});
      });
  add(
      "tile_of_fewer_axes", {{{2, 3}}, {{2, 1, 2}}}, [](auto x) { return tile(x[0], {2}); },
      [=](auto x) {
        Sizes times(static_cast<std::size_t>(x[0].shape.rank()), 1);
        times.back() = 2;
        return tiled(x[0], sizes_of(x[0].shape), times);
      });
  add(
      "tile_no_times", {{{2, 3}}}, [](auto x) { return tile(x[0], {0, 2}); },
      [=](auto x) { return tiled(x[0], {2, 3}, {0, 2}); });
  for (const int axis : {0, -1}) {
    for (const std::int64_t count : {0, 1, 3}) {
      add(
          "repeat_" + std::to_string(count) + "_times_along_axis_" + std::to_string(axis),
          {{{4}}, {{2, 3}}, {{1, 2, 2}}, {{2, 0, 3}}},
          [=](auto x) { return repeat(x[0], count, axis); },
          [=](auto x) {
            Sizes sizes = sizes_of(x[0].shape);
            const auto at = axis < 0 ? sizes.size() - 1 : 0;
            sizes[at] *= count;
            return make_array(Shape(sizes), [&](Index i) {
              i[at] /= count;
              return x[0].at(i);
            });
          });
    }
  }
  add(
      "coordinate_times_x", {{{2, 3, 4}}, {{1, 2, 1}}, {{2, 5}}, {{1, 1}}, {{0, 2}}},
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

BOOST_AUTO_TEST_CASE(padding_keeps_every_bit_and_takes_any_value) {
  const Expr x = input("x", {2}, DType::f64);
  const Tensor t = evaluate(pad(x, {1}, {1}, -inf), {{x, tensor<double>({-0.0, nan_value}, {2})}});
  BOOST_TEST(t.at(0) == -inf);
  BOOST_TEST(std::signbit(t.at(1)));
  BOOST_TEST(std::isnan(t.at(2)));
  const Expr i = constant(tensor<std::int32_t>({5}, {1}));
  BOOST_TEST(evaluate(pad(i, {1}, {0}, -7)).at(0) == -7);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    const Expr narrow = constant(ones({1}, dtype));
    BOOST_TEST(evaluate(pad(narrow, {1}, {0}, -inf)).at(0) == -inf);
    BOOST_TEST(evaluate(pad(narrow, {0}, {1}, 0.5)).at(1) == 0.5);
  }
}

BOOST_AUTO_TEST_CASE(bools_move_as_they_are) {
  const Expr b = input("b", {2, 2}, DType::boolean);
  const Tensor t = evaluate(concat(std::vector<Expr>{transpose(b), b}, 0),
                            {{b, tensor({true, true, false, false}, {2, 2})}});
  const double expected[] = {1, 0, 1, 0, 1, 1, 0, 0};
  for (int i = 0; i < 8; ++i) BOOST_TEST(t.at(i) == expected[i]);
}

BOOST_AUTO_TEST_SUITE_END()
