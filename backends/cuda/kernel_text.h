#pragma once
// Kernels as whole programs of text: the headers they share are those of the `.cuh` files, embedded
// in the library, as far as a kernel's own file includes them. Nothing here needs CUDA.

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// For CudaText::headers: the texts of these files, named from backends/cuda on, and of those that
/// they include, each once and behind what it includes. What cuda_prelude() has is left out.
std::vector<std::string_view> kernel_headers(std::initializer_list<std::string_view> files);

/// The headers of all texts, each once, in an order in which they compile.
std::string cuda_headers(std::span<const CudaText> texts);

/// A program that NVRTC compiles: cuda_prelude(), the headers, and the kernels, which are called
/// kernel0_, kernel1_, ….
std::string cuda_program(std::span<const CudaText> texts);

namespace detail {

/// A header without its #include lines; `includes` are those of backends/cuda, a line each.
struct KernelFile {
  std::string_view name, includes, text;
};
std::span<const KernelFile> kernel_files();

}  // namespace detail

}  // namespace blockgrad
