#pragma once
// Runs a CUDA kernel on the CPU, from its own source: every thread of a block is a fiber, and the
// threads meet at barriers and shuffles. Between two meetings they run one after the other in an
// order drawn from a seed, so that a missing barrier shows. Shared memory begins as NaN in every
// block. One launch at a time, on one thread.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#include "backends/cuda/harness/cuda_types.h"

namespace blockgrad::harness {

/// A kernel that a GPU would hang on, crash on or refuse: the message names threads and lines.
struct KernelFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Fibers;

struct Launch {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;  // of dynamic shared memory
  std::uint64_t seed = 0;        // of the order of blocks and threads
  int without_barrier = -1;      // threads run past this __syncthreads, in order of first arrival
  Fibers* fibers = nullptr;      // that become the threads; null: some of this library
};

/// Calls `kernel` once in every thread. Throws KernelFault where a barrier is missed by some
/// threads, a shuffle by lanes of its mask, an instruction's operand is not where it must be, or
/// the launch is larger than a block or grid can be (CUDA C++ Programming Guide, compute capability
/// 8.0 to 9.0).
void launch(const Launch& launch, const std::function<void()>& kernel);

/// What this program has run so far; a kernel is what calls for it: a template with its arguments.
struct Counts {
  std::int64_t kernels = 0;
  std::int64_t launches = 0;
  std::int64_t blocks = 0;
  std::int64_t threads = 0;
};
Counts counts();

/// Where a thread waits for others, and what all do when the last one comes.
struct Meeting {
  const char* name = "";  // of the function, and of the line that calls it
  const char* file = "";
  int line = 0;
  unsigned mask = 0;     // lanes of the warp; 0: the whole block
  void* slot = nullptr;  // this lane's operands and results
  // Called once with the slots of 32 lanes, null for those outside the mask.
  void (*complete)(void* const* slots) = nullptr;
};

/// Waits for the others. Only within a kernel.
void meet(const Meeting& meeting);

/// The dynamic shared memory of the running block; throws KernelFault if it has less than `bytes`.
void* shared_memory(std::size_t bytes);

/// True if [address, address + bytes) lies in the shared memory of the running block.
bool is_shared(const void* address, std::size_t bytes);

/// Stops the kernel with this message and the thread that asks.
[[noreturn]] void fault(const std::string& what);

/// A copy that is done when the thread waits for its group, or later: cp.async.
struct AsyncCopy {
  void* to = nullptr;
  const void* from = nullptr;
  int bytes = 0;  // read; the rest of 16 is zero
};
void queue_copy(const AsyncCopy& copy);
void commit_copies();
void wait_copies(int groups_left);

}  // namespace blockgrad::harness
