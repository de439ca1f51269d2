#include "tests/support/on_cuda.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "backends/cuda/harness/host_runtime.h"
#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/cuda_device.h"
#include "backends/cuda/machine/nvrtc.h"
#include "tests/cuda/cubin.h"

namespace test_support {

using namespace blockgrad;

namespace {

// What is told when all tests have run.
struct Tally {
  std::size_t cubins = 0;
  ~Tally() {
    const harness::HostCounts counts = harness::host_counts();
    if (counts.kernels == 0) return;
    std::printf(
        "CUDA on the CPU: %lld kernels, %lld launches, %lld threads; %zu kernels to machine code\n",
        static_cast<long long>(counts.kernels), static_cast<long long>(counts.launches),
        static_cast<long long>(counts.threads), cubins);
  }
};

Tally& tally() {
  static Tally tally;
  return tally;
}

bool differs(double got, double expected, double tolerance) {
  if (std::isnan(expected) || std::isnan(got)) return std::isnan(expected) != std::isnan(got);
  if (std::isinf(expected) || std::isinf(got) || tolerance == 0)
    return got != expected || std::signbit(got) != std::signbit(expected);
  return std::abs(got - expected) > tolerance;
}

void compare(int output, const Tensor& got, const Tensor& expected, double tolerance) {
  BOOST_TEST_REQUIRE((got.type() == expected.type()));
  double scale = 1;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    if (std::isfinite(expected.at(i))) scale = std::max(scale, std::abs(expected.at(i)));
  }
  const double allowed = is_floating(expected.dtype()) ? tolerance * scale : 0;
  for (std::int64_t i = 0; i < expected.size(); ++i) {
    if (!differs(got.at(i), expected.at(i), allowed)) continue;
    BOOST_ERROR("output " << output << ", " << to_string(expected.type()) << ", element " << i
                          << ": CUDA gives " << got.at(i) << ", the CPU " << expected.at(i));
    return;
  }
}

}  // namespace

bool tests_a_gpu() {
  const char* asked = std::getenv("BLOCKGRAD_TEST_DEVICE");
  return asked != nullptr && std::string_view(asked) == "cuda";
}

std::string why_no_cuda_programs() {
  return tests_a_gpu() ? std::string() : harness::why_no_host_device();
}

bool skips_cuda_programs() {
  const std::string why = why_no_cuda_programs();
  if (!why.empty()) BOOST_TEST_MESSAGE("skipped: " << why);
  return !why.empty();
}

bool skips_harness() {
  if (tests_a_gpu()) BOOST_TEST_MESSAGE("skipped: it runs on the CPU alone");
  return tests_a_gpu() || skips_cuda_programs();
}

std::shared_ptr<CudaRuntime> cuda_test_runtime(std::uint64_t seed) {
  return tests_a_gpu() ? cuda_device() : harness::host_runtime({.seed = seed});
}

Tensor drawn(const Shape& shape, DType dtype, std::uint64_t seed, double low, double high) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& value : values) value = uniform(random);
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

const Device& cuda_test_device() {
  tally();
  static const Device device = tests_a_gpu() ? cuda() : harness::host_device();
  return device;
}

void check_machine_code() {
  const Nvrtc* compiler = nullptr;
  try {
    compiler = &nvrtc();
  } catch (const DeviceError& error) {
    static const bool told = [&] {
      BOOST_TEST_MESSAGE("skipped: machine code: " << error.what());
      return true;
    }();
    (void)told;
    return;
  }
  const std::vector<CudaText> texts = harness::host_texts();
  const CubinRequest request{.text = cuda_program(std::span(texts).subspan(tally().cubins))};
  if (tally().cubins == texts.size()) return;
  tally().cubins = texts.size();
  std::string code;
  BOOST_CHECK_NO_THROW(code = compile_cubin(*compiler, request));
  if (code.empty()) return;
  // Every processor has so much for a block's variables; on this one a kibibyte is the system's.
  constexpr std::int64_t most_shared = 48 * 1024, of_system = 1024;
  for (const cubin::Kernel& kernel : cubin::read(code))
    BOOST_TEST(kernel.shared <= most_shared + of_system, kernel.name << ": " << kernel.shared);
}

void check_on_cuda(const std::vector<Output>& outputs, const Feeds& feeds, double tolerance) {
  check_on_cuda(outputs, feeds, tolerance, cuda_test_device());
}

void check_on_cuda(const std::vector<Output>& outputs, const Feeds& feeds, double tolerance,
                   const Device& device) {
  Program on_cpu = compile(outputs, {}, cpu());
  Program on_cuda = compile(outputs, {}, device);
  const Results expected = on_cpu.run(feeds), got = on_cuda.run(feeds);
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    BOOST_TEST_CONTEXT(on_cuda.to_text())
    compare(i, got.tensor(i), expected.tensor(i), tolerance);
  }
}

}  // namespace test_support
