#pragma once
// cuBLASLt, a library of matrix products: opened at run time, and may be missing.

#include <span>
#include <string>

namespace blockgrad {

/// The functions of cuBLASLt that are called, by their C interface.
struct CublasLt {
  int major = 0, minor = 0, patch = 0;
  std::string path;  // the file it is

  std::size_t (*version)() = nullptr;
};

/// The first one in these folders (see open_library) that has these functions and is version 12 or
/// 13. Throws DeviceError that lists where it was sought.
CublasLt load_cublaslt(std::span<const std::string> folders);
/// That of cuda_library_folders(), opened by the first call that finds one.
const CublasLt& cublaslt();

}  // namespace blockgrad
