#pragma once
// A program on a CUDA device: the plan's nodes as launches with resolved addresses, recorded once
// as one sequence for a step, and one for many, which a run starts. Data that is wrong closes the
// gate in front of all updates, of this step and those behind it, until the run has told it.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/cuda_edges.h"
#include "backends/cuda/cuda_feeds.h"
#include "backends/cuda/cuda_runtime.h"
#include "backends/cuda/cuda_work.h"
#include "backends/cuda/machine/device_copy.h"
#include "backends/executable.h"
#include "blockgrad/graph/stored.h"

namespace blockgrad {

/// What makers are told for programs of these options.
CudaTarget cuda_target(const CudaRuntime& runtime, const CompileOptions& options);

/// What the nodes become: steps, then updates. Throws Error naming one without a kernel that fits.
std::vector<CudaWork> cuda_works(const Graph& graph, const Plan& plan, const CudaTarget& target);

/// Device memory beside arena and storage: scratch, feeds, constants, tables, and what
/// check_numerics keeps.
std::int64_t cuda_own_bytes(const Graph& graph, const Plan& plan, const CompileOptions& options,
                            std::span<const CudaWork> works);

class CudaExecutable final : public Executable {
 public:
  CudaExecutable(const Graph& graph, const Plan& plan, const CompileOptions& options,
                 std::shared_ptr<CudaRuntime> runtime);
  ~CudaExecutable() override;

  /// Returns when the steps are started and all but the last few are done, or, where a step may
  /// find its data wrong, all are. A stop is looked for before each start, of up to 32 steps.
  std::int64_t run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) override;
  void on_bad_value(Examine examine) override { examine_ = std::move(examine); }
  void examine(std::span<const std::byte* const> feeds, std::int64_t step) override;
  /// Times include the launches of a node, each waited for.
  void profile(std::span<const std::byte* const> feeds, int runs, Report& report) override;
  const std::byte* output(int i) const override;
  void describe(Report& report) const override;

 private:
  /// A launch on the first set of feeds. On set s, args[i] is s * strides[i] further on.
  struct Launch {
    CudaCall call;
    std::vector<std::uint64_t> strides;
  };

  /// A node of the step, or a commit.
  struct Item {
    std::int32_t node = -1;
    std::string label;
    std::string why, thing, rule;
    Cost cost;
    std::vector<Launch> launches;
    std::string declaration = {};
  };

  /// A value that is looked at when it is made.
  struct Watch {
    CudaCall call;
    std::size_t item = 0;  // that makes it
    bool is_on = true;
  };

  /// Steps that are started together: all on one set of feeds, or each on its own, from it on.
  struct Start {
    std::int64_t set = 0, steps = 1;
    bool is_fed_each = false;

    bool operator==(const Start&) const = default;
  };
  struct Recorded {
    Start start;
    std::unique_ptr<CudaSequence> sequence;
  };

  Item node_item(const PlanStep& step, CudaWork work);
  CudaAccesses add_commits();
  void find_order(std::vector<CudaAccesses> accesses);
  Item end_item();
  Launch launch_of(const CudaLaunch& launch, const PlanStep& step);
  std::uint64_t table_of(const CudaLaunch& launch, const PlanStep& step);
  CudaLaunch settling(const PlanStep& step) const;
  std::uint64_t address(const CudaArg& arg, const PlanStep& step) const;
  std::byte* place(const Operand& operand) const;
  void load_kernels();
  void name_refused_text() const;

  // cuda_run.cpp
  void record(const Start& start);
  CudaSequence& recorded(const Start& start);
  void begin_run();
  void leave_storage();
  void bind(std::span<const std::byte* const> feeds);
  std::int64_t run_steps(std::int64_t n, const FeedRing& feeds, const StopToken* stop);
  std::int64_t run_watched(std::int64_t n, const FeedRing& feeds, const StopToken* stop);
  std::size_t upload(const FeedRing& feeds, std::int64_t first, std::int64_t steps);
  void start(const Start& start);
  void check_state();

  // cuda_watch.cpp
  void prepare_watch();
  void run_watched_step(std::span<const std::byte* const> feeds, std::int64_t step);
  bool start_watched(std::int64_t step);

  template <class T>
  const T& leaf(std::int32_t node) const {
    return *graph_.nodes[static_cast<std::size_t>(node)].op.as<T>();
  }

  const Graph& graph_;
  const Plan& plan_;
  std::shared_ptr<CudaRuntime> runtime_;
  std::shared_ptr<std::byte> arena_, scratch_, state_;
  std::int64_t own_bytes_ = 0, launches_ = 0;
  CudaFeeds layout_;
  std::shared_ptr<std::byte> feeds_;
  std::vector<std::shared_ptr<std::byte>> constants_, tables_;
  std::vector<std::shared_ptr<Stored>> storages_;
  std::vector<std::shared_ptr<DeviceCopy>> copies_;  // of the storages
  std::vector<Item> items_;
  std::vector<Watch> watches_;
  std::shared_ptr<std::byte> flags_;              // of the watches
  std::vector<std::shared_ptr<std::byte>> kept_;  // storage before a watched step
  Examine examine_;
  std::vector<CudaText> texts_;  // of all calls, in the order of making them, until they are loaded
  CudaOrder order_;              // of the items; empty: one after the other
  std::int64_t longest_chain_ = 0;
  std::vector<Recorded> recorded_;
  // What keeps the host from being far ahead: set in turns, each after some launches.
  std::array<std::unique_ptr<CudaMark>, 4> done_;
  std::size_t next_done_ = 0;
  std::int64_t launches_since_ = 0;
  // For each group of feeds: that it is there, and that it has been read.
  std::array<std::unique_ptr<CudaMark>, 2> fed_, read_;
  std::size_t next_group_ = 0;
  bool is_bound_ = false;  // the first set, on the line of work
  std::vector<CudaPart> parts_;
  bool may_fail_ = false;
  mutable std::vector<std::shared_ptr<std::byte>> outputs_;  // on the host
};

}  // namespace blockgrad
