#pragma once
// Sorts, starts of keys and sums of integers by Thrust and CUB, as launches of a node. Their
// workspace is part of the node's scratch. CUB tells what it needs on the device it runs on alone;
// a plan is made anywhere, so it holds an upper bound, derived from how CUB 3.0 cuts its work, and
// the first use, which is the recording of a step, is an error if CUB wants more.

#include <functional>
#include <string>
#include <string_view>

#include "backends/cuda/cuda_work.h"
#include "backends/cuda/index/thrust_calls.h"

namespace blockgrad {

class CudaSorts {
 public:
  /// Makes a call and throws DeviceError if the number that it returns, a cudaError_t, is not 0.
  using Check = std::function<void(std::string_view what, const std::function<int()>& call)>;

  /// `name` is what makers say: "CUB". `calls` last as long as what is made here.
  CudaSorts(std::string name, const ThrustCalls& calls, Check check)
      : name_(std::move(name)), calls_(&calls), check_(std::move(check)) {}

  const std::string& name() const { return name_; }

  /// Most entries, or elements of a line, that one launch takes.
  static constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;

  struct Entries {
    std::int64_t n = 0;
    bool is_wide = false;
    std::int64_t bytes() const;
  };
  /// Bytes of workspace.
  static std::int64_t sort_bytes(const Entries& entries);
  static std::int64_t start_bytes(std::int64_t n);
  static std::int64_t sum_bytes(std::int64_t n);

  /// See ThrustCalls. `workspace` has the bytes above.
  CudaLaunch sort(const Entries& entries, EntryBits bits, const CudaArg& from, const CudaArg& to,
                  const CudaArg& workspace) const;
  CudaLaunch find_starts(const Entries& entries, const CudaArg& from, const CudaArg& starts,
                         const CudaArg& count, const CudaArg& workspace) const;
  CudaLaunch add_up(const IntegerLine& line, const CudaArg& x, const CudaArg& y,
                    const CudaArg& workspace) const;

 private:
  using Call = std::function<ThrustAnswer(const std::uint64_t* args, Workspace, void* stream)>;
  CudaLaunch launch(std::string what, std::int64_t bytes, Call call,
                    std::vector<CudaArg> args) const;

  std::string name_;
  const ThrustCalls* calls_;
  Check check_;
};

}  // namespace blockgrad
