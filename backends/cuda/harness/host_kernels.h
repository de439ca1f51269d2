#pragma once
// Kernels given as text, compiled for the processor by the host's compiler and kept by their text.

#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backends/cuda/cuda_runtime.h"

namespace blockgrad::harness {

class HostKernels {
 public:
  /// Counts in `compiled` what it compiles.
  explicit HostKernels(std::int64_t& compiled) : count_(compiled) {}

  /// Throws CudaTextError for what the compiler refuses.
  std::vector<CudaFunction> load(std::span<const CudaText> texts);
  /// The most threads of a block that its text promises, or that any kernel's registers leave.
  int most_threads(CudaFunction function);
  /// What was compiled so far.
  std::vector<CudaText> texts();

  void begin_collecting() { is_collecting_ = true; }
  /// Loads what load() was asked for since then.
  void end_collecting();

 private:
  void compile(const std::vector<CudaText>& texts);

  std::int64_t& count_;
  std::mutex mutex_;
  bool is_collecting_ = false;
  std::vector<CudaText> collected_;
  std::vector<CudaText> compiled_;
  int files_ = 0;
  std::map<std::string, CudaFunction> known_;
  std::map<CudaFunction, int> most_threads_;
};

}  // namespace blockgrad::harness
