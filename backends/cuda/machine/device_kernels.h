#pragma once
// Kernels of a device, from their text to what a launch names. Any thread may call.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/cuda_work.h"
#include "backends/cuda/machine/calls.h"

struct CUkern_st;
struct CUlib_st;

namespace blockgrad {

/// Machine code of a whole program. Called by several threads at the same time.
using CubinMaker = std::function<std::string(const std::string& program)>;

/// What a kernel is called on the device: "blockgrad_map".
std::string cuda_kernel_name(const CudaText& text);
/// What follows cuda_prelude() in the program of a kernel: its headers, and its text with its name.
std::string cuda_kernel_code(const CudaText& text);

/// A loaded kernel; a CudaFunction of this device points to one.
struct DeviceKernel {
  std::shared_ptr<CUlib_st> library;
  CUkern_st* handle = nullptr;
  mutable std::atomic<int> shared_bytes{48 * 1024};  // that a block may have, so far
};

class DeviceKernels {
 public:
  DeviceKernels(std::shared_ptr<CudaCalls> calls, CubinMaker make_cubin)
      : calls_(std::move(calls)), make_cubin_(std::move(make_cubin)) {}

  /// See CudaRuntime::load. What was loaded before one failed is kept for the next time.
  std::vector<CudaFunction> load(std::span<const CudaText> texts);
  /// Lets the blocks of a kernel have that much dynamic shared memory.
  void allow_shared(CudaFunction function, int bytes, std::string_view node);

 private:
  std::vector<std::string> cubins_of(std::span<const std::string> programs) const;
  std::unique_ptr<DeviceKernel> loaded(const std::string& cubin, const std::string& name) const;

  std::shared_ptr<CudaCalls> calls_;
  CubinMaker make_cubin_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<DeviceKernel>> kernels_;  // by their code
};

}  // namespace blockgrad
