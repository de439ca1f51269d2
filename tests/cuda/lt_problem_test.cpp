// What cuBLASLt is asked for a product, with the installed library and with one that stands in: no
// GPU is needed.
#include "backends/cuda/products/lt_problem.h"

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <optional>
#include <vector>

#include "backends/cuda/machine/shared_library.h"
#include "backends/cuda/products/lt_product.h"
#include "blockgrad/graph/error.h"
#include "data/support.h"
#include "support/checks.h"

#if BG_WITH_CUDA && __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define BG_WITH_CUBLASLT_HEADER
#endif

using namespace blockgrad;
using test_support::contains;

namespace {

Layout strided(const Shape& shape, std::initializer_list<std::int64_t> strides,
               std::int64_t offset = 0) {
  Layout layout{.shape = shape, .offset = offset};
  std::copy(strides.begin(), strides.end(), layout.strides.begin());
  return layout;
}

LtFit fit(const CudaProduct& product, const Layout& a, const Layout& b, const Layout& c,
          DType result) {
  using Kind = CudaArg::Kind;
  return lt_problem(product, cuda_matrix(CudaSide::a, {Kind::input, 0}, product.dtype, a),
                    cuda_matrix(CudaSide::b, {Kind::input, 1}, product.dtype, b),
                    cuda_matrix(CudaSide::c, {Kind::output, 0}, result, c), result);
}

LtFit fit(const CudaProduct& product, const Layout& a, const Layout& b, const Layout& c) {
  return fit(product, a, b, c, product.dtype);
}

LtFit dense(const CudaProduct& product) {
  const auto of = [&](std::int64_t rows, std::int64_t columns) {
    return Layout::dense(product.batch > 1 ? Shape{product.batch, rows, columns}
                                           : Shape{rows, columns});
  };
  return fit(product, of(product.m, product.k), of(product.k, product.n), of(product.m, product.n));
}

template <class T, class Get, class Object, class Field>
T field(Get get, Object* object, Field which) {
  T value{};
  std::size_t written = 0;
  BOOST_TEST_REQUIRE(get(object, which, &value, sizeof value, &written) == 0);
  BOOST_TEST(written == sizeof value);
  return value;
}

/// The problem that a library has understood. It does not keep alignments.
LtProblem read_back(const CublasLt& lt, const LtDescriptors& of) {
  LtProblem problem;
  const auto matrix = [&](lt::Matrix* from) {
    using enum lt::MatrixField;
    BOOST_TEST(field<std::int32_t>(lt.get_matrix, from, order) == 0);
    problem.type = static_cast<lt::Type>(field<std::uint32_t>(lt.get_matrix, from, type));
    problem.batch = field<std::int32_t>(lt.get_matrix, from, batch_count);
    return LtMatrix{static_cast<std::int64_t>(field<std::uint64_t>(lt.get_matrix, from, rows)),
                    static_cast<std::int64_t>(field<std::uint64_t>(lt.get_matrix, from, columns)),
                    field<std::int64_t>(lt.get_matrix, from, leading),
                    field<std::int64_t>(lt.get_matrix, from, batch_stride)};
  };
  problem.left = matrix(of.left());
  problem.right = matrix(of.right());
  const lt::Type operands = problem.type;
  problem.result = matrix(of.result());
  problem.result_type = std::exchange(problem.type, operands);
  using enum lt::MatmulField;
  const auto number = [&](lt::MatmulField which) {
    return field<std::int32_t>(lt.get_matmul, of.matmul(), which);
  };
  problem.compute = static_cast<lt::Compute>(number(compute));
  problem.scale = static_cast<lt::Type>(number(scale));
  problem.left_operation = static_cast<lt::Operation>(number(operation_a));
  problem.right_operation = static_cast<lt::Operation>(number(operation_b));
  return problem;
}

std::vector<LtProblem> problems() {
  return {dense({.m = 3, .n = 5, .k = 7}).problem,
          dense({.m = 64, .n = 8, .k = 24, .batch = 6, .dtype = DType::bf16}).problem,
          dense({.m = 1, .n = 1, .k = 1, .dtype = DType::f64}).problem,
          dense({.m = 33, .n = 17, .k = 5, .dtype = DType::f16}).problem,
          dense({.m = 33, .n = 17, .k = 5, .math = CudaMath::tf32}).problem,
          fit({.m = 4, .n = 6, .k = 5}, strided({4, 5}, {1, 9}), strided({5, 6}, {1, 8}, 3),
              strided({4, 6}, {10, 1}))
              .problem,
          fit({.m = 4, .n = 6, .k = 5, .dtype = DType::bf16}, Layout::dense({4, 5}),
              Layout::dense({5, 6}), Layout::dense({4, 6}), DType::f32)
              .problem};
}

void check_read_back(const CublasLt& lt) {
  for (LtProblem problem : problems()) {
    const LtProblem got = read_back(lt, LtDescriptors(lt, problem));
    problem.left.alignment = problem.right.alignment = problem.result.alignment = 16;
    BOOST_TEST((got == problem), problem.left.rows << " x " << problem.right.columns);
  }
}

std::optional<CublasLt> installed() {
  try {
    return load_cublaslt(cuda_library_folders());
  } catch (const DeviceError& error) {
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return std::nullopt;
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(lt_problem)

BOOST_AUTO_TEST_CASE(a_product_in_rows_is_the_transposed_one_in_columns) {
  const LtFit all = dense({.m = 3, .n = 5, .k = 7});
  BOOST_TEST(all.why_not == "");
  // C^T, 5 x 3, is B^T, 5 x 7, times A^T, 7 x 3; rows that are 20, 28 and 20 bytes long.
  BOOST_TEST((all.problem.left == LtMatrix{5, 7, 5, 0, 4}));
  BOOST_TEST((all.problem.right == LtMatrix{7, 3, 7, 0, 4}));
  BOOST_TEST((all.problem.result == LtMatrix{5, 3, 5, 0, 4}));
  BOOST_TEST((all.problem.left_operation == lt::Operation::none));
  BOOST_TEST((all.problem.right_operation == lt::Operation::none));
  BOOST_TEST(all.problem.batch == 1);
}

BOOST_AUTO_TEST_CASE(an_operand_that_lies_transposed_is_told_so) {
  const CudaProduct product{.m = 3, .n = 5, .k = 7};
  const Layout a[] = {Layout::dense({3, 7}), strided({3, 7}, {1, 3})};
  const Layout b[] = {Layout::dense({7, 5}), strided({7, 5}, {1, 7})};
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const LtFit got = fit(product, a[ta], b[tb], Layout::dense({3, 5}));
      BOOST_TEST(got.why_not == "");
      BOOST_TEST((got.problem.right_operation == lt::Operation::transpose) == ta);
      BOOST_TEST((got.problem.left_operation == lt::Operation::transpose) == tb);
      BOOST_TEST((got.problem.right == (ta ? LtMatrix{3, 7, 3, 0, 4} : LtMatrix{7, 3, 7, 0, 4})));
      BOOST_TEST((got.problem.left == (tb ? LtMatrix{7, 5, 7, 0, 4} : LtMatrix{5, 7, 5, 0, 4})));
    }
  }
}

BOOST_AUTO_TEST_CASE(f32_stays_f32_unless_tf32_is_asked_for_and_halves_are_summed_in_f32) {
  const auto types = [](DType dtype, CudaMath math = CudaMath::exact) {
    const LtProblem p = dense({.m = 2, .n = 2, .k = 2, .dtype = dtype, .math = math}).problem;
    return std::tuple(p.type, p.compute, p.scale);
  };
  using lt::Compute, lt::Type;
  BOOST_TEST((types(DType::f32) == std::tuple(Type::f32, Compute::f32_pedantic, Type::f32)));
  BOOST_TEST((types(DType::f32, CudaMath::tf32) ==
              std::tuple(Type::f32, Compute::f32_as_tf32, Type::f32)));
  BOOST_TEST((types(DType::f64) == std::tuple(Type::f64, Compute::f64, Type::f64)));
  BOOST_TEST((types(DType::bf16) == std::tuple(Type::bf16, Compute::f32, Type::f32)));
  BOOST_TEST((types(DType::f16) == std::tuple(Type::f16, Compute::f32, Type::f32)));
  const CudaProduct halves{.m = 2, .n = 2, .k = 2, .dtype = DType::bf16};
  const Layout square = Layout::dense({2, 2});
  const LtFit to_f32 = fit(halves, square, square, square, DType::f32);
  BOOST_TEST((to_f32.problem.type == Type::bf16 && to_f32.problem.result_type == Type::f32));
  BOOST_TEST(fit(halves, square, square, square, DType::f16).why_not ==
             "no products of bf16 as f16");
  BOOST_TEST(dense({.m = 2, .n = 2, .k = 2, .dtype = DType::i32}).why_not == "no products of i32");
}

BOOST_AUTO_TEST_CASE(batches_lie_at_equal_distances_or_are_one_matrix) {
  const CudaProduct product{.m = 4, .n = 8, .k = 4, .batch = 6};
  const Layout a = Layout::dense({2, 3, 4, 4}), c = Layout::dense({2, 3, 4, 8});
  const LtFit one = fit(product, a, strided({2, 3, 4, 8}, {0, 0, 8, 1}), c);
  BOOST_TEST(one.why_not == "");
  BOOST_TEST(one.problem.batch == 6);
  BOOST_TEST(one.problem.right.batch_stride == 16);
  BOOST_TEST(one.problem.left.batch_stride == 0);
  BOOST_TEST(one.problem.result.batch_stride == 32);
  BOOST_TEST(fit(product, a, strided({2, 3, 4, 8}, {32, 0, 8, 1}), c).why_not ==
             "the batch of B does not lie at equal distances");
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_told) {
  const CudaProduct product{.m = 4, .n = 6, .k = 5};
  const Layout a = Layout::dense({4, 5}), b = Layout::dense({5, 6}), c = Layout::dense({4, 6});
  BOOST_TEST(fit(product, strided({4, 5}, {10, 2}), b, c).why_not ==
             "neither rows nor columns of A lie one after the other");
  BOOST_TEST(fit(product, strided({4, 5}, {0, 1}), b, c).why_not ==
             "neither rows nor columns of A lie one after the other");  // one row, repeated
  BOOST_TEST(fit(product, a, strided({5, 6}, {3, 1}), c).why_not ==
             "neither rows nor columns of B lie one after the other");  // rows overlap
  BOOST_TEST(dense({.m = 4, .n = 6, .k = 0}).why_not == "there is nothing to multiply");
  CudaFactor image;
  image.type = "Windows";
  const CudaFactor matrix = cuda_matrix(CudaSide::a, {}, DType::f32, a);
  BOOST_TEST(blockgrad::lt_problem(product, image, matrix, matrix, DType::f32).why_not ==
             "A is not a matrix in memory");
}

BOOST_AUTO_TEST_CASE(axes_of_size_1_have_no_stride) {
  const CudaProduct row{.m = 1, .n = 6, .k = 5}, column{.m = 4, .n = 1, .k = 5};
  const LtFit a =
      fit(row, strided({1, 5}, {99, 1}), Layout::dense({5, 6}), strided({1, 6}, {77, 1}));
  BOOST_TEST(a.why_not == "");
  BOOST_TEST((a.problem.right == LtMatrix{5, 1, 5, 0, 4}));
  const LtFit b =
      fit(column, Layout::dense({4, 5}), strided({5, 1}, {1, 55}), Layout::dense({4, 1}));
  BOOST_TEST(b.why_not == "");
  BOOST_TEST(b.problem.left.rows == 1);
  BOOST_TEST(b.problem.left.columns == 5);
}

BOOST_AUTO_TEST_CASE(alignment_is_that_of_every_column) {
  const CudaProduct product{.m = 8, .n = 8, .k = 8, .dtype = DType::bf16};
  const Layout dense8 = Layout::dense({8, 8});
  const LtFit got = fit(product, strided({8, 8}, {8, 1}, 4), strided({8, 8}, {9, 1}), dense8);
  BOOST_TEST(got.problem.right.alignment == 8);  // begins 8 bytes into its memory
  BOOST_TEST(got.problem.left.alignment == 2);   // rows of 18 bytes
  BOOST_TEST(got.problem.result.alignment == 16);
}

BOOST_AUTO_TEST_CASE(the_installed_library_understands_the_descriptors) {
  if (const std::optional<CublasLt> lt = installed()) check_read_back(*lt);
}

BOOST_AUTO_TEST_CASE(the_library_that_stands_in_understands_them_too) {
  const data_test::TemporaryFolder folder;
  std::filesystem::copy_file(std::string(BG_STUBS) + "/libgood_cublaslt.so",
                             folder / "libcublasLt.so.13");
  check_read_back(load_cublaslt(std::vector{folder.path()}));
}

BOOST_AUTO_TEST_CASE(without_a_gpu_the_library_makes_no_handle_and_says_so) {
  const std::optional<CublasLt> lt = installed();
  if (!lt) return;
  try {
    const LtHandle handle(*lt);
    BOOST_TEST_MESSAGE("skipped: there is a GPU");
  } catch (const DeviceError& error) {
    BOOST_TEST(contains(error.what(), "cuBLASLt refuses a handle: CUBLAS_STATUS_"), error.what());
  }
}

#ifdef BG_WITH_CUBLASLT_HEADER
BOOST_AUTO_TEST_CASE(the_numbers_are_those_of_the_librarys_header) {
  const auto same = [](auto ours, auto theirs) {
    BOOST_TEST(static_cast<long>(ours) == static_cast<long>(theirs));
  };
  same(lt::Type::f32, CUDA_R_32F);
  same(lt::Type::f64, CUDA_R_64F);
  same(lt::Type::f16, CUDA_R_16F);
  same(lt::Type::bf16, CUDA_R_16BF);
  same(lt::Compute::f32, CUBLAS_COMPUTE_32F);
  same(lt::Compute::f32_pedantic, CUBLAS_COMPUTE_32F_PEDANTIC);
  same(lt::Compute::f64, CUBLAS_COMPUTE_64F);
  same(lt::Compute::f32_as_tf32, CUBLAS_COMPUTE_32F_FAST_TF32);
  same(lt::Operation::none, CUBLAS_OP_N);
  same(lt::Operation::transpose, CUBLAS_OP_T);
  same(lt::MatrixField::type, CUBLASLT_MATRIX_LAYOUT_TYPE);
  same(lt::MatrixField::order, CUBLASLT_MATRIX_LAYOUT_ORDER);
  same(lt::MatrixField::rows, CUBLASLT_MATRIX_LAYOUT_ROWS);
  same(lt::MatrixField::columns, CUBLASLT_MATRIX_LAYOUT_COLS);
  same(lt::MatrixField::leading, CUBLASLT_MATRIX_LAYOUT_LD);
  same(lt::MatrixField::batch_count, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
  same(lt::MatrixField::batch_stride, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
  same(lt::MatmulField::compute, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
  same(lt::MatmulField::scale, CUBLASLT_MATMUL_DESC_SCALE_TYPE);
  same(lt::MatmulField::operation_a, CUBLASLT_MATMUL_DESC_TRANSA);
  same(lt::MatmulField::operation_b, CUBLASLT_MATMUL_DESC_TRANSB);
  same(lt::PreferenceField::workspace, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  same(lt::PreferenceField::reduction_schemes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
  same(lt::PreferenceField::alignment_a, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
  same(lt::PreferenceField::alignment_b, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
  same(lt::PreferenceField::alignment_c, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
  same(lt::PreferenceField::alignment_d, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
  same(lt::AlgorithmField::reduction_scheme, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
  same(lt::reduction_in_place, CUBLASLT_REDUCTION_SCHEME_INPLACE);
  same(sizeof(lt::Algorithm), sizeof(cublasLtMatmulAlgo_t));
  same(sizeof(lt::Heuristic), sizeof(cublasLtMatmulHeuristicResult_t));
  same(offsetof(lt::Heuristic, workspace),
       offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
  same(offsetof(lt::Heuristic, status), offsetof(cublasLtMatmulHeuristicResult_t, state));
}
#endif

BOOST_AUTO_TEST_SUITE_END()
