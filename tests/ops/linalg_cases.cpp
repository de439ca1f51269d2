// Matrix products: transposed operands, vectors, batches and empty sizes.
#include "blockgrad/ops/linalg.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/ops/refusal.h"
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
      "linear",
      {{{2, 3}, {3, 4}, {4}},
       {{5, 2}, {2, 1}, {1}},
       {{1, 1}, {1, 3}, {1}},
       {{2, 2, 3}, {3, 2}, {2}},
       {{0, 2}, {2, 2}, {2}}},
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
  const auto times = [](std::vector<Array> factors) {
    return pointwise(factors, [](auto v) {
      return std::accumulate(v.begin(), v.end(), 1.0, std::multiplies());
    });
  };
  // Gradients of products that have more elements than their operands are joined.
  add(
      "matmul_with_one_matrix_on_the_right_of_many",
      {{{2, 12}, {2, 12}, {12, 2}, {12, 10}},
       {{1, 3}, {1, 3}, {3, 1}, {3, 7}},
       {{2, 1}, {2, 1}, {1, 2}, {1, 1}},
       {{0, 3}, {0, 3}, {3, 0}, {3, 7}}},
      [](auto x) {
        return matmul(x[0], x[3]) * matmul(x[1], x[3]) * matmul(transpose(x[2]), x[3]);
      },
      [times](auto x) {
        return times({product(x[0], x[3]), product(x[1], x[3]), product(turned(x[2]), x[3])});
      });
  add(
      "matmul_with_one_matrix_on_the_left_of_many",
      {{{9, 11}, {11, 2}, {2, 11}}, {{2, 9, 11}, {2, 11, 1}, {2, 1, 11}}, {{0, 3}, {3, 2}, {2, 3}}},
      [](auto x) { return matmul(x[0], x[1]) * matmul(x[0], transpose(x[2])); },
      [times](auto x) { return times({product(x[0], x[1]), product(x[0], turned(x[2]))}); });
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

// The definition of einsum: a loop over all letters.
Array summation(const std::vector<std::string>& names, const std::string& result,
                std::span<const Array> x) {
  std::string letters = result;
  std::vector<std::int64_t> sizes;
  for (std::size_t n = 0; n < names.size(); ++n) {
    for (const char c : names[n]) {
      if (letters.find(c) == std::string::npos) letters.push_back(c);
    }
  }
  for (const char c : letters) {
    for (std::size_t n = 0; n < names.size(); ++n) {
      const auto at = names[n].find(c);
      if (at == std::string::npos) continue;
      sizes.push_back(x[n].shape[static_cast<int>(at)]);
      break;
    }
  }
  const auto outer_count = static_cast<std::ptrdiff_t>(result.size());
  const Shape kept(std::span<const std::int64_t>(sizes.data(), result.size()));
  const std::vector<std::int64_t> inner(sizes.begin() + outer_count, sizes.end());
  return make_array(kept, [&](const Index& outside) {
    double total = 0;
    make_array(Shape(inner), [&](const Index& inside) {
      Index all = outside;
      all.insert(all.end(), inside.begin(), inside.end());
      double term = 1;
      for (std::size_t n = 0; n < names.size(); ++n) {
        Index own;
        for (const char c : names[n]) own.push_back(all[letters.find(c)]);
        term *= x[n].at(own);
      }
      total += term;
      return 0.0;
    });
    return total;
  });
}

OpCase einsum_row(std::string name, std::string text, std::vector<std::string> names,
                  std::string result, std::vector<std::vector<Shape>> shapes) {
  OpCase row{"einsum_" + std::move(name), std::move(shapes),
             [=](std::span<const Expr> x) { return einsum(text, x); },
             [=](std::span<const Array> x) { return summation(names, result, x); }};
  row.tolerance32 = 1e-5;
  return row;
}

