// The CUDA text of every elementwise function and of fused programs compiles with NVRTC; no GPU is
// needed.
#include "backends/cuda/maps/emit.h"

#include <boost/test/unit_test.hpp>
#include <limits>
#include <string>
#include <vector>

#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/maps/cuda_maps.h"

using namespace blockgrad;

namespace {

/// NVRTC, if it is here; a build with the CUDA backend must have it.
const Nvrtc* found_nvrtc() {
  try {
    return &nvrtc();
  } catch (const DeviceError& error) {
    BOOST_TEST(!BG_WITH_CUDA, error.what());
    BOOST_TEST_MESSAGE("skipped: " << error.what());
    return nullptr;
  }
}

/// Compiles kernels in one program and looks for each by name.
void compile(const std::vector<std::string>& kernels, const std::vector<std::string>& names) {
  const Nvrtc* compiler = found_nvrtc();
  if (compiler == nullptr) return;
  CubinRequest request{.text = cuda_prelude()};
  for (const std::string& kernel : kernels) request.text += kernel;
  const std::string cubin = compile_cubin(*compiler, request);
  for (const std::string& name : names)
    BOOST_TEST(cubin.find(name) != std::string::npos, name << " is not in the cubin");
  BOOST_TEST_MESSAGE(names.size() << " kernels, cubin of " << cubin.size() << " bytes");
}

CudaMap dense_map(const ScalarFn& fn) {
  CudaMap map{fn, {1}, {}};
  for (std::size_t k = 0; k < fn.inputs().size(); ++k) map.strides.push_back({1});
  return map;
}

struct Row {
  ScalarOp op;
  int arity;
  std::string name;
  bool floating, integer, boolean;
};

std::vector<Row> rows() {
  constexpr bool F = false, FI = true;
  return {
#define BG_UNARY(name, types, value, derivative) {ScalarOp::name, 1, #name, true, types, false},
#define BG_BINARY(name, types, value, by_a, by_b) {ScalarOp::name, 2, #name, true, types, false},
#define BG_PREDICATE(name, value) {ScalarOp::name, 1, #name, true, F, false},
#define BG_COMPARE(name, value) {ScalarOp::name, 2, #name, true, FI, true},
#define BG_LOGICAL(name, value) {ScalarOp::name, 2, #name, false, F, true},
#include "blockgrad/graph/scalar.def"
#undef BG_UNARY
#undef BG_BINARY
#undef BG_PREDICATE
#undef BG_COMPARE
#undef BG_LOGICAL
  };
}

void compile_rows(DType dtype) {
  std::vector<std::string> kernels, names;
  for (const Row& row : rows()) {
    const bool has = is_floating(dtype)        ? row.floating
                     : dtype == DType::boolean ? row.boolean
                                               : row.integer;
    if (!has) continue;
    const std::vector<DType> inputs(static_cast<std::size_t>(row.arity), dtype);
    ScalarRecorder recorder(inputs);
    std::vector<Scalar> args;
    for (int k = 0; k < row.arity; ++k) args.push_back(recorder.input(k));
    const Scalar result = recorder.apply(row.op, args);
    names.push_back(row.name + "_" + std::string(name(dtype)));
    kernels.push_back(cuda_map(dense_map(recorder.finish({&result, 1})), names.back()));
  }
  compile(kernels, names);
}

/// A fused program: gelu of a scaled and shifted input, its derivative, and a count of where it is
/// positive.
ScalarFn fused(DType dtype) {
  ScalarRecorder recorder(std::vector<DType>{dtype, dtype, DType::i32});
  const Scalar x = recorder.input(0), shift = recorder.input(1), count = recorder.input(2);
  const Scalar a = fma(x, 0.1, shift);
  const Scalar gelu = 0.5 * a * (1 + erf(a * 0.7071067811865476));
  const Scalar slope =
      where(a > std::numeric_limits<double>::infinity(), 1, sigmoid(a) + softplus(-a) * tanh(a));
  const Scalar more = count + astype(logical_not(gelu <= 0), DType::i32);
  const Scalar results[] = {gelu, slope, more, isnan(gelu)};
  return recorder.finish(results);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(emit)

BOOST_AUTO_TEST_CASE(every_row_compiles_for_f32) { compile_rows(DType::f32); }
BOOST_AUTO_TEST_CASE(every_row_compiles_for_f64) { compile_rows(DType::f64); }
BOOST_AUTO_TEST_CASE(integer_and_bool_rows_compile) {
  for (const DType dtype : {DType::i32, DType::i64, DType::u8, DType::boolean}) compile_rows(dtype);
}

BOOST_AUTO_TEST_CASE(casts_between_all_types_compile) {
  constexpr DType dtypes[] = {DType::f32, DType::f64, DType::bf16, DType::f16,
                              DType::i32, DType::i64, DType::u8,   DType::boolean};
  std::vector<std::string> kernels, names;
  for (const DType from : dtypes) {
    ScalarRecorder recorder(std::vector<DType>{from});
    std::vector<Scalar> results;
    for (const DType to : dtypes) results.push_back(recorder.cast(recorder.input(0), to));
    names.push_back("cast_" + std::string(name(from)));
    kernels.push_back(cuda_map(dense_map(recorder.finish(results)), names.back()));
  }
  compile(kernels, names);
}

BOOST_AUTO_TEST_CASE(random_numbers_compile) {
  std::vector<std::string> kernels, names;
  for (const DType dtype : {DType::f32, DType::f64}) {
    ScalarRecorder recorder(std::vector<DType>{DType::i64});
    const Scalar i = recorder.flat_index(), step = recorder.input(0);
    const Scalar key = recorder.constant_bits(0xfedcba9876543210u, DType::i64);
    const Scalar results[] = {recorder.uniform(i, step, key, dtype, false),
                              recorder.uniform(i, step, key, dtype, true)};
    names.push_back("uniform_" + std::string(name(dtype)));
    kernels.push_back(
        cuda_map({recorder.finish(results), {7, 5}, {{0, 0}}, 1, false}, names.back()));
  }
  compile(kernels, names);
}

BOOST_AUTO_TEST_CASE(fused_maps_and_their_derivatives_compile_with_any_strides) {
  std::vector<std::string> kernels, names;
  for (const DType dtype : {DType::f32, DType::f64}) {
    const ScalarFn fn = fused(dtype);
    const int wants[] = {0, 1};
    const std::string suffix = "_" + std::string(name(dtype));
    names.push_back("fused" + suffix);
    kernels.push_back(cuda_map({fn, {7, 5, 3}, {{15, 3, 1}, {0, 0, 1}, {1, 0, 7}}}, names.back()));
    ScalarRecorder recorder(std::vector<DType>{dtype, dtype});
    const Scalar y = exp(sin(recorder.input(0)) / recorder.input(1));
    names.push_back("derivative" + suffix);
    kernels.push_back(
        cuda_map(dense_map(derivative(recorder.finish({&y, 1}), wants)), names.back()));
  }
  compile(kernels, names);
}

BOOST_AUTO_TEST_CASE(a_product_and_a_sum_are_contracted_only_where_that_is_asked_for) {
  const Nvrtc* compiler = found_nvrtc();
  if (compiler == nullptr) return;
  ScalarRecorder recorder(std::vector<DType>{DType::f32, DType::f32, DType::f32});
  const Scalar y = recorder.input(0) * recorder.input(1) + recorder.input(2);
  CubinRequest request{.text = cuda_prelude() + cuda_map(dense_map(recorder.finish({&y, 1})))};
  const std::string exact = compile_cubin(*compiler, request);
  request.options = {"--fmad=true"};
  BOOST_TEST((compile_cubin(*compiler, request) != exact));
  request.options = {"--fmad=false"};
  BOOST_TEST((compile_cubin(*compiler, request) == exact));
}

BOOST_AUTO_TEST_CASE(text_that_does_not_compile_is_an_error_with_the_compilers_words) {
  const Nvrtc* compiler = found_nvrtc();
  if (compiler == nullptr) return;
  BOOST_CHECK_EXCEPTION(compile_cubin(*compiler, {.text = "int f() { return unknown_name; }"}),
                        DeviceError, [](const DeviceError& error) {
                          const std::string text = error.what();
                          return text.find(
                                     "does not compile the program for sm_90a: "
                                     "NVRTC_ERROR_COMPILATION") != std::string::npos &&
                                 text.find("\"unknown_name\" is undefined") != std::string::npos;
                        });
}

BOOST_AUTO_TEST_CASE(text_does_not_depend_on_the_outermost_size) {
  const ScalarFn fn = fused(DType::f32);
  const std::vector<std::vector<std::int64_t>> strides = {{15, 3, 1}, {0, 0, 1}, {1, 0, 7}};
  BOOST_TEST(cuda_map({fn, {7, 5, 3}, strides}) == cuda_map({fn, {9, 5, 3}, strides}));
  BOOST_TEST(cuda_map({fn, {7, 5, 3}, strides}) != cuda_map({fn, {7, 3, 5}, strides}));
}

BOOST_AUTO_TEST_CASE(text_is_readable_and_reads_broadcast_inputs_through_strides) {
  ScalarRecorder recorder(std::vector<DType>{DType::f32, DType::f32});
  const Scalar y = recorder.input(0) * recorder.input(1);
  const std::string text = cuda_map({recorder.finish({&y, 1}), {4, 3}, {{3, 1}, {0, 1}}});
  BOOST_TEST(text == R"(
namespace blockgrad {
extern "C" __global__ void KERNEL(long n, const float* x0, const float* x1, float* y0) {
  const long step = static_cast<long>(gridDim.x) * blockDim.x;
  for (long i = static_cast<long>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) {
    const long at = i;
    long rest = at;
    const long c1 = rest % 3;
    rest /= 3;
    const long c0 = rest;
    const float v0 = static_cast<float>(x0[at]);
    const float v1 = static_cast<float>(x1[c1]);
    const float v2 = static_cast<float>(row::multiply(v0, v1));
    y0[at] = v2;
  }
}
}  // namespace blockgrad
)");
}

BOOST_AUTO_TEST_CASE(a_map_with_a_missing_stride_is_refused) {
  BOOST_CHECK_THROW(cuda_map({fused(DType::f32), {7, 5}, {{5, 1}, {0, 1}, {5}}}), InternalError);
  BOOST_CHECK_THROW(cuda_map({fused(DType::f32), {7, 5}, {{5, 1}, {0, 1}}}), InternalError);
}

BOOST_AUTO_TEST_SUITE_END()
