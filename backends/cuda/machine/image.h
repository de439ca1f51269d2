#pragma once
// Whether a device takes the kernels of this build.

namespace blockgrad {

/// Loads a kernel for the current device: its cudaError_t, 0 if there is code for it.
int load_kernel_image();

}  // namespace blockgrad
