// Matrix products: transposed operands, vectors, batches and empty sizes.
#include "blockgrad/ops/linalg.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

// C[b.., i, j] = sum_p A[b.., i, p] B[b.., p, j], batch axes broadcast.
Array product(const Array& a, const Array& b) {
  const auto batch = [](const Shape& s) {
    return Shape(s.sizes().first(static_cast<std::size_t>(s.rank() - 2)));
  };
  const Shape both = broadcast(batch(a.shape), batch(b.shape));
  std::vector<std::int64_t> sizes(both.sizes().begin(), both.sizes().end());
  sizes.push_back(a.shape[a.shape.rank() - 2]);
  sizes.push_back(b.shape[b.shape.rank() - 1]);
  const auto element = [](const Array& x, const Index& index, std::int64_t row,
                          std::int64_t column) {
    Index own(index.end() - x.shape.rank(), index.end());
    for (int d = 0; d + 2 < x.shape.rank(); ++d) {
      if (x.shape[d] == 1) own[static_cast<std::size_t>(d)] = 0;
    }
    own[own.size() - 2] = row;
    own[own.size() - 1] = column;
    return x.at(own);
  };
  return make_array(Shape(sizes), [&](const Index& i) {
    double s = 0;
    for (std::int64_t p = 0; p < a.shape[a.shape.rank() - 1]; ++p) {
      s += element(a, i, i[i.size() - 2], p) * element(b, i, p, i[i.size() - 1]);
    }
    return s;
  });
}

Array turned(const Array& x) {
  std::vector<std::int64_t> sizes(x.shape.sizes().begin(), x.shape.sizes().end());
  std::swap(sizes[sizes.size() - 1], sizes[sizes.size() - 2]);
  return make_array(Shape(sizes), [&](Index i) {
    std::swap(i[i.size() - 1], i[i.size() - 2]);
    return x.at(i);
  });
}

