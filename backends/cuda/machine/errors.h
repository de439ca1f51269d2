#pragma once
// The errors of the CUDA runtime, by number: 0 is success, the others those of cudaError_t.

#include <string>

namespace blockgrad {

/// "cudaErrorNoDevice, no CUDA-capable device is detected".
std::string cuda_error_text(int error);
/// Whether every later call of this process would fail too (CUDA calls such errors sticky).
bool ends_device(int error);
/// Lets an error go that the runtime would report again.
void forget_cuda_error();

}  // namespace blockgrad
