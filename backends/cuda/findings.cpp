#include "backends/cuda/findings.h"

#include <fmt/format.h>

namespace blockgrad {

namespace {

constexpr int no_device = 100;  // cudaErrorNoDevice

std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string capability_text(int capability) {
  return fmt::format("{}.{}", capability / 10, capability % 10);
}

}  // namespace

const CudaFindings& cuda_findings() {
  static const CudaFindings findings = look_for_cuda();
  return findings;
}

std::string why_unusable(const CudaFindings& findings) {
  if (!findings.not_built.empty()) return "this build has no CUDA backend: " + findings.not_built;
  if (findings.driver_version == 0) return "no NVIDIA driver was found here";
  if (findings.driver_version / 1000 < findings.runtime_version / 1000) {
    return fmt::format("the NVIDIA driver is for CUDA {}, this build needs one for {}",
                       version_text(findings.driver_version),
                       version_text(findings.runtime_version));
  }
  if (findings.device_count == 0 && (findings.error == 0 || findings.error == no_device))
    return "the NVIDIA driver shows no GPU to this process";
  if (findings.name.empty()) return "CUDA does not start: " + findings.error_text;
  if (findings.capability < least_capability) {
    return fmt::format("{} has compute capability {}, {} or newer is needed", findings.name,
                       capability_text(findings.capability), capability_text(least_capability));
  }
  if (!findings.has_code) {
    return fmt::format("{} (compute capability {}) takes none of this build's kernels: {}",
                       findings.name, capability_text(findings.capability), findings.error_text);
  }
  return "";
}

std::string cuda_report(const CudaFindings& findings) {
  const std::string why = why_unusable(findings);
  if (!why.empty()) return "off, " + why;
  return fmt::format(
      "{}, {} multiprocessors, {:.1f} GiB, compute capability {}, driver {}, runtime {}; programs "
      "do "
      "not run on it yet",
      findings.name, findings.processors,
      static_cast<double>(findings.memory_bytes) / (std::int64_t{1} << 30),
      capability_text(findings.capability), version_text(findings.driver_version),
      version_text(findings.runtime_version));
}

}  // namespace blockgrad
