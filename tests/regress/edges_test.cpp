// Faults of ops at their edges that once gave wrong values.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

BOOST_AUTO_TEST_SUITE(edges)

BOOST_AUTO_TEST_CASE(softmax_over_more_classes_than_f16_can_count) {
  const Expr x = constant(full({70000}, 0, DType::f16));
  BOOST_TEST(evaluate(softmax(x)).at(5) ==
             static_cast<double>(static_cast<float>(f16(1 / 70000.0f))));
  BOOST_TEST(std::abs(evaluate(log_softmax(x)).at(5) + std::log(70000.0)) < 0.01);
}

BOOST_AUTO_TEST_CASE(a_sample_without_weight_sends_no_nan) {
  const Expr x = input("x", {2, 2}, DType::f64);
  const Feed fed{x, tensor({1.0, 2.0, -infinity, -infinity}, {2, 2})};
  const Expr labels = constant(tensor({0, -1}, {2}));
  const Tensor slope =
      evaluate(grad(cross_entropy(x, labels, {.ignore_index = -1}), {x})[0], {fed});
  BOOST_TEST(slope.at(2) == 0);
  BOOST_TEST(slope.at(3) == 0);
  const Expr z = input("z", {2}, DType::f64);
  const Loss loss = binary_cross_entropy_with_logits(z, constant(ones({2}, DType::f64)),
                                                     constant(tensor({1.0, 0.0}, {2})));
  BOOST_TEST(evaluate(grad(loss, {z})[0], {{z, tensor({1.0, std::nan("")}, {2})}}).at(1) == 0);
}

BOOST_AUTO_TEST_CASE(products_of_f16_are_added_up_as_f32) {
  const Expr a = constant(full({2}, 300, DType::f16));
  const Expr b = constant(tensor({300.0f, -300.0f}, {2}).astype(DType::f16));
  BOOST_TEST(evaluate(vecdot(a, b)).at(0) == 0);
  BOOST_TEST(evaluate(einsum("i,i->", {a, b})).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(metrics_refuse_labels_out_of_range) {
  const Expr x = constant(zeros({2, 3})), labels = input("labels", {2}, DType::i32);
  const Feed bad{labels, tensor({1, 7}, {2})};
  BOOST_TEST(error_of([&] { evaluate(mean(accuracy(x, labels)), {bad}); }).find("7") !=
             std::string::npos);
  BOOST_TEST(error_of([&] { evaluate(mean(topk_accuracy(x, labels, 2)), {bad}); }).find("7") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_given_mean_of_r2_counts_no_target_twice) {
  const Expr t = constant(tensor({0.0, 1.0, 2.0}, {3}));
  BOOST_TEST(error_of([&] {
               r2(t, t, constant(ones({2, 1}, DType::f64)));
             }).find("cannot broadcast") != std::string::npos);
  BOOST_TEST(evaluate(r2(t, t, constant(ones({1}, DType::f64))).weight).at(0) == 2);
}

BOOST_AUTO_TEST_CASE(the_variance_of_nothing_is_an_empty_sum) {
  BOOST_TEST(evaluate(var(constant(zeros({3, 0}, DType::f64)), 1, false, -1)).at(0) == 0);
  BOOST_TEST(std::isnan(evaluate(var(constant(zeros({3, 0}, DType::f64)), 1)).at(0)));
}

BOOST_AUTO_TEST_CASE(a_matrix_is_multiplied_once_for_all_batches_and_so_is_its_gradient) {
  const Expr x = input("x", {64, 16, 32}), w = parameter(ones({32, 32}), "w");
  const Expr b = parameter(ones({32}), "b");
  Program program = compile({grad(sum(square(linear(x, w, b))), {w})[0]});
  BOOST_TEST(program.explain().find("m,n,k 1024x32x32") != std::string::npos);
  BOOST_TEST(program.explain().find("m,n,k 32x32x1024") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(running_statistics_are_two_states) {
  Context context;
  const Expr x = input("x", {4, 2});
  const Expr p = parameter(ones({2}), "p"), q = parameter(ones({2}), "q");
  const Expr s = state(ones({2}), "s");
  BOOST_TEST(error_of([&] {
               batch_norm(x, {}, {}, BatchStats{p, q}, context);
             }).ends_with("the running statistics must be states, not parameters"));
  BOOST_TEST(error_of([&] {
               batch_norm(x, {}, {}, BatchStats{s, s}, context);
             }).ends_with("the running mean and variance must be two states"));
}

BOOST_AUTO_TEST_CASE(an_empty_axis_is_not_cut_into_many_parts) {
  const Expr x = constant(zeros({0, 2}));
  BOOST_TEST(error_of([&] { split(x, std::int64_t{1} << 45, 0); }).find("cannot cut axis") !=
             std::string::npos);
  BOOST_TEST(split(x, 1, 0).size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
