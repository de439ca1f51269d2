// One element per index along an axis, and triangles.
#include <boost/test/unit_test.hpp>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/index.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

Shape with_size(const Shape& shape, int axis, std::int64_t size) {
  std::vector<std::int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  sizes[static_cast<std::size_t>(axis < 0 ? axis + shape.rank() : axis)] = size;
  return Shape(sizes);
}

// Numbers in [0, n) that repeat and leave out some, of a shape.
Tensor places(const Shape& shape, std::int64_t n, DType dtype = DType::i32) {
  std::vector<std::int64_t> values;
  for (std::int64_t k = 0; k < shape.size(); ++k) values.push_back((5 * k * k + 3 * k + 1) % n);
  return tensor(std::span<const std::int64_t>(values), shape).astype(dtype);
}

// x[index] with index[axis] replaced by i[index], where sizes of 1 repeat.
Array element_per_index(const Array& x, const Array& i, int axis) {
  const int a = axis < 0 ? axis + x.shape.rank() : axis;
  const Shape shape =
      with_size(broadcast(with_size(x.shape, a, 1), with_size(i.shape, a, 1)), a, i.shape[a]);
  return make_array(shape, [&](const Index& index) {
    Index from = index, number = index;
    for (int d = 0; d < x.shape.rank(); ++d) {
      const auto axis_at = static_cast<std::size_t>(d);
      if (d != a && x.shape[d] == 1) from[axis_at] = 0;
      if (i.shape[d] == 1) number[axis_at] = 0;
    }
    from[static_cast<std::size_t>(a)] = static_cast<std::int64_t>(i.at(number));
    return x.at(from);
  });
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  for (const int axis : {0, 1, -1}) {
    const std::string where = axis < 0 ? "_last_axis" : "_axis_" + std::to_string(axis);
    const auto number_of = [axis](const Shape& x, const Shape& i, DType dtype) {
      return places(i, x[axis < 0 ? x.rank() - 1 : axis], dtype);
    };
    all.push_back(
        {"take_along_axis" + where,
         {{{3, 4, 2}}, {{1, 4, 1}}, {{2, 3, 5}}, {{2, 2, 2}}, {{3, 1, 7}}},
         [=](auto x) {
           const Shape i = with_size(x[0].shape(), axis, 4);
           return take_along_axis(x[0], constant(number_of(x[0].shape(), i, DType::i32)), axis);
         },
         [=](auto x) {
           const Shape i = with_size(x[0].shape, axis, 4);
           return element_per_index(x[0], array_of(number_of(x[0].shape, i, DType::i32)), axis);
         },
         -2,
         2,
         true,
         axis == 0});
    all.push_back(
        {"put_along_axis" + where,
         {{{3, 4, 2}, {4, 4, 4}}, {{4, 4, 4}, {4, 4, 4}}, {{1, 1, 1}, {1, 1, 1}}},
         [=](auto x) {
           const Shape i = with_size(x[0].shape(), axis, 4);
           const Expr numbers = constant(number_of(x[0].shape(), i, DType::i64));
           const Expr v = take_along_axis(reshape(x[1], {x[1].shape().size()}),
                                          constant(places({i.size()}, x[1].shape().size())), 0);
           return put_along_axis(x[0], numbers, reshape(v, i), axis);
         },
         [=](auto x) {
           const Shape i = with_size(x[0].shape, axis, 4);
           const Array numbers = array_of(number_of(x[0].shape, i, DType::i32));
           const Array from = array_of(places({i.size()}, x[1].shape.size()));
           Array y = x[0];
           std::int64_t k = 0;
           make_array(i, [&](Index index) {
             const double v =
                 x[1].values[static_cast<std::size_t>(from.values[static_cast<std::size_t>(k)])];
             index[axis < 0 ? 2 : static_cast<std::size_t>(axis)] =
                 static_cast<std::int64_t>(numbers.values[static_cast<std::size_t>(k)]);
             ++k;
             std::int64_t flat = 0;
             for (int a = 0; a < 3; ++a)
               flat = flat * y.shape[a] + index[static_cast<std::size_t>(a)];
             y.values[static_cast<std::size_t>(flat)] = v;
             return v;
           });
           return y;
         }});
    all.push_back({"at_own_index" + where,
                   {{{3, 4, 2}}, {{1, 1, 1}}, {{2, 3, 5}}},
                   [=](auto x) {
                     const Shape i = with_size(x[0].shape(), axis, 1);
                     const Tensor numbers = number_of(x[0].shape(), i, DType::i32);
                     return at(x[0], squeeze(constant(numbers), axis), axis);
                   },
                   [=](auto x) {
                     const Shape i = with_size(x[0].shape, axis, 1);
                     return along(element_per_index(
                                      x[0], array_of(number_of(x[0].shape, i, DType::i32)), axis),
                                  {axis}, false, [](const auto& line) { return line[0]; });
                   }});
  }
  all.push_back(
      {"take_along_axis_of_a_vector",
       {{{4}}, {{1}}},
       [](auto x) { return take_along_axis(x[0], constant(places({6}, x[0].shape()[0]))); },
       [](auto x) { return element_per_index(x[0], array_of(places({6}, x[0].shape[0])), 0); }});
  all.push_back({"take_along_axis_broadcast_over_rows",
                 {{{3, 4}}, {{1, 4}}},
                 [](auto x) { return take_along_axis(x[0], constant(places({1, 3}, 4)), 1); },
                 [](auto x) { return element_per_index(x[0], array_of(places({1, 3}, 4)), 1); }});
  all.push_back({"take_along_axis_from_one_row",
                 {{{1, 4}}},
                 [](auto x) { return take_along_axis(x[0], constant(places({3, 3}, 4)), 1); },
                 [](auto x) { return element_per_index(x[0], array_of(places({3, 3}, 4)), 1); }});
  const std::vector<std::vector<Shape>> squares = {{{3, 3}},    {{2, 5}}, {{5, 2}},
                                                   {{2, 1, 3}}, {{1, 1}}, {{0, 3}}};
  for (const std::int64_t k : {0, 1, -2, 100}) {
    const std::string where = "_diagonal_" + std::to_string(k);
    const auto masked = [k](const Array& x, bool lower) {
      return make_array(x.shape, [&](const Index& index) {
        const std::int64_t right = index.back() - index[index.size() - 2];
        return (lower ? right <= k : right >= k) ? x.at(index) : 0.0;
      });
    };
    all.push_back({"tril" + where, squares, [=](auto x) { return tril(x[0], k); },
                   [=](auto x) { return masked(x[0], true); }, -2, 2, true, true});
    all.push_back({"triu" + where, squares, [=](auto x) { return triu(x[0], k); },
                   [=](auto x) { return masked(x[0], false); }, -2, 2, true, true});
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(along_axis)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(the_last_of_several_writers_wins_and_gets_the_gradient) {
  const Expr x = input("x", {3}, DType::f64), v = input("v", {4}, DType::f64);
  const Expr y = put_along_axis(x, constant(tensor({1, 2, 1, 1}, {4})), v);
  const Feeds feeds = {{x, tensor({10.0, 20.0, 30.0}, {3})},
                       {v, tensor({1.0, 2.0, 3.0, 4.0}, {4})}};
  const double weights[] = {5, 6, 7};
  const std::vector<Expr> g =
      grad(sum(y * constant(tensor(std::span<const double>(weights), {3}))), {x, v});
  BOOST_TEST(to_string(evaluate(y, feeds)) == "[10, 4, 2]");
  BOOST_TEST(to_string(evaluate(g[0], feeds)) == "[5, 0, 0]");
  BOOST_TEST(to_string(evaluate(g[1], feeds)) == "[0, 7, 0, 6]");
}

BOOST_AUTO_TEST_CASE(bools_and_integers_are_taken_and_put_as_they_are) {
  const Expr b = input("b", {2, 2}, DType::boolean), n = input("n", {2, 2}, DType::i64);
  const Tensor truths = tensor({true, false, false, true}, {2, 2});
  const Tensor numbers = tensor<std::int64_t>({1, std::int64_t{1} << 40, -3, 4}, {2, 2});
  const Expr i = constant(tensor({1, 1, 0, 0}, {2, 2}));
  BOOST_TEST(same_bits(evaluate(take_along_axis(b, i, 0), {{b, truths}}),
                       tensor({false, true, true, false}, {2, 2})));
  BOOST_TEST(same_bits(evaluate(put_along_axis(n, i, -1, 1), {{n, numbers}}),
                       tensor<std::int64_t>({1, -1, -1, 4}, {2, 2})));
  BOOST_TEST(same_bits(evaluate(tril(logical_not(b), -1), {{b, truths}}),
                       tensor({false, false, true, false}, {2, 2})));
}

BOOST_AUTO_TEST_CASE(a_mask_hides_nan_and_its_gradient) {
  const Expr x = input("x", {2, 2}, DType::f64);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Feeds feeds = {{x, tensor({1.0, nan, 2.0, 3.0}, {2, 2})}};
  BOOST_TEST(to_string(evaluate(tril(x), feeds)) == "[[1, 0], [2, 3]]");
  const Tensor g = evaluate(grad(sum(log(tril(x) + 1)), {x})[0], feeds);
  const double expected[] = {0.5, 0, 1.0 / 3, 0.25};
  for (std::int64_t e = 0; e < 4; ++e) BOOST_TEST(g.at(e) == expected[e]);
}

BOOST_AUTO_TEST_SUITE_END()
