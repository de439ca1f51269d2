#include "tests/support/on_cuda.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>

#include "backends/cuda/harness/host_runtime.h"

namespace test_support {

using namespace blockgrad;

namespace {

bool wants_gpu() {
  const char* asked = std::getenv("BLOCKGRAD_TEST_DEVICE");
  return asked != nullptr && std::string_view(asked) == "cuda";
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

std::string why_no_cuda_programs() {
  return wants_gpu() ? std::string() : harness::why_no_host_device();
}

const Device& cuda_test_device() {
  static const Device device = wants_gpu() ? cuda() : harness::host_device();
  return device;
}

void check_on_cuda(const std::vector<Output>& outputs, const Feeds& feeds, double tolerance) {
  Program on_cpu = compile(outputs, {}, cpu());
  Program on_cuda = compile(outputs, {}, cuda_test_device());
  const Results expected = on_cpu.run(feeds), got = on_cuda.run(feeds);
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    BOOST_TEST_CONTEXT(on_cuda.to_text())
    compare(i, got.tensor(i), expected.tensor(i), tolerance);
  }
}

}  // namespace test_support
