// Products by cuBLASLt's interface, upon a library that multiplies on the CPU what its descriptors
// say: no GPU is needed.
#include "backends/cuda/products/lt_product.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>
#include <vector>

#include "blockgrad/graph/half.h"
#include "cuda/dense_problem.h"
#include "data/support.h"
#include "support/checks.h"
#include "support/stand_in.h"

using namespace blockgrad;
using test_support::dense_problem;
using test_support::error_of;
using test_support::StandIn;

namespace {

double number(DType dtype, const std::byte* at) {
  const auto as = [&](auto value) {
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::f64: return as(0.0);
    case DType::bf16: return detail::from_bf16(as(static_cast<unsigned short>(0)));
    case DType::f16: return detail::from_f16(as(static_cast<unsigned short>(0)));
    default: return as(0.0F);
  }
}

void put(DType dtype, std::byte* at, double value) {
  const auto as = [&](auto bits) { std::memcpy(at, &bits, sizeof bits); };
  switch (dtype) {
    case DType::f64: return as(value);
    case DType::bf16: return as(detail::to_bf16(static_cast<float>(value)));
    case DType::f16: return as(detail::to_f16(static_cast<float>(value)));
    default: return as(static_cast<float>(value));
  }
}

/// A [batch, rows, columns] operand in memory of its own, all of it poisoned or drawn.
struct Operand3 {
  DType dtype;
  Layout layout;
  std::vector<std::byte> memory;

