#include "backends/cuda/machine/findings.h"

#include <fmt/format.h>

namespace blockgrad {

namespace {

constexpr int no_device = 100;  // cudaErrorNoDevice

}  // namespace

std::string cuda_version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::string capability_text(int capability) {
  return fmt::format("{}.{}", capability / 10, capability % 10);
}

const CudaFindings& cuda_findings() {
  static const CudaFindings findings = look_for_cuda();
  return findings;
}

std::string why_unusable(const CudaFindings& findings) {
  if (!findings.not_built.empty()) return "this build has no CUDA backend: " + findings.not_built;
  if (findings.driver_version == 0) return "no NVIDIA driver was found here";
  if (findings.driver_version / 1000 < findings.runtime_version / 1000) {
    return fmt::format("the NVIDIA driver is for CUDA {}, this build needs one for {}",
                       cuda_version_text(findings.driver_version),
                       cuda_version_text(findings.runtime_version));
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

}  // namespace blockgrad
