#pragma once
// What device_report tells of CUDA.

#include <span>
#include <string>

#include "backends/cuda/machine/findings.h"

namespace blockgrad {

/// "NVIDIA H200, 132 multiprocessors, 139.8 GiB, compute capability 9.0, driver 13.0, runtime 13.0;
/// …", a line for each library, found in these folders or not, and one for the table of measured
/// products in this file; or "off, no NVIDIA driver was found here", and no library is opened.
std::string cuda_report(const CudaFindings& findings, std::span<const std::string> folders,
                        const std::string& table = {});

}  // namespace blockgrad
