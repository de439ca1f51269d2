// Why CUDA is off is said from findings that are made up here: no GPU is needed.
#include "backends/cuda/machine/findings.h"

#include <boost/test/unit_test.hpp>

#include "backends/cuda/machine/report.h"
#include "backends/cuda/machine/shared_library.h"
#include "backends/cuda/products/product_table.h"
#include "blockgrad/backends/program.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/ops/elementwise.h"
#include "support/checks.h"

using namespace blockgrad;

namespace {

CudaFindings h200() {
  return {.runtime_version = 13000,
          .driver_version = 13010,
          .device_count = 8,
          .name = "NVIDIA H200",
          .processors = 132,
          .memory_bytes = std::int64_t{150'110'011'392},
          .capability = 90,
          .has_code = true};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(findings)

BOOST_AUTO_TEST_CASE(a_device_with_driver_and_code_is_usable) {
  BOOST_TEST(why_unusable(h200()) == "");
}

BOOST_AUTO_TEST_CASE(a_build_without_cuda_says_why) {
  const CudaFindings found{.not_built = "nvcc was not found"};
  BOOST_TEST(why_unusable(found) == "this build has no CUDA backend: nvcc was not found");
  BOOST_TEST(cuda_report(found, {}) == "off, this build has no CUDA backend: nvcc was not found");
}

BOOST_AUTO_TEST_CASE(a_missing_driver_is_named) {
  CudaFindings found = h200();
  found.driver_version = 0;
  found.error = 35;
  found.name.clear();
  BOOST_TEST(why_unusable(found) == "no NVIDIA driver was found here");
}

BOOST_AUTO_TEST_CASE(an_old_driver_is_named_with_both_versions) {
  CudaFindings found = h200();
  found.driver_version = 12040;
  found.error = 35;
  found.name.clear();
  BOOST_TEST(why_unusable(found) ==
             "the NVIDIA driver is for CUDA 12.4, this build needs one for 13.0");
}

BOOST_AUTO_TEST_CASE(a_driver_without_a_gpu_is_named) {
  CudaFindings found = h200();
  found.device_count = 0;
  found.name.clear();
  BOOST_TEST(why_unusable(found) == "the NVIDIA driver shows no GPU to this process");
  found.error = 100;
  BOOST_TEST(why_unusable(found) == "the NVIDIA driver shows no GPU to this process");
  found.error = 46;
  found.error_text = "cudaErrorDevicesUnavailable, all CUDA-capable devices are busy";
  BOOST_TEST(why_unusable(found) ==
             "CUDA does not start: cudaErrorDevicesUnavailable, all CUDA-capable devices are busy");
}

BOOST_AUTO_TEST_CASE(an_old_processor_is_named_with_its_capability) {
  CudaFindings found = h200();
  found.name = "Tesla T4";
  found.capability = 75;
  BOOST_TEST(why_unusable(found) == "Tesla T4 has compute capability 7.5, 8.0 or newer is needed");
}

BOOST_AUTO_TEST_CASE(a_processor_without_code_is_named_with_the_error) {
  CudaFindings found = h200();
  found.has_code = false;
  found.error = 209;
  found.error_text = "cudaErrorNoKernelImageForDevice, no kernel image is available";
  BOOST_TEST(why_unusable(found) ==
             "NVIDIA H200 (compute capability 9.0) takes none of this build's kernels: "
             "cudaErrorNoKernelImageForDevice, no kernel image is available");
}

BOOST_AUTO_TEST_CASE(cuda_is_a_device_or_an_error_with_the_reason_but_never_the_cpu) {
  const std::string why = why_unusable(cuda_findings());
  BOOST_TEST_MESSAGE("cuda here: " << cuda_report(cuda_findings(), cuda_library_folders()));
  if (why.empty()) {
    const Expr x = input("x", {}, DType::f64);
    Program program = compile({x + 1.0}, {}, cuda());
    BOOST_TEST(program.run({{x, tensor({2.0}, {})}}).number(0) == 3);
    BOOST_TEST(program.report().device.starts_with("cuda, "));
  } else {
    for (const auto ask : {+[] { return cuda(); }, +[] { return device("cuda"); }}) {
      BOOST_CHECK_EXCEPTION(ask(), DeviceError, [&](const DeviceError& e) {
        return e.what() == "cuda cannot be used: " + why;
      });
    }
  }
}

BOOST_AUTO_TEST_CASE(the_report_has_both_devices_and_the_best_one_runs_programs) {
  const std::string report = device_report();
  BOOST_TEST(report.starts_with("cpu: "));
  BOOST_TEST(report.ends_with(
      "\ncuda: " + cuda_report(cuda_findings(), cuda_library_folders(), product_table_path()) +
      "\n"));
  const Expr x = input("x", {}, DType::f64);
  Program program = compile({x + 1.0}, {}, best_device());
  BOOST_TEST(program.run({{x, full({}, 1.0, DType::f64)}}).number(0) == 2);
}

BOOST_AUTO_TEST_SUITE_END()
