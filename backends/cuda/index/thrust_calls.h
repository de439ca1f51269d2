#pragma once
// What Thrust and CUB do for this backend, as calls that know neither: thrust_calls.cuh is compiled
// for CUDA, where work is enqueued on a stream, and for C++, where it is done at once. No call
// allocates or waits; temporaries lie in a workspace.

#include <cstddef>
#include <cstdint>

namespace blockgrad {

struct Workspace {
  void* memory = nullptr;
  std::size_t bytes = 0;
};

/// Sorted entries as in sort.cuh: 8 bytes with the key in the upper half and the place in the
/// lower one, or, if `is_wide`, 16 bytes, the key in front of the place.
struct SortedEntries {
  const void* memory = nullptr;
  std::int64_t n = 0;  // below 2^31
  bool is_wide = false;
};

/// Bits [first, last) of an entry as one number, whose lower half is the place.
struct EntryBits {
  int first = 0, last = 0;
};

/// A line of integers to be added up, from its end if `reverse`.
struct IntegerLine {
  enum class Kind : std::int32_t { u8, i32, i64 };
  const void* x = nullptr;
  std::int64_t n = 0;  // below 2^31
  Kind kind = Kind::i64;
  bool reverse = false;
};

/// Nothing is done where the workspace is smaller than what is needed.
struct ThrustAnswer {
  int error = 0;           // a cudaError_t
  std::size_t needed = 0;  // bytes of the workspace
};

struct ThrustCalls {
  /// Stably by these bits, of which there is one at least. `to` is other memory.
  ThrustAnswer (*sort)(const SortedEntries& from, EntryBits bits, void* to, Workspace workspace,
                       void* stream);
  /// starts[k]: the first entry of the k-th key; *count: how many keys there are. n is not 0.
  ThrustAnswer (*find_starts)(const SortedEntries& entries, std::int64_t* starts,
                              std::int64_t* count, Workspace workspace, void* stream);
  /// y_j = x_0 + .. + x_j, which wraps.
  ThrustAnswer (*add_up)(const IntegerLine& line, std::int64_t* y, Workspace workspace,
                         void* stream);
};

}  // namespace blockgrad
