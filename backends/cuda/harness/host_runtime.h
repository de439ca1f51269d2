#pragma once
// A CudaRuntime on the CPU: the text of every kernel is compiled by the host's compiler together
// with the harness, loaded, and run thread by thread. Programs run as on a GPU, from the same text;
// what they touch beside their operands is found under AddressSanitizer.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "backends/cuda/cuda_runtime.h"
#include "blockgrad/backends/program.h"

namespace blockgrad::harness {

/// What such runtimes of this process have done.
struct HostCounts {
  std::int64_t kernels = 0;   // of different text
  std::int64_t launches = 0;  // that had blocks
  std::int64_t threads = 0;
};
HostCounts host_counts();
/// The kernels that this process has compiled so far, each once.
std::vector<CudaText> host_texts();

struct HostOptions {
  std::uint64_t seed = 1;  // orders blocks and threads
  bool has_sorts = true;   // those of Thrust, on the CPU, where this build has them
};

/// Equal texts are compiled once in a process.
std::shared_ptr<CudaRuntime> host_runtime(const HostOptions& options = {});

/// "cuda on the CPU", for compile.
Device host_device(const HostOptions& options = {});

/// Compiles the kernels of all the programs that `make` compiles for host devices at once, which is
/// faster than one by one. `make` runs none of them.
void compile_together(const std::function<void()>& make);

/// Why there is none here, as in a build for another processor; empty if there is.
std::string why_no_host_device();

}  // namespace blockgrad::harness
