// Parts put into a larger value on CUDA's executable against the CPU's kernels: equal bits.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"
#include "tests/cuda/drawn_case.h"

using namespace blockgrad;
using test_support::DrawnCase;
using test_support::skips_cuda_programs;

namespace {

Layout layout(const Shape& shape, std::initializer_list<std::int64_t> strides,
              std::int64_t offset = 0) {
  Layout made{shape, {}, offset};
  std::copy(strides.begin(), strides.end(), made.strides.begin());
  return made;
}

Expr put_parts(DrawnCase& t, std::vector<Layout> layouts, const Shape& shape, DType dtype,
               double fill) {
  std::vector<Expr> parts;
  for (const Layout& part : layouts) parts.push_back(t.values(part.shape, dtype));
  return make(Unview{std::move(layouts), shape, Number{fill}}, std::move(parts));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_unview)

BOOST_AUTO_TEST_CASE(parts_that_are_apart_are_copied) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::boolean}) {
    const auto put = [&](std::vector<Layout> layouts, const Shape& shape) {
      t.outputs.push_back(
          put_parts(t, std::move(layouts), shape, dtype, dtype == DType::boolean ? 1 : 3));
    };
    put({layout({2, 3}, {8, 1}, 9), layout({2, 3}, {8, 1}, 12)}, {4, 8});
    put({layout({3, 2}, {-8, 2}, 28)}, {4, 8});
    put({layout({2, 16}, {32, 1}, 32), layout({2, 16}, {32, 1}, 16), layout({32}, {1}, 96)},
        {4, 32});
    put({layout({}, {}, 2)}, {3});
  }
  for (const std::int64_t n : {0, 1, 50})
    t.outputs.push_back(concat({t.values({n, 3}, DType::f32), t.values({n, 5}, DType::f32)}, 1));
  std::vector<Expr> many;
  for (int k = 0; k < 20; ++k) many.push_back(t.values({4, 4}, DType::f32));
  t.outputs.push_back(stack(many, 1));
  t.outputs.push_back(pad(t.values({3, 4}, DType::f32), {1, 0}, {2, 3}));
  t.check();
}

BOOST_AUTO_TEST_CASE(what_meets_in_one_place_is_added_in_order) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  for (const DType dtype : {DType::f32, DType::f16, DType::u8, DType::boolean}) {
    const auto put = [&](std::vector<Layout> layouts, const Shape& shape) {
      t.outputs.push_back(put_parts(t, std::move(layouts), shape, dtype, 2));
    };
    // Windows of 3 x 3 with steps of 2 and 1, the windows in front and behind.
    put({layout({2, 3, 4, 3, 3}, {63, 18, 1, 9, 1})}, {2, 7, 9});
    put({layout({2, 3, 3, 3, 4}, {63, 9, 1, 18, 2})}, {2, 7, 9});
    // The same of a flat value, and backwards.
    put({layout({2, 3, 3, 3, 4}, {63, 9, 1, 18, 2})}, {126});
    put({layout({3, 4}, {-2, 3}, 5)}, {16});
    // Parts over parts, of one kind and of several; steps of 0.
    put({layout({2, 3}, {8, 1}), layout({2, 3}, {8, 1}, 2), layout({2, 3}, {8, 1}, 9),
         layout({4}, {8}, 1), layout({}, {}, 3), layout({3, 2}, {0, 1}, 30)},
        {4, 8});
    put({layout({5, 5}, {6, 1}), layout({4}, {9}, 1)}, {5, 7});
  }
  t.check();
}

BOOST_AUTO_TEST_CASE(random_layouts_are_added_up_like_on_the_cpu) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  const auto below = [&](std::int64_t n) {
    return static_cast<std::int64_t>(t.random() % static_cast<std::uint64_t>(n));
  };
  for (int turn = 0; turn < 6; ++turn) {
    const Shape whole{2 + below(3), 1 + below(5), 3 + below(4)};
    std::vector<Layout> layouts;
    for (int k = 0; k < 3; ++k) {
      std::vector<std::int64_t> sizes;
      Layout part;
      std::int64_t least = 0, greatest = 0;
      for (int a = 0; a < 4; ++a) {
        const std::int64_t size = 1 + below(3), stride = below(9) - 3;
        const std::int64_t reach = (size - 1) * stride;
        const bool fits = greatest - least + std::abs(reach) < whole.size();
        sizes.push_back(fits ? size : 1);
        part.strides[static_cast<std::size_t>(a)] = stride;
        if (fits) (reach < 0 ? least : greatest) += reach;
      }
      part.shape = Shape(sizes);
      part.offset = below(whole.size() - (greatest - least)) - least;
      layouts.push_back(part);
    }
    t.outputs.push_back(put_parts(t, std::move(layouts), whole, DType::f32, -1));
  }
  t.check();
}

// More of them than a kernel may have parameters.
BOOST_AUTO_TEST_CASE(overlapping_parts_may_all_have_other_shapes) {
  if (skips_cuda_programs()) return;
  DrawnCase t;
  std::vector<Layout> layouts;
  for (std::int64_t k = 1; k <= 180; ++k) layouts.push_back(layout({k}, {1}, k % 7));
  t.outputs.push_back(put_parts(t, std::move(layouts), {200}, DType::f32, 0));
  t.check();
}

BOOST_AUTO_TEST_SUITE_END()
