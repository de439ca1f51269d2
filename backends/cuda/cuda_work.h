#pragma once
// A node's work on a CUDA device, as data without pointers: launches of generated kernels in order.
// Made once at compile; the executable fills in addresses. Nothing here needs CUDA.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <typeindex>
#include <vector>

#include "backends/cuda/products/cuda_tile.h"
#include "graph/plan.h"

namespace blockgrad {

/// The text of one kernel: `extern "C" __global__ void KERNEL(…)`, to follow cuda_prelude() and
/// `headers`. Its parameters are pointers and longs. Equal work has equal text: it holds no name,
/// address, offset or outermost extent.
struct CudaText {
  std::string text;
  std::vector<std::string_view> headers = {};  // that kernels share: kernel_headers()
  std::string_view name = "map";               // for profilers; a literal

  bool operator==(const CudaText&) const = default;
};

/// An argument of a launch, 8 bytes wide.
struct CudaArg {
  enum class Kind : std::uint8_t {
    input,  // the address of operand `index`'s memory, `offset` bytes further on
    output,
    scratch,  // `offset` bytes into the node's scratch
    number,   // `offset` as a long
    table,    // the address of the launch's table, `offset` bytes further on
    state,    // the address of the run's CudaState
    guard,    // the address of the update's guard, a bool; null if it has none
  };
  Kind kind = Kind::number;
  std::int32_t index = 0;
  std::int64_t offset = 0;
};

/// Work that a library does on a stream in place of a kernel. It allocates nothing and waits for
/// nothing; what it needs beside its arguments, it holds.
class CudaLibraryCall {
 public:
  virtual ~CudaLibraryCall() = default;
  /// `stream` is a cudaStream_t; null on the CPU, where the work is done when this returns.
  /// Throws DeviceError.
  virtual void enqueue(void* stream, std::span<const std::uint64_t> args) const = 0;
};

struct CudaLaunch {
  CudaText text;
  std::int64_t blocks = 1;  // of the grid, a line; 0: nothing is launched
  int threads = 256;        // of a block, a line
  int shared_bytes = 0;     // dynamic
  std::vector<CudaArg> args;
  std::vector<CudaArg> table = {};                           // 8 bytes each, in device memory
  std::shared_ptr<const CudaLibraryCall> library = nullptr;  // in place of the text, if not null
};

/// What a node becomes.
struct CudaWork {
  std::vector<CudaLaunch> launches;   // each sees what those before it wrote
  std::int64_t scratch = 0;           // bytes, for all launches together, 256-byte aligned
  std::string why = {};               // for the report
  std::string thing = {}, rule = {};  // of a value that it reports: "index", "is out of range"
  std::string declaration = {};       // of the kernel, where a user wrote its text
};

/// In device memory, one for a program. Kernels that check data lower `slot` to the least position
/// that is wrong; the executable's own kernels do the rest.
struct CudaState {
  std::int64_t step = 0;          // of the run at hand
  std::int64_t failed_step = -1;  // the first one that found its data wrong; -1: none
  std::int64_t node = -1;         // which found it
  std::int64_t position = -1;     // where
  std::uint64_t value = 0;        // the bits found there, as i64 or f64
  std::uint64_t slot = ~std::uint64_t{0};
};

class CudaProducts;
class CudaSorts;

/// What libraries do in place of generated kernels; null where there is none.
struct CudaLibraries {
  const CudaProducts* products = nullptr;
  const CudaSorts* sorts = nullptr;
};

/// What makers know of the device, and of what the user allows.
struct CudaTarget {
  CudaLimits limits;
  CudaMath math = CudaMath::exact;
  CudaLibraries libraries = {};
};

struct CudaEpilogue;

struct CudaRequest {
  const GraphNode& node;
  std::span<const Operand> inputs, outputs;
  bool is_update = false;  // writes storage: nothing, where the step failed or its guard is false
  CudaTarget target = {};
  const CudaEpilogue* epilogue = nullptr;  // of a product, whose own result is not written then
};

using CudaMaker = CudaWork (*)(const CudaRequest&);

/// Null if CUDA has no kernel for the op, which then runs as its expand.
CudaMaker cuda_maker(const Op& op);
/// The same without those of users.
CudaMaker cuda_own_maker(std::type_index op);

}  // namespace blockgrad
