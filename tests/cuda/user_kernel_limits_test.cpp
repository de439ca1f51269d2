// What a kernel of a user may ask of a processor, and what its numbers may be; needs no GPU.
#include <boost/test/unit_test.hpp>
#include <limits>
#include <vector>

#include "backends/cuda/cuda_user_kernels.h"
#include "blockgrad/backends/cuda_kernels.h"
#include "tests/cuda/cubin.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using test_support::error_of;

namespace {

struct Many {
  static constexpr std::string_view name = "many";
  bool operator==(const Many&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward&) const { return {Expr()}; }
};
struct Few : Many {
  bool operator==(const Few&) const = default;
};

}  // namespace

BOOST_AUTO_TEST_SUITE(user_kernel_limits)

BOOST_AUTO_TEST_CASE(a_number_that_no_long_is_is_refused) {
  BOOST_TEST(CudaNumber(~std::uint64_t{0} >> 1).bits() == std::numeric_limits<std::int64_t>::max());
  BOOST_TEST(CudaNumber(std::numeric_limits<std::int64_t>::min()).bits() ==
             std::numeric_limits<std::int64_t>::min());
  BOOST_TEST(error_of([] { return CudaNumber(std::uint64_t{1} << 63); }) ==
             "a number for a CUDA kernel is a long, below 2^63; pass the halves of a larger one");
}

// A block's threads share 65536 registers.
BOOST_AUTO_TEST_CASE(a_kernel_of_many_threads_takes_no_more_registers_than_there_are) {
  const auto registers = [](const auto& op) {
    const GraphNode node{op, {}, {}, {}};
    const Operand x{Place::feed, 0, DType::f64, Layout::dense({4096})};
    const CudaWork work = cuda_user_maker(node.op)({node, {&x, 1}, {&x, 1}});
    const auto kernels = cubin::compiled(std::vector{work.launches.at(0).text});
    return kernels.empty() ? -1 : kernels[0].registers;
  };
  static constexpr const char* hungry = R"(__global__ void KERNEL(const X0* x, Y0* y) {
    double v[64];
    #pragma unroll
    for (int i = 0; i < 64; ++i) v[i] = x[64 * threadIdx.x + i];
    #pragma unroll
    for (int i = 0; i < 64; ++i) y[64 * threadIdx.x + i] = v[i] * v[(7 * i + 11) % 64];
  })";
  cuda_kernels().add<Many>(
      [](const Many&, Types, Types) -> CudaSource { return {.text = hungry, .threads = 1024}; });
  cuda_kernels().add<Few>(
      [](const Few&, Types, Types) -> CudaSource { return {.text = hungry, .threads = 256}; });
  const int few = registers(Many{}), many = registers(Few{});
  if (few < 0) return;  // no NVRTC
  BOOST_TEST(few <= 65536 / 1024);
  BOOST_TEST(many > 65536 / 1024);
}

BOOST_AUTO_TEST_SUITE_END()
