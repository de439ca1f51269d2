#pragma once
// NVRTC, the compiler of CUDA text: opened at run time, works without a GPU.

#include <span>
#include <string>
#include <vector>

namespace blockgrad {

/// The functions of NVRTC that are called, by their C interface.
struct Nvrtc {
  int major = 0, minor = 0;
  std::string path;  // the file it is

  int (*version)(int* major, int* minor) = nullptr;
  int (*create_program)(void** program, const char* text, const char* name, int header_count,
                        const char* const* headers, const char* const* header_names) = nullptr;
  int (*destroy_program)(void** program) = nullptr;
  int (*compile_program)(void* program, int count, const char* const* options) = nullptr;
  int (*get_log_size)(void* program, std::size_t* size) = nullptr;
  int (*get_log)(void* program, char* text) = nullptr;
  int (*get_cubin_size)(void* program, std::size_t* size) = nullptr;
  int (*get_cubin)(void* program, char* bytes) = nullptr;
  const char* (*error_text)(int error) = nullptr;
};

/// The first one in these folders (see open_library) that has these functions and is version 12 or
/// 13. Throws DeviceError that lists where it was sought.
Nvrtc load_nvrtc(std::span<const std::string> folders);
/// That of cuda_library_folders(), opened by the first call that finds one.
const Nvrtc& nvrtc();

/// What is compiled: all that decides the bytes, together with the compiler's version.
struct CubinRequest {
  std::string text;  // a whole program: cuda_prelude() and kernels
  std::string processor = "sm_90a";
  std::vector<std::string> options = {"--fmad=false"};
};

/// The machine code for one processor. Throws CudaTextError with the compiler's messages.
std::string compile_cubin(const Nvrtc& nvrtc, const CubinRequest& request);

}  // namespace blockgrad
