#include "backends/cuda/machine/report.h"

#include <fmt/format.h>

#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/products/cublaslt.h"
#include "backends/cuda/products/product_table.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

std::string nvrtc_line(std::span<const std::string> folders) {
  try {
    const Nvrtc found = load_nvrtc(folders);
    return fmt::format("NVRTC {}.{}, {}", found.major, found.minor, found.path);
  } catch (const DeviceError& error) {
    return error.what();
  }
}

std::string cublaslt_line(std::span<const std::string> folders) {
  try {
    const CublasLt found = load_cublaslt(folders);
    return fmt::format("cuBLASLt {}.{}.{}, {}", found.major, found.minor, found.patch, found.path);
  } catch (const DeviceError& error) {
    return error.what();
  }
}

std::string products_line(const std::string& table) {
  if (table.empty()) return "no table of measured products";
  try {
    return fmt::format("{} measured products, {}", read_product_table(table).size(), table);
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

std::string cuda_report(const CudaFindings& findings, std::span<const std::string> folders,
                        const std::string& table) {
  const std::string why = why_unusable(findings);
  if (!why.empty()) return "off, " + why;
  return fmt::format(
      "{}, {} multiprocessors, {:.1f} GiB, compute capability {}, driver {}, runtime {}\n  {}\n  "
      "{}\n  {}",
      findings.name, findings.processors,
      static_cast<double>(findings.memory_bytes) / (std::int64_t{1} << 30),
      capability_text(findings.capability), cuda_version_text(findings.driver_version),
      cuda_version_text(findings.runtime_version), nvrtc_line(folders), cublaslt_line(folders),
      products_line(table));
}

}  // namespace blockgrad
