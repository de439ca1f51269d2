// Programs with convolutions on CUDA's executable against the CPU.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <string>

#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

Tensor drawn(const Shape& shape, DType dtype, std::uint64_t seed) {
  return test_support::drawn(shape, dtype, seed, -1, 1);
}

struct Case {
  Shape x, w;
  Conv2dOptions options;
};

/// The convolution, what it sends back to its input and to its weight; feeds what they read.
struct Three {
  Expr y, dx, dw;

  Three(const Case& c, DType dtype, Feeds& feeds) {
    const auto fed = [&](const Shape& shape) {
      const Expr leaf = input("leaf" + std::to_string(feeds.size()), shape, dtype);
      feeds.push_back({leaf, drawn(shape, dtype, feeds.size())});
      return leaf;
    };
    const Expr x = fed(c.x), w = fed(c.w);
    y = conv2d(x, w, c.options);
    const Expr dy = fed(y.shape());
    dx = make(Conv2dInput{c.options, {c.x[2], c.x[3]}}, {dy, w});
    dw = make(Conv2dWeight{c.options, {c.w[2], c.w[3]}}, {x, dy});
  }
};

/// The CPU sums all but the weight's gradient in the same order.
void check(const std::vector<Case>& cases, DType dtype, double tolerance) {
  Feeds feeds;
  std::vector<Output> same, joined;
  for (const Case& c : cases) {
    const Three three(c, dtype, feeds);
    same.insert(same.end(), {three.y, three.dx});
    joined.emplace_back(three.dw);
  }
  test_support::check_on_cuda(same, feeds, 0);
  test_support::check_on_cuda(joined, feeds, tolerance);
}

const std::vector<Case> cases = {
    {{2, 1, 12, 12}, {6, 1, 5, 5}, {}},
    {{2, 3, 9, 8}, {5, 3, 3, 3}, {.stride = 1, .padding = 1}},
    {{3, 4, 11, 7}, {6, 2, 3, 2}, {.stride = {2, 3}, .padding = {1, 0}, .groups = 2}},
    {{1, 2, 10, 10}, {4, 2, 3, 3}, {.stride = 2, .padding = 2, .dilation = {2, 3}}},
    {{2, 6, 5, 5}, {6, 1, 3, 3}, {.padding = 1, .groups = 6}},
    {{2, 3, 7, 6}, {4, 3, 1, 1}, {.stride = 3}},  // most places of x reach nothing
    {{2, 2, 1, 1}, {40, 2, 3, 3}, {.padding = 1}},
    {{0, 2, 4, 4}, {3, 2, 2, 2}, {}},
    {{2, 8, 6, 6}, {40, 4, 1, 1}, {.groups = 2}},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(conv_program)

BOOST_AUTO_TEST_CASE(convolutions_and_their_gradients_agree_with_the_cpu) {
  if (!test_support::skips_cuda_programs()) check(cases, DType::f32, 1e-5);
}

BOOST_AUTO_TEST_CASE(doubles_are_convolved) {
  if (!test_support::skips_cuda_programs()) check({cases[2]}, DType::f64, 1e-14);
}

BOOST_AUTO_TEST_CASE(larger_ones_go_by_warps_and_slices) {
  if (test_support::skips_cuda_programs()) return;
  check({{{2, 9, 15, 13}, {33, 9, 3, 3}, {.stride = {1, 2}, .padding = 1}},
         {{3, 8, 9, 9}, {68, 4, 3, 3}, {.padding = 1, .groups = 2}},
         {{6, 2, 16, 16}, {3, 2, 2, 2}, {}}},
        DType::f32, 1e-5);
}

BOOST_AUTO_TEST_CASE(small_planes_of_many_images_are_one_long_plane) {
  if (test_support::skips_cuda_programs()) return;
  Feeds feeds;
  const Three three({{80, 30, 4, 4}, {32, 15, 3, 3}, {.padding = 1, .groups = 2}}, DType::f32,
                    feeds);
  const std::string text =
      compile({three.y, three.dx}, {}, test_support::cuda_test_device()).explain();
  for (const char* line : {"implicit warps f32 | m,n,k 16x1280x135 | grid 16x32x32",
                           "implicit warps f32 | m,n,k 15x1280x144 | grid 15x32x32"})
    BOOST_TEST(text.find(line) != std::string::npos, text);
  test_support::check_on_cuda({three.y, three.dx}, feeds, 0);
}

BOOST_AUTO_TEST_CASE(sums_over_many_channels_are_cut_in_slices) {
  if (test_support::skips_cuda_programs()) return;
  Feeds feeds;
  const Three three({{2, 50, 3, 3}, {70, 50, 3, 3}, {.padding = 1}}, DType::f32, feeds);
  test_support::check_on_cuda({three.y, three.dx, three.dw}, feeds, 1e-5);
}

BOOST_AUTO_TEST_CASE(an_infinite_weight_meets_only_what_it_reaches) {
  if (test_support::skips_cuda_programs()) return;
  Feeds feeds;
  const Three three({{1, 1, 4, 4}, {1, 1, 2, 2}, {.stride = 2}}, DType::f32, feeds);
  const std::vector<float> weights = {INFINITY, 1, 2, 3};
  feeds[1].value = tensor(std::span<const float>(weights), Shape{1, 1, 2, 2});
  test_support::check_on_cuda({three.y, three.dx}, feeds, 0);
}

BOOST_AUTO_TEST_CASE(an_infinite_weight_times_a_zero_around_the_image_is_nan_here) {
  if (test_support::skips_cuda_programs()) return;
  Feeds feeds;
  const Three three({{1, 1, 5, 5}, {1, 1, 2, 2}, {.stride = 2}}, DType::f32, feeds);
  const std::vector<float> weights = {INFINITY, 1, 2, 3};
  feeds[1].value = tensor(std::span<const float>(weights), Shape{1, 1, 2, 2});
  test_support::check_on_cuda({three.y}, feeds, 0);
  const Tensor dx = compile({three.dx}, {}, test_support::cuda_test_device()).run(feeds).tensor(0);
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 5; ++j) {
      const bool is_behind_dy = i % 2 + j % 2 == 0 && (i == 4 || j == 4);
      BOOST_TEST(std::isnan(dx.at(i * 5 + j)) == is_behind_dy, i << ", " << j);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_report_shows_how_the_implicit_product_is_cut) {
  if (test_support::skips_cuda_programs()) return;
  Feeds feeds;
  const Three three({{2, 9, 15, 13}, {33, 9, 3, 3}, {.stride = {1, 2}, .padding = 1}}, DType::f32,
                    feeds);
  const std::string text =
      compile({three.y, three.dx, three.dw}, {}, test_support::cuda_test_device()).explain();
  for (const char* line :
       {"implicit warps f32 | m,n,k 33x105x81 | grid 32x32x32 > warp 32x16x32 > instruction 4x4x1",
        "2 implicit products, first elements f32 | m,n,k 9x105x99",
        "implicit warps f32 | m,n,k 33x81x210"})
    BOOST_TEST(text.find(line) != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
