// Products by cuBLASLt on a GPU beside those of own kernels, in all layouts: what the library is
// told of a problem is right. Needs a GPU and the library.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "backends/cuda/products/cuda_matmul.h"
#include "backends/cuda/products/lt_product.h"
#include "blockgrad/ops/linalg.h"
#include "tests/cuda/run_nodes.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::NodeCase;
using test_support::NodeInput;
using test_support::NodeRun;

namespace {

/// Takes the library for everything, by its first algorithm.
class ByLibrary final : public CudaProducts {
 public:
  ByLibrary() : CudaProducts(cuda_product_source("a GPU", 1)) {}

  ProductChoice choose(const CudaProduct&, const LtFit& fit) const override {
    if (!fit.why_not.empty()) return {.why = fit.why_not};
    const std::vector<LtChoice> found =
        lt_choices(*library(), fit.problem, 1, most_product_workspace);
    if (found.empty()) return {.why = "no algorithm"};
    return {lt_call(library(), fit.problem, found[0]), found[0].workspace, 0, "cuBLASLt"};
  }
};

/// batch x rows x columns, where rows, or columns, have `pad` elements behind them.
NodeInput matrix(DType dtype, const Shape& shape, bool is_transposed, std::int64_t pad,
                 std::uint64_t seed) {
  const std::int64_t rows = shape[1], columns = shape[2];
  const std::int64_t line = (is_transposed ? rows : columns) + pad;
  const std::int64_t lines = is_transposed ? columns : rows;
  Layout layout = Layout::dense(shape);
  layout.strides = {line * lines, is_transposed ? 1 : line, is_transposed ? line : 1};
  return {test_support::drawn({shape[0] * lines * line}, dtype, seed, -1, 1), layout};
}

struct Case {
  Shape sizes;  // batch, m, n, k
  DType dtype, result;
  CudaMath math = CudaMath::exact;
  double tolerance = 0;  // of the largest element
};

double largest(const Tensor& x) {
  double most = 0;
  for (std::int64_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x.at(i)));
  return most;
}

void compare(const NodeRun& library, const NodeRun& own, double tolerance) {
  BOOST_TEST(library.why.find("cuBLASLt") != std::string::npos, library.why);
  const double allowed = tolerance * largest(own.result);
  for (std::int64_t i = 0; i < own.result.size(); ++i) {
    if (std::abs(library.result.at(i) - own.result.at(i)) <= allowed) continue;
    BOOST_ERROR("element " << i << " is " << library.result.at(i) << ", by " << own.why << " "
                           << own.result.at(i));
    return;
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(lt_device)

BOOST_AUTO_TEST_CASE(products_of_all_layouts_and_types_are_those_of_own_kernels) {
  if (!test_support::tests_a_gpu()) {
    BOOST_TEST_MESSAGE("skipped: it runs on a GPU alone");
    return;
  }
  static const ByLibrary by_library;
  const GraphNode node{MatMul{}, {}, {}, {}};
  const std::vector<Case> cases = {
      {{1, 128, 96, 64}, DType::f32, DType::f32, CudaMath::exact, 1e-5},
      {{6, 64, 40, 24}, DType::f32, DType::f32, CudaMath::exact, 1e-5},
      {{1, 128, 96, 64}, DType::f32, DType::f32, CudaMath::tf32, 2e-3},
      {{3, 40, 24, 64}, DType::f64, DType::f64, CudaMath::exact, 1e-13},
      {{1, 128, 96, 64}, DType::bf16, DType::bf16, CudaMath::exact, 1e-2},
      {{1, 128, 96, 64}, DType::bf16, DType::f32, CudaMath::exact, 1e-5},
      {{4, 64, 128, 72}, DType::f16, DType::f32, CudaMath::exact, 1e-5},
      {{1, 72, 8, 40}, DType::f16, DType::f16, CudaMath::exact, 2e-3}};
  for (const Case& it : cases) {
    const std::int64_t batch = it.sizes[0], m = it.sizes[1], n = it.sizes[2], k = it.sizes[3];
    std::vector<NodeCase> nodes;
    for (const int form : {0, 1, 2, 3, 4, 5, 6, 7}) {
      const std::int64_t pad = form < 4 ? 0 : 8;
      NodeCase one{node,
                   matmul_kernel,
                   {matrix(it.dtype, {batch, m, k}, form % 2 == 1, pad, 1),
                    matrix(it.dtype, {batch, k, n}, form / 2 % 2 == 1, pad, 2)},
                   {it.result, {batch, m, n}}};
      one.target.math = it.math;
      nodes.push_back(one);
      one.target.libraries.products = &by_library;
      nodes.push_back(one);
    }
    const std::vector<NodeRun> runs = test_support::run_nodes(nodes);
    for (std::size_t i = 0; i < runs.size(); i += 2)
      BOOST_TEST_CONTEXT(name(it.dtype) << " to " << name(it.result) << ", " << m << " x " << n
                                        << " x " << k << ", form " << i / 2)
    compare(runs[i + 1], runs[i], it.tolerance);
  }
}

BOOST_AUTO_TEST_SUITE_END()
