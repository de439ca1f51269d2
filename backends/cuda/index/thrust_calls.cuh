#pragma once
// The calls of thrust_calls.h, in the one file that names Thrust and CUB. It is compiled twice,
// each time with a namespace of its own around both libraries: by nvcc for CUDA, where CUB's
// two-phase calls take workspace and stream, and by a C++ compiler for Thrust's C++ system, whose
// temporaries come from the same workspace. Sources: Merrill and Garland 2016, "Single-pass
// parallel prefix scan with decoupled look-back"; Adinets and Merrill 2022, "Onesweep: a faster
// least significant digit radix sort for GPUs".

#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/permutation_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#ifdef __CUDACC__
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#include <cub/device/device_select.cuh>
#else
#include <thrust/copy.h>
#include <thrust/scan.h>
#include <thrust/sort.h>
#include <thrust/system/cpp/execution_policy.h>
#endif

#include "backends/cuda/index/thrust_calls.h"

namespace blockgrad {

namespace {

namespace libraries = THRUST_NS_QUALIFIER;
using u64 = unsigned long long;

struct WideEntry {
  u64 key, place;
};

/// Whether a key begins at entry e.
struct BeginsKey {
  const u64* words;
  bool is_wide;

  __host__ __device__ u64 key(int e) const {
    return is_wide ? words[2 * static_cast<long>(e)] : words[e] >> 32;
  }
  __host__ __device__ bool operator()(int e) const { return e == 0 || key(e - 1) != key(e); }
};

/// Element j of a line in the order of walking it.
struct Walked {
  IntegerLine line;

  __host__ __device__ std::int64_t place(int j) const {
    return line.reverse ? line.n - 1 - j : std::int64_t{j};
  }
  __host__ __device__ std::int64_t operator()(int j) const {
    const std::int64_t at = place(j);
    switch (line.kind) {
      case IntegerLine::Kind::u8: return static_cast<const unsigned char*>(line.x)[at];
      case IntegerLine::Kind::i32: return static_cast<const std::int32_t*>(line.x)[at];
      case IntegerLine::Kind::i64: break;
    }
    return static_cast<const std::int64_t*>(line.x)[at];
  }
};
struct WalkedPlace {
  Walked walked;

  __host__ __device__ std::int64_t operator()(int j) const { return walked.place(j); }
};

/// Signed sums that wrap.
struct Add {
  __host__ __device__ std::int64_t operator()(std::int64_t a, std::int64_t b) const {
    return static_cast<std::int64_t>(static_cast<u64>(a) + static_cast<u64>(b));
  }
};

#ifdef __CUDACC__

/// call(memory, bytes) is asked for the bytes first.
template <class Call>
ThrustAnswer in_two_phases(const Workspace& workspace, const Call& call) {
  ThrustAnswer answer;
  answer.error = call(nullptr, answer.needed);
  if (answer.error != 0 || answer.needed > workspace.bytes) return answer;
  std::size_t bytes = workspace.bytes;
  answer.error = call(workspace.memory, bytes);
  return answer;
}

struct Fields {
  __host__ __device__ cuda::std::tuple<u64&, u64&> operator()(WideEntry& entry) const {
    return {entry.key, entry.place};
  }
};

ThrustAnswer sort(const SortedEntries& from, EntryBits bits, void* to, Workspace workspace,
                  void* stream) {
  using Sort = CUB_NS_QUALIFIER::DeviceRadixSort;
  const auto on = static_cast<cudaStream_t>(stream);
  const auto n = static_cast<int>(from.n);
  return in_two_phases(workspace, [&](void* memory, std::size_t& bytes) {
    if (from.is_wide)
      return Sort::SortKeys(memory, bytes, static_cast<const WideEntry*>(from.memory),
                            static_cast<WideEntry*>(to), n, Fields{}, bits.first, bits.last, on);
    return Sort::SortKeys(memory, bytes, static_cast<const u64*>(from.memory),
                          static_cast<u64*>(to), n, bits.first, bits.last, on);
  });
}

#else

/// Gives out the workspace, one piece behind the other; pieces come back in the other order.
class FromWorkspace {
 public:
  using value_type = char;

  struct Pieces {
    Workspace workspace;
    std::size_t used = 0, most = 0;
  };
  struct TooSmall {};

  explicit FromWorkspace(Pieces& pieces) : pieces_(&pieces) {}