Array reshaped(Array x, std::initializer_list<std::int64_t> sizes) {
  x.shape = Shape(sizes);
  return x;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, std::vector<std::vector<Shape>> shapes, auto op,
                       auto reference) {
    OpCase row{std::move(name), std::move(shapes), op, reference};
    row.tolerance32 = 1e-5;
    all.push_back(std::move(row));
  };
  add(
      "matmul",
      {{{2, 3}, {3, 4}},
       {{1, 1}, {1, 1}},
       {{3, 3}, {3, 3}},
       {{1, 5}, {5, 1}},
       {{5, 1}, {1, 5}},
       {{2, 0}, {0, 3}},
       {{0, 2}, {2, 3}},
       {{17, 9}, {9, 33}}},
      [](auto x) { return matmul(x[0], x[1]); }, [](auto x) { return product(x[0], x[1]); });
  all.back().refuses = {
      {{{2, 3}, {2, 4}}, "matmul (here): inner sizes differ: [2, 3] x [2, 4]"},
      {{{2, 3}, {4, 3}},
       "matmul (here): inner sizes differ: [2, 3] x [4, 3]; the second operand would fit with "
       "{.transpose_b = true}"},
      {{{2, 2, 3}, {3, 3, 4}}, "matmul (here): batch axes do not broadcast: [2, 2, 3] x [3, 3, 4]"},
      {{{}, {3}}, "matmul (here): wants matrices, got [] x [3, 1]"},
      {{{2, 3}, {3, 4}}, "matmul (here): wants a floating dtype, got i32", DType::i32}};
  add(
      "matmul_of_a_transposed_left", {{{3, 2}, {3, 4}}, {{3, 3}, {3, 3}}, {{7, 18}, {7, 5}}},
      [](auto x) { return matmul(x[0], x[1], {.transpose_a = true}); },
      [](auto x) { return product(turned(x[0]), x[1]); });
  add(
      "matmul_of_a_transposed_right", {{{2, 3}, {4, 3}}, {{3, 3}, {3, 3}}, {{5, 7}, {18, 7}}},
      [](auto x) { return matmul(x[0], x[1], {.transpose_b = true}); },
      [](auto x) { return product(x[0], turned(x[1])); });
  add(
      "matmul_of_both_transposed", {{{3, 2}, {4, 3}}, {{3, 3}, {3, 3}}},
      [](auto x) { return matmul(x[0], x[1], {.transpose_a = true, .transpose_b = true}); },
      [](auto x) { return product(turned(x[0]), turned(x[1])); });
  add(
      "matmul_of_batches",
      {{{2, 2, 3}, {2, 3, 2}},
       {{2, 1, 2, 3}, {3, 3, 2}},
       {{2, 3}, {4, 3, 2}},
       {{4, 2, 3}, {3, 2}},
       {{0, 2, 3}, {3, 2}}},
      [](auto x) { return matmul(x[0], x[1]); }, [](auto x) { return product(x[0], x[1]); });
  add(
      "matmul_of_a_row", {{{3}, {3, 2}}, {{1}, {1, 1}}}, [](auto x) { return matmul(x[0], x[1]); },
      [](auto x) {
        return reshaped(product(reshaped(x[0], {1, x[0].shape[0]}), x[1]), {x[1].shape[1]});
      });
  add(
      "matmul_of_a_column", {{{2, 3}, {3}}, {{1, 1}, {1}}},
      [](auto x) { return matmul(x[0], x[1]); },
      [](auto x) {
        return reshaped(product(x[0], reshaped(x[1], {x[1].shape[0], 1})), {x[0].shape[0]});
      });
  add(
      "matmul_of_two_vectors", {{{3}, {3}}, {{1}, {1}}}, [](auto x) { return matmul(x[0], x[1]); },
      [](auto x) {
        return reshaped(
            product(reshaped(x[0], {1, x[0].shape[0]}), reshaped(x[1], {x[1].shape[0], 1})), {});
      });
  add(
      "linear", {{{2, 3}, {3, 4}, {4}}, {{5, 2}, {2, 1}, {1}}},
      [](auto x) { return linear(x[0], x[1], x[2]); },
      [](auto x) {
        return pointwise(std::vector<Array>{product(x[0], x[1]), x[2]},
                         [](auto v) { return v[0] + v[1]; });
      });
  add(
      "matmul_with_its_own_transpose", {{{3, 4}}, {{1, 2}}},
      [](auto x) { return matmul(x[0], x[0], {.transpose_b = true}); },
      [](auto x) { return product(x[0], turned(x[0])); });
  add(
      "matmul_of_a_broadcast_row", {{{4}, {4, 3}}},
      [](auto x) { return matmul(broadcast_to(x[0], Shape{2, 4}), x[1]); },
      [](auto x) {
        return product(make_array(Shape{2, 4}, [&](const Index& i) { return x[0].at({i[1]}); }),
                       x[1]);
      });
  add(
      "two_layers", {{{3, 4}, {4, 5}, {5, 2}}},
      [](auto x) { return matmul(tanh(matmul(x[0], x[1])), x[2]); },
      [](auto x) {
        const Array hidden = product(x[0], x[1]);
        return product(
            pointwise(std::vector<Array>{hidden}, [](auto v) { return std::tanh(v[0]); }), x[2]);
      });
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(linalg)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(an_inner_size_of_zero_gives_zeros) {
  const Expr a = input("a", {2, 0}), b = input("b", {0, 3});
  const Tensor c = evaluate(matmul(a, b), {{a, zeros({2, 0})}, {b, zeros({0, 3})}});
  for (int i = 0; i < 6; ++i) BOOST_TEST(c.at(i) == 0);
}

BOOST_AUTO_TEST_CASE(infinities_and_nan_stay_in_their_rows_and_columns) {
  const float inf = std::numeric_limits<float>::infinity();
  const Expr a = input("a", {3, 5}), b = input("b", {5, 7});
  std::vector<float> left(15, 1);
  left[5] = inf;  // row 1
  std::vector<float> right(35, 1);
  right[2] = std::numeric_limits<float>::quiet_NaN();  // column 2
  const Tensor c = evaluate(matmul(a, b), {{a, tensor(std::span<const float>(left), {3, 5})},
                                           {b, tensor(std::span<const float>(right), {5, 7})}});
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 7; ++j) {
      const double value = c.at(7 * i + j);
      if (j == 2) BOOST_TEST(std::isnan(value));
      else BOOST_TEST(value == (i == 1 ? std::numeric_limits<double>::infinity() : 5.0));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_report_says_how_a_product_is_cut) {
  const Expr a = input("a", {64, 100}), b = input("b", {100, 96});
  const Program program = compile({matmul(a, b)});
  BOOST_TEST(program.report().flops == 2.0 * 64 * 100 * 96);
  const std::string text = program.explain();
  BOOST_TEST(text.find("64x96x100") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
