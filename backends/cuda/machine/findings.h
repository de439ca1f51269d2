#pragma once
// What there is of CUDA on this machine, as a value. Only look_for_cuda touches the driver, and
// nothing calls it before somebody asks for CUDA.

#include <cstdint>
#include <string>

namespace blockgrad {

/// Versions are counted as CUDA does: 13000 is 13.0.
struct CudaFindings {
  std::string not_built = {};   // why this build has no CUDA; empty: it has
  int runtime_version = 0;      // linked into this build
  int driver_version = 0;       // the newest CUDA the driver knows; 0: there is no driver
  int device_count = 0;         // of those the driver shows to this process
  int error = 0;                // cudaError_t of the first call that failed; 0: none
  std::string error_text = {};  // "cudaErrorNoDevice, no CUDA-capable device is detected"
  std::string name = {};        // of the device, as all below: "NVIDIA H200"
  int processors = 0;           // multiprocessors
  std::int64_t memory_bytes = 0;
  int capability = 0;     // 90 is compute capability 9.0
  bool has_code = false;  // this build has kernels that the device runs
};

/// The least compute capability that kernels are built for.
inline constexpr int least_capability = 80;

/// Asks the driver; never throws a CUDA error, which is a finding instead. The first device counts.
CudaFindings look_for_cuda();
/// What the first call of this process found.
const CudaFindings& cuda_findings();

/// Why kernels cannot run on it, in a few words; empty if they can.
std::string why_unusable(const CudaFindings& findings);
/// 13010 is "13.1", and 90 is "9.0".
std::string cuda_version_text(int version);
std::string capability_text(int capability);

}  // namespace blockgrad