  char* allocate(std::ptrdiff_t bytes) {
    const std::size_t at = pieces_->used;
    pieces_->used += (static_cast<std::size_t>(bytes) + 255) / 256 * 256;
    if (pieces_->used > pieces_->most) pieces_->most = pieces_->used;
    if (pieces_->used > pieces_->workspace.bytes) throw TooSmall{};
    return begin() + at;
  }
  void deallocate(char* piece, std::size_t) {
    pieces_->used = static_cast<std::size_t>(piece - begin());
  }

 private:
  char* begin() const { return static_cast<char*>(pieces_->workspace.memory); }

  Pieces* pieces_;
};

/// call(policy), whose temporaries are taken from the workspace.
template <class Call>
ThrustAnswer in_workspace(const Workspace& workspace, const Call& call) {
  FromWorkspace::Pieces pieces{workspace};
  FromWorkspace memory(pieces);
  try {
    call(libraries::cpp::par(memory));
  } catch (const FromWorkspace::TooSmall&) {
    return {0, pieces.most};
  }
  return {0, pieces.most};
}

/// Less in some bits.
struct LessInBits {
  EntryBits bits;

  u64 number(u64 word, int below) const {
    const int first = bits.first - below, last = bits.last - below;
    return (last < 64 ? word & ((u64{1} << last) - 1) : word) >> first;
  }
  u64 number(u64 entry) const { return number(entry, 0); }
  u64 number(const WideEntry& entry) const {
    return bits.first < 64 ? number(entry.place, 0) : number(entry.key, 64);
  }
  template <class Entry>
  bool operator()(const Entry& a, const Entry& b) const {
    return number(a) < number(b);
  }
};

template <class Entry>
ThrustAnswer sort_entries(const SortedEntries& from, EntryBits bits, void* to,
                          const Workspace& workspace) {
  const auto* first = static_cast<const Entry*>(from.memory);
  auto* sorted = static_cast<Entry*>(to);
  return in_workspace(workspace, [&](const auto& policy) {
    libraries::copy(policy, first, first + from.n, sorted);
    libraries::stable_sort(policy, sorted, sorted + from.n, LessInBits{bits});
  });
}

ThrustAnswer sort(const SortedEntries& from, EntryBits bits, void* to, Workspace workspace, void*) {
  return from.is_wide ? sort_entries<WideEntry>(from, bits, to, workspace)
                      : sort_entries<u64>(from, bits, to, workspace);
}

#endif

ThrustAnswer find_starts(const SortedEntries& entries, std::int64_t* starts, std::int64_t* count,
                         Workspace workspace, [[maybe_unused]] void* stream) {
  const BeginsKey begins{static_cast<const u64*>(entries.memory), entries.is_wide};
  const libraries::counting_iterator<int> first(0);
  const auto n = static_cast<int>(entries.n);
#ifdef __CUDACC__
  return in_two_phases(workspace, [&](void* memory, std::size_t& bytes) {
    return CUB_NS_QUALIFIER::DeviceSelect::If(memory, bytes, first, starts, count, n, begins,
                                              static_cast<cudaStream_t>(stream));
  });
#else
  return in_workspace(workspace, [&](const auto& policy) {
    *count = libraries::copy_if(policy, first, first + n, starts, begins) - starts;
  });
#endif
}

ThrustAnswer add_up(const IntegerLine& line, std::int64_t* y, Workspace workspace,
                    [[maybe_unused]] void* stream) {
  const Walked walked{line};
  const libraries::counting_iterator<int> numbers(0);
  const auto first = libraries::make_transform_iterator(numbers, walked);
  const auto to = libraries::make_permutation_iterator(
      y, libraries::make_transform_iterator(numbers, WalkedPlace{walked}));
  const auto n = static_cast<int>(line.n);
#ifdef __CUDACC__
  return in_two_phases(workspace, [&](void* memory, std::size_t& bytes) {
    return CUB_NS_QUALIFIER::DeviceScan::InclusiveScan(memory, bytes, first, to, Add{}, n,
                                                       static_cast<cudaStream_t>(stream));
  });
#else
  return in_workspace(workspace, [&](const auto& policy) {
    libraries::inclusive_scan(policy, first, first + n, to, Add{});
  });
#endif
}

constexpr ThrustCalls thrust_calls = {sort, find_starts, add_up};

}  // namespace

}  // namespace blockgrad