std::vector<OpCase> contraction_rows() {
  std::vector<OpCase> all;
  all.push_back(
      einsum_row("product", "ij,jk->ik", {"ij", "jk"}, "ik",
                 {{{2, 3}, {3, 4}}, {{1, 1}, {1, 1}}, {{2, 0}, {0, 3}}, {{0, 2}, {2, 3}}}));
  all.push_back(einsum_row("without_arrow", "kj, ji", {"kj", "ji"}, "ik", {{{2, 3}, {3, 4}}}));
  all.push_back(einsum_row("of_batches", "bhqd,bhkd->bhqk", {"bhqd", "bhkd"}, "bhqk",
                           {{{2, 1, 3, 4}, {2, 1, 2, 4}}, {{2, 2, 2, 2}, {2, 2, 2, 2}}}));
  all.push_back(einsum_row("of_interleaved_axes", "qbhd,kbhd->hbqk", {"qbhd", "kbhd"}, "hbqk",
                           {{{3, 2, 2, 4}, {2, 2, 2, 4}}}));
  all.push_back(einsum_row("of_three", "ij,jk,kl->il", {"ij", "jk", "kl"}, "il",
                           {{{2, 3}, {3, 4}, {4, 2}}, {{2, 2}, {2, 2}, {2, 2}}}));
  all.push_back(einsum_row("bilinear", "bi,oij,bj->bo", {"bi", "oij", "bj"}, "bo",
                           {{{2, 3}, {4, 3, 2}, {2, 2}}}));
  all.push_back(einsum_row("all_pairs", "i,j->ij", {"i", "j"}, "ij", {{{2}, {3}}, {{3}, {3}}}));
  all.push_back(einsum_row("rows_with_rows", "bi,bi->b", {"bi", "bi"}, "b",
                           {{{2, 3}, {2, 3}}, {{1, 1}, {1, 1}}, {{2, 0}, {2, 0}}}));
  all.push_back(einsum_row("elementwise", "ij,ji->ij", {"ij", "ji"}, "ij", {{{2, 3}, {3, 2}}}));
  all.push_back(
      einsum_row("own_letters_summed", "ijk,jl->i", {"ijk", "jl"}, "i", {{{2, 3, 2}, {3, 4}}}));
  all.push_back(einsum_row("transpose", "abc->cab", {"abc"}, "cab", {{{2, 3, 4}}}));
  all.push_back(einsum_row("sum_of_all", "ab->", {"ab"}, "", {{{2, 3}}, {{0, 3}}}));
  all.push_back(einsum_row("of_a_scalar", ",ab->ba", {"", "ab"}, "ba", {{{}, {2, 3}}}));
  const auto add = [&](std::string name, std::vector<std::string> names, std::string result,
                       std::vector<std::vector<Shape>> shapes, auto op) {
    OpCase row{std::move(name), std::move(shapes), op,
               [=](std::span<const Array> x) { return summation(names, result, x); }};
    row.tolerance32 = 1e-5;
    all.push_back(std::move(row));
  };
  add("tensordot", {"abc", "bcd"}, "ad", {{{2, 3, 4}, {3, 4, 2}}, {{1, 2, 3}, {2, 3, 1}}},
      [](auto x) { return tensordot(x[0], x[1]); });
  add("tensordot_of_one_axis", {"ab", "bc"}, "ac", {{{2, 3}, {3, 4}}, {{3, 3}, {3, 3}}},
      [](auto x) { return tensordot(x[0], x[1], 1); });
  add("tensordot_of_no_axis", {"ab", "c"}, "abc", {{{2, 3}, {4}}},
      [](auto x) { return tensordot(x[0], x[1], 0); });
  add("tensordot_of_named_axes", {"abc", "cda"}, "bd",
      {{{2, 3, 4}, {4, 5, 2}}, {{2, 2, 2}, {2, 2, 2}}},
      [](auto x) { return tensordot(x[0], x[1], {0, -1}, {2, 0}); });
  add("outer", {"a", "b"}, "ab", {{{2}, {3}}, {{1}, {1}}, {{4}, {4}}, {{0}, {3}}, {{3}, {1}}},
      [](auto x) { return outer(x[0], x[1]); });
  add("vecdot", {"ab", "ab"}, "a", {{{2, 3}, {2, 3}}, {{1, 1}, {1, 1}}, {{3, 0}, {3, 0}}},
      [](auto x) { return vecdot(x[0], x[1]); });
  add("vecdot_of_vectors", {"a", "a"}, "", {{{3}, {3}}, {{1}, {1}}},
      [](auto x) { return vecdot(x[0], x[1]); });
  add("vecdot_broadcast", {"abc", "c"}, "ab", {{{2, 3, 4}, {4}}},
      [](auto x) { return vecdot(x[0], x[1]); });
  add("vecdot_along_the_first_axis", {"ab", "ab"}, "b", {{{2, 3}, {2, 3}}},
      [](auto x) { return vecdot(x[0], x[1], 0); });
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(linalg)

BG_CASES(rows())
[[maybe_unused]] const bool has_contractions = add_cases(contraction_rows(), __FILE__, __LINE__);

BOOST_AUTO_TEST_CASE(what_einsum_cannot_do_is_named) {
  const Expr a = input("a", {2, 3}), b = input("b", {3, 4}), i = input("i", {2, 3}, DType::i32);
  check_refusal([&] { einsum("ij,jk->ik", {a}); }, "einsum", "'ij,jk->ik' names 2 operands, got 1");
  check_refusal([&] { einsum("...j,jk", {a, b}); }, "einsum",
                "'...' in '...j,jk' is not supported; name every axis");
  check_refusal([&] { einsum("i1,jk", {a, b}); }, "einsum",
                "'1' at position 1 of 'i1,jk' is neither a letter nor ',' nor '->'");
  check_refusal([&] { einsum("ij-jk", {a, b}); }, "einsum",
                "'-' at position 2 of 'ij-jk' is neither a letter nor ',' nor '->'");
  check_refusal([&] { einsum("ij,jk->i,k", {a, b}); }, "einsum",
                "',' at position 8 of 'ij,jk->i,k' is neither a letter nor ',' nor '->'");
  check_refusal([&] { einsum("ii->i", {a}); }, "einsum",
                "index 'i' is repeated in one operand of 'ii->i'; diagonals are not supported");
  check_refusal([&] { einsum("ij->jj", {a}); }, "einsum",
                "index 'j' is repeated in the result of 'ij->jj'");
  check_refusal([&] { einsum("ij->ik", {a}); }, "einsum",
                "index 'k' of the result of 'ij->ik' is in no operand");
  check_refusal([&] { einsum("ijk->i", {a}); }, "einsum",
                "operand 0 'ijk' names 3 axes, its shape is [2, 3]");
  check_refusal([&] { einsum("ij,ik", {a, b}); }, "einsum",
                "index 'i' has size 2 in operand 0 and 3 in operand 1");
  check_refusal([&] { einsum("ij->", {i}); }, "einsum",
                "operand 0 must have a floating dtype, got i32");
  check_refusal([&] { einsum("ij,ij", {a, input("d", {2, 3}, DType::f64)}); }, "einsum",
                "dtypes differ: f32 and f64; convert one with astype");
  check_refusal([&] { einsum("ij->i", {Expr()}); }, "einsum", "operand 0 is an empty Expr");
  check_refusal([&] { tensordot(a, b); }, "tensordot",
                "axis 0 of [2, 3] and axis 0 of [3, 4] differ in size");
  check_refusal([&] { tensordot(a, b, 3); }, "tensordot", "3 axes of [2, 3] and [3, 4]");
  check_refusal([&] { tensordot(a, b, {1}, {0, 1}); }, "tensordot",
                "wants as many axes of a as of b, got 1 and 2");
  check_refusal([&] { tensordot(a, b, {1, 1}, {0, 0}); }, "tensordot",
                "axis 1 of a or 0 of b is named twice");
  check_refusal([&] { tensordot(a, b, {2}, {0}); }, "tensordot",
                "axis 2 is outside [-2, 2) for shape [2, 3]");
  check_refusal([&] { outer(a, b); }, "outer", "wants two vectors, got [2, 3] and [3, 4]");
  check_refusal([&] { vecdot(a, b); }, "vecdot", "sizes of axis -1 differ: [2, 3] and [3, 4]");
  check_refusal([&] { vecdot(a, input("v", {3}), 0); }, "vecdot",
                "axis 0 is not in both [2, 3] and [3]");
  check_refusal([&] { vecdot(i, i); }, "vecdot", "wants a floating dtype, got i32");
}

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
