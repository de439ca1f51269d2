#pragma once
// The CPU's executable: a plan as a flat array of instructions with resolved pointers. Making and
// running it is in cpu.cpp, looking for values that are not finite in examine.cpp.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "backends/cpu/bounds.h"
#include "backends/cpu/roof.h"
#include "backends/cpu/sharing.h"
#include "backends/cpu/small_program.h"
#include "backends/executable.h"
#include "backends/kernel.h"
#include "blockgrad/graph/stored.h"

namespace blockgrad {

class CpuExecutable final : public Executable {
 public:
  CpuExecutable(const Graph& graph, const Plan& plan, const CompileOptions& options);

  std::int64_t run(std::int64_t n, const FeedRing& feeds, const StopToken* stop) override;
  void on_bad_value(Examine examine) override { examine_ = std::move(examine); }
  void examine(std::span<const std::byte* const> feeds, std::int64_t step) override;
  void profile(std::span<const std::byte* const> feeds, int runs, Report& report) override;
  const std::byte* output(int i) const override;
  void describe(Report& report) const override;

 private:
  /// How closely an instruction's values are watched. What made a NaN or infinity on purpose once
  /// is watched less from then on.
  enum class Care : std::uint8_t { nothing, results, all };

  struct Instruction {
    Kernel kernel;
    std::int32_t node = -1;
    std::int32_t guard = -1;
    std::size_t first_in = 0;   // in inputs_
    std::size_t first_out = 0;  // in outputs_
    int threads = 1;
    std::size_t scratch = 0;  // bytes per share
    std::vector<std::pair<DType, std::int64_t>> results;
    Care care = Care::nothing;
    int unbounded = 0;        // how often in a row bounds did not help
    bool is_final = false;    // makes an output or a new value
    bool is_carried = false;  // where it is not finite, another watched result is not either
  };

  struct Copy {
    const std::byte* from = nullptr;
    std::byte* to = nullptr;
    std::size_t bytes = 0;
    std::int32_t guard = -1;
  };

  struct ParallelCall {
    const Instruction* instruction;
    KernelCall call;
    std::size_t scratch;
    int threads;
    bool flushes_subnormals;
    std::atomic<bool>* met_subnormals;  // null: nobody asks
  };
  static void run_share(void* context, int share);

  std::shared_ptr<std::byte> touched_memory(std::int64_t bytes);
  std::byte* place(const Operand& operand) const;
  Instruction instruction(const PlanStep& step);
  void bind(std::span<const std::byte* const> feeds);
  void order_step(bool joins);
  void run_step(std::int64_t number);
  bool holds(std::int32_t guard) const;
  void execute(const Instruction& i, Watch watch = Watch::nothing, bool is_trial = false,
               std::atomic<bool>* met_subnormals = nullptr);
  [[noreturn]] void fail_step(const Instruction& i, std::int64_t number);
  template <class T>
  const T& leaf(std::int32_t node) const {
    return *graph_.nodes[static_cast<std::size_t>(node)].op.as<T>();
  }

  // examine.cpp
  void prepare_watch();
  void begin_watch();
  void end_watch();
  bool is_bounded(Instruction& i);
  Bounds bounds_of(const Operand& operand, const std::byte* memory);
  void find_carried();
  void run_watched_step(std::int64_t number);
  bool is_suspicious(const Instruction& i, bool is_trial);
  bool has_bad_result(const Instruction& i) const;
  void inspect(const PlanStep& step, const Instruction& i, std::int64_t number) const;
  std::string input_ranges(const PlanStep& step, const Instruction& i) const;
  void inspect_finals(std::int64_t number) const;
  std::string first_bad_leaf() const;

  const Graph& graph_;
  const Plan& plan_;
  const Isa isa_;
  const bool is_watched_;
  const bool flushes_subnormals_;
  Examine examine_;
  std::optional<Roof> roof_;  // once measured
  int threads_ = 1;
  double touch_seconds_ = 0;
  std::shared_ptr<std::byte> arena_, scratch_;
  std::size_t scratch_bytes_ = 0;
  std::uint64_t turn_ = 0;  // of the kernel that ran last
  bool uses_threads_ = false;
  bool tries_alone_ = false;
  Sharing sharing_;
  std::vector<std::shared_ptr<Stored>> storages_;
  std::vector<Instruction> steps_, updates_;
  std::vector<Copy> copies_;
  SmallProgram small_;
  std::vector<StepItem> items_;  // what run_step does
  std::vector<const std::byte*> inputs_, guards_, feeds_;
  std::vector<std::byte*> outputs_;
  std::vector<std::vector<std::size_t>> feed_slots_;  // per feed: where its pointer goes in inputs_
  StepErrors errors_;
  std::atomic<bool> not_finite_{false};
  std::vector<Instruction*> suspects_;   // of the step at hand
  std::vector<Bounds> known_, pending_;  // of each storage: now, and after this step
  std::vector<std::uint64_t> versions_;  // of each storage, that known_ is about
  std::vector<Bounds> input_bounds_, value_bounds_;
};

}  // namespace blockgrad
