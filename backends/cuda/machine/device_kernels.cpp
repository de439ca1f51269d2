#include "backends/cuda/machine/device_kernels.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>

#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/cuda_owner.h"
#include "backends/cuda/maps/emit.h"

namespace blockgrad {

std::string cuda_kernel_name(const CudaText& text) {
  return fmt::format("blockgrad_{}", text.name);
}

std::string cuda_kernel_code(const CudaText& text) {
  return cuda_headers({&text, 1}) + cuda_named(text.text, cuda_kernel_name(text));
}

std::vector<CudaFunction> DeviceKernels::load(std::span<const CudaText> texts) {
  std::vector<std::string> codes;
  for (const CudaText& text : texts) codes.push_back(cuda_kernel_code(text));
  const std::lock_guard lock(mutex_);
  std::map<std::string_view, std::string> missing;  // the name by the code
  for (std::size_t i = 0; i < texts.size(); ++i)
    if (!kernels_.contains(codes[i])) missing.emplace(codes[i], cuda_kernel_name(texts[i]));
  std::vector<std::string> programs;
  for (const auto& [code, name] : missing) programs.push_back(cuda_prelude() + std::string(code));
  const std::vector<std::string> cubins = cubins_of(programs);
  auto cubin = cubins.begin();
  for (const auto& [code, name] : missing) kernels_.emplace(code, loaded(*cubin++, name));
  std::vector<CudaFunction> functions;
  for (const std::string& code : codes) functions.push_back(kernels_.at(code).get());
  return functions;
}

void DeviceKernels::allow_shared(CudaFunction function, int bytes, std::string_view node) {
  const DeviceKernel& kernel = *static_cast<const DeviceKernel*>(function);
  if (bytes <= kernel.shared_bytes.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  if (bytes <= kernel.shared_bytes.load(std::memory_order_relaxed)) return;
  calls_->check(
      [&] {
        return cudaFuncSetAttribute(kernel.handle, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    bytes);
      },
      fmt::format("{} bytes of shared memory", bytes), node);
  kernel.shared_bytes.store(bytes, std::memory_order_release);
}

std::vector<std::string> DeviceKernels::cubins_of(std::span<const std::string> programs) const {
  std::vector<std::string> cubins(programs.size());
  std::vector<std::exception_ptr> errors(programs.size());
  std::atomic<std::size_t> next{0};
  std::atomic<bool> has_failed{false};
  const auto work = [&] {
    for (std::size_t i = next++; i < programs.size() && !has_failed; i = next++) {
      try {
        cubins[i] = make_cubin_(programs[i]);
      } catch (...) {
        errors[i] = std::current_exception();
        has_failed = true;
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    const std::size_t threads =
        std::min<std::size_t>(programs.size(), std::max(1U, std::thread::hardware_concurrency()));
    try {
      for (std::size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
    } catch (const std::system_error&) {
      // Fewer threads do the same work.
    }
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return cubins;
}

std::unique_ptr<DeviceKernel> DeviceKernels::loaded(const std::string& cubin,
                                                    const std::string& name) const {
  auto kernel = std::make_unique<DeviceKernel>();
  const std::string what = "the load of " + name;
  CUlib_st* library = nullptr;
  calls_->check(
      [&] {
        return cudaLibraryLoadData(&library, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr,
                                   0);
      },
      what);
  kernel->library = std::shared_ptr<CUlib_st>(library, [calls = calls_](CUlib_st* it) {
    calls->release([&] { return cudaLibraryUnload(it); }, "an unload of kernels");
  });
  calls_->check([&] { return cudaLibraryGetKernel(&kernel->handle, library, name.c_str()); }, what);
  // Code comes to the device when it is first asked for: here, not in a step.
  cudaFuncAttributes attributes{};
  calls_->check([&] { return cudaFuncGetAttributes(&attributes, kernel->handle); }, what);
  return kernel;
}

}  // namespace blockgrad
