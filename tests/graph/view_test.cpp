// Views and Unviews: composition, copies where a layout is refused, and gradients that stay Views.
#include "blockgrad/graph/view.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"

using namespace blockgrad;

namespace {

int lines_with(const std::string& text, std::string_view word) {
  int count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++count;
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(view)

BOOST_AUTO_TEST_CASE(views_that_change_nothing_make_no_node) {
  const Expr x = input("x", {2, 3});
  BOOST_TEST((reshape(x, Shape{2, 3}) == x));
  BOOST_TEST((broadcast_to(x, Shape{2, 3}) == x));
  BOOST_TEST((permute_dims(x, std::vector{0, 1}) == x));
  BOOST_TEST((permute_dims(x, std::vector{-2, -1}) == x));
  BOOST_TEST((slice(x, 0, 0, 2) == x));
}

BOOST_AUTO_TEST_CASE(the_gradient_of_a_permutation_or_reshape_is_a_view_again) {
  const Expr x = input("x", {2, 3, 4}, DType::f64), dy = input("dy", {4, 2, 3}, DType::f64);
  const Expr wrt[] = {x};
  const Expr g = vjp(permute_dims(x, std::vector{2, 0, 1}), dy, wrt)[0];
  for (const Node* node : detail::in_order({&g, 1})) BOOST_TEST((node->op.as<Unview>() == nullptr));
  const Tensor value = evaluate(g, {{dy, arange(0, 24, 1, DType::f64).reshape({4, 2, 3})}});
  BOOST_TEST(value.at(1) == 6);
}

BOOST_AUTO_TEST_CASE(chains_of_views_become_one) {
  const Expr x = input("x", {4, 6}, DType::f64);
  Expr y = x;
  for (int i = 0; i < 5; ++i) y = slice(transpose(y), 0, 0, 100);
  const Program program = compile({y + 1.0});
  BOOST_TEST(
      lines_with(program.to_text(), " view") + lines_with(program.to_text(), "transpose") <= 2,
      program.to_text());
}

BOOST_AUTO_TEST_CASE(products_read_transposed_operands_in_place) {
  const Expr a = input("a", {3, 2}), b = input("b", {4, 3});
  const Program program = compile({matmul(transpose(a), transpose(b))});
  BOOST_TEST(program.report().kernels == 1, program.to_text());
}

BOOST_AUTO_TEST_CASE(a_layout_that_a_product_refuses_is_copied_first) {
  const Expr a = input("a", {4, 8}, DType::f64), b = input("b", {4, 4}, DType::f64);
  const Expr every_second = slice(a, 1, 0, 8, 2);
  const Program program = compile({matmul(every_second, b)});
  BOOST_TEST(program.report().kernels == 2, program.to_text());
  const Tensor y =
      evaluate(matmul(every_second, b),
               {{a, arange(0, 32, 1, DType::f64).reshape({4, 8})}, {b, eye(4, DType::f64)}});
  for (int i = 0; i < 4; ++i) BOOST_TEST(y.at(4 + i) == 8 + 2 * i);
}

BOOST_AUTO_TEST_CASE(overlapping_parts_add_and_the_rest_is_filled) {
  const Expr a = input("a", {3}, DType::f64), b = input("b", {3}, DType::f64);
  Layout first = Layout::dense({3}), second = Layout::dense({3});
  second.offset = 2;
  const Expr y = make(Unview{{first, second}, {6}, -1.0}, {a, b});
  const Feeds feeds = {{a, tensor({1.0, 2.0, 3.0}, {3})}, {b, tensor({10.0, 20.0, 30.0}, {3})}};
  const double expected[] = {1, 2, 13, 20, 30, -1};
  const Tensor value = evaluate(y, feeds);
  for (int i = 0; i < 6; ++i) BOOST_TEST(value.at(i) == expected[i]);
  const Tensor g = evaluate(grad(sum(y * y), {b})[0], feeds);
  BOOST_TEST(g.at(0) == 26);
}

BOOST_AUTO_TEST_CASE(overlapping_bools_are_true_where_any_part_is) {
  const bool first[] = {true, true, false}, second[] = {true, false, false};
  const Expr a = constant(tensor(std::span<const bool>(first), {3})),
             b = constant(tensor(std::span<const bool>(second), {3}));
  const Layout part{{3}, {1}, 0}, behind{{3}, {1}, 1};
  const Tensor y = evaluate(make(Unview{{part, behind}, {5}, 1.0}, {a, b}));
  const std::vector<std::uint8_t> expected{1, 1, 0, 0, 1};
  for (std::size_t i = 0; i < 5; ++i) {
    BOOST_TEST(static_cast<int>(std::to_integer<std::uint8_t>(y.bytes()[i])) == expected[i]);
  }
  const Expr same = constant(tensor(std::span<const bool>(first), {3}));
  const Tensor both = evaluate(make(Unview{{part, part}, {3}, 0.0}, {a, same}));
  BOOST_TEST(static_cast<int>(std::to_integer<std::uint8_t>(both.bytes()[0])) == 1);
}

BOOST_AUTO_TEST_CASE(a_layout_that_leaves_its_value_is_our_own_mistake) {
  const Expr x = input("x", {3});
  Layout outside = Layout::dense({3});
  outside.offset = 1;
  BOOST_CHECK_THROW(make(View{outside}, {x}), InternalError);
}

BOOST_AUTO_TEST_CASE(reversed_views_are_read_by_every_kernel) {
  const Expr x = input("x", {2, 3}, DType::f64);
  const Expr reversed = make(View{{{2, 3}, {3, -1}, 2}, "flip"}, {x});
  const Feeds feeds = {{x, tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3})}};
  BOOST_TEST(evaluate(reversed + 0.0, feeds).at(0) == 3);
  BOOST_TEST(evaluate(sum(reversed * reversed, 1), feeds).at(0) == 14);
  BOOST_TEST(evaluate(argmax(reversed, 1), feeds).at(1) == 0);
  BOOST_TEST(evaluate(sum(reversed, 0), feeds).at(0) == 9);
  BOOST_TEST(evaluate(matmul(reversed, transpose(reversed)), feeds).at(1) == 32);
  BOOST_TEST(evaluate(transpose(reversed), feeds).at(1) == 6);
  BOOST_TEST(evaluate(grad(sum(reversed * constant(tensor({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3}))),
                           {x})[0],
                      feeds)
                 .at(0) == 3);
}

BOOST_AUTO_TEST_SUITE_END()