  Operand3(DType type, const Layout& of, std::mt19937_64* random) : dtype(type), layout(of) {
    std::int64_t last = layout.offset;
    for (int axis = 0; axis < 3; ++axis)
      last += std::max<std::int64_t>(layout.shape[axis] - 1, 0) *
              layout.strides[static_cast<std::size_t>(axis)];
    const auto size = static_cast<std::int64_t>(size_of(dtype));
    memory.assign(static_cast<std::size_t>((last + 1) * size), std::byte{0xff});
    std::uniform_real_distribution<double> uniform(-1, 1);
    for (std::int64_t i = 0; random && i <= last; ++i)
      put(dtype, memory.data() + i * size, uniform(*random));
  }
  std::byte* at(std::int64_t batch, std::int64_t row, std::int64_t column) {
    const auto& s = layout.strides;
    return memory.data() + (layout.offset + batch * s[0] + row * s[1] + column * s[2]) *
                               static_cast<std::int64_t>(size_of(dtype));
  }
  double get(std::int64_t batch, std::int64_t row, std::int64_t column) {
    return number(dtype, at(batch, row, column));
  }
  CudaFactor factor(CudaSide side) const { return cuda_matrix(side, {}, dtype, layout); }
};

Layout rows(const Shape& shape, std::int64_t gap, bool is_shared, std::int64_t offset) {
  Layout layout{.shape = shape, .offset = offset};
  layout.strides[2] = 1;
  layout.strides[1] = shape[2] + gap;
  layout.strides[0] = is_shared ? 0 : shape[1] * layout.strides[1] + gap;
  return layout;
}

Layout columns(const Shape& shape, std::int64_t gap, bool is_shared, std::int64_t offset) {
  Layout layout = rows({shape[0], shape[2], shape[1]}, gap, is_shared, offset);
  layout.shape = shape;
  std::swap(layout.strides[1], layout.strides[2]);
  return layout;
}

/// One chain of fused multiply-adds, as the CPU's kernels have it.
double chain(Operand3& a, Operand3& b, std::int64_t batch, std::int64_t row, std::int64_t column) {
  double sum = 0;
  float sum_f32 = 0;
  for (std::int64_t i = 0; i < a.layout.shape[2]; ++i) {
    const double x = a.get(batch, row, i), y = b.get(batch, i, column);
    sum = std::fma(x, y, sum);
    sum_f32 = std::fma(static_cast<float>(x), static_cast<float>(y), sum_f32);
  }
  return a.dtype == DType::f64 ? sum : sum_f32;
}

struct Sizes {
  std::int64_t batch, m, n, k;
};

void check_product(const StandIn& library, const Sizes& of, DType dtype, bool ta, bool tb,
                   std::int64_t gap, bool shares_b) {
  std::mt19937_64 random(static_cast<std::uint64_t>(of.m * 31 + of.n * 7 + of.k));
  Operand3 a(dtype, (ta ? columns : rows)({of.batch, of.m, of.k}, gap, false, gap), &random);
  Operand3 b(dtype, (tb ? columns : rows)({of.batch, of.k, of.n}, gap, shares_b, 0), &random);
  Operand3 c(dtype, rows({of.batch, of.m, of.n}, gap, false, 0), nullptr);
  const std::vector<std::byte> before = c.memory;
  const CudaProduct product{.m = of.m, .n = of.n, .k = of.k, .batch = of.batch, .dtype = dtype};
  const LtFit fit = lt_problem(product, a.factor(CudaSide::a), b.factor(CudaSide::b),
                               c.factor(CudaSide::c), dtype);
  BOOST_TEST_REQUIRE(fit.why_not == "");
  const std::shared_ptr<const LtHandle> handle = library.handle();
  const LtChoice first = lt_choices(*handle, fit.problem, 1, 0).at(0);
  const std::uint64_t args[] = {reinterpret_cast<std::uint64_t>(a.at(0, 0, 0)),
                                reinterpret_cast<std::uint64_t>(b.at(0, 0, 0)),
                                reinterpret_cast<std::uint64_t>(c.at(0, 0, 0)), 0};
  lt_call(handle, fit.problem, first)->enqueue(nullptr, args);
  Operand3 expected(dtype, c.layout, nullptr);
  for (std::int64_t batch = 0; batch < of.batch; ++batch) {
    for (std::int64_t row = 0; row < of.m; ++row) {
      for (std::int64_t column = 0; column < of.n; ++column)
        put(dtype, expected.at(batch, row, column), chain(a, b, batch, row, column));
    }
  }
  // Between the rows nothing has changed.
  BOOST_TEST((c.memory == expected.memory), of.m << "x" << of.n << "x" << of.k << " batch "
                                                 << of.batch << " " << name(dtype) << " " << ta
                                                 << tb << " gap " << gap);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(lt_product)

BOOST_AUTO_TEST_CASE(every_layout_batch_and_dtype_multiplies_what_a_plain_loop_does) {
  const StandIn library;
  const Sizes sizes[] = {{1, 1, 1, 1}, {1, 3, 5, 7}, {4, 2, 9, 6},
                         {3, 1, 8, 5}, {2, 6, 1, 4}, {1, 17, 16, 33}};
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const Sizes& of : sizes) {
      for (const bool ta : {false, true}) {
        for (const bool tb : {false, true}) {
          check_product(library, of, dtype, ta, tb, 0, false);
          check_product(library, of, dtype, ta, tb, 3, of.batch > 1);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(tf32_rounds_and_exact_f32_does_not) {
  const StandIn library;
  const float x = 1.0F + 0x1p-12F;  // TF32 has 10 bits behind the point
  float result = 0;
  const std::uint64_t args[] = {reinterpret_cast<std::uint64_t>(&x),
                                reinterpret_cast<std::uint64_t>(&x),
                                reinterpret_cast<std::uint64_t>(&result), 0};
  const auto run = [&](CudaMath math) {
    const LtProblem problem = dense_problem({.m = 1, .n = 1, .k = 1, .math = math});
    const auto handle = library.handle();
    lt_call(handle, problem, lt_choices(*handle, problem, 1, 0).at(0))->enqueue(nullptr, args);
    return result;
  };
  BOOST_TEST(run(CudaMath::tf32) == 1.0F);
  BOOST_TEST(run(CudaMath::exact) == x * x);
}

BOOST_AUTO_TEST_CASE(algorithms_are_within_the_workspace_and_none_adds_slices_as_they_are_done) {
  const StandIn library;
  const auto handle = library.handle();
  const LtProblem problem = dense_problem({.m = 4, .n = 4, .k = 4});
  for (const LtChoice& choice : lt_choices(*handle, problem, 10, 256))
    BOOST_TEST(choice.workspace <= 256);
  BOOST_TEST(lt_choices(*handle, problem, 2, 1 << 20).size() == 2u);
  BOOST_TEST(lt_choices(*handle, problem, 10, 1 << 20).size() >
             lt_choices(*handle, problem, 10, 256).size());
}

BOOST_AUTO_TEST_CASE(an_algorithm_that_the_library_does_not_know_is_refused) {
  const StandIn library;
  const LtProblem problem = dense_problem({.m = 4, .n = 4, .k = 4});
  BOOST_TEST(error_of([&] { lt_call(library.handle(), problem, {}); }) ==
             "cuBLASLt refuses this algorithm: CUBLAS_STATUS_INVALID_VALUE, 7");
  LtChoice large = lt_choices(*library.handle(), problem, 10, 1 << 20).at(1);
  BOOST_TEST(large.workspace == 4096);
  large.workspace = 100;
  BOOST_TEST(error_of([&] { lt_call(library.handle(), problem, large); }) ==
             "cuBLASLt wants 4096 bytes of workspace, not 100");
}

BOOST_AUTO_TEST_SUITE_END()
