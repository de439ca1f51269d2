#pragma once
// A kernel: one node's work, made once at compile from the op, types and layouts, then run without
// decisions, allocations or locks. A KernelTable maps op types to makers.

#include <atomic>
#include <functional>
#include <map>
#include <shared_mutex>
#include <span>
#include <string>
#include <typeindex>

#include "backends/cpu/isa.h"
#include "graph/plan.h"

namespace blockgrad {

/// What a step found wrong in its data; the first position in row-major order is kept, whichever
/// thread saw it.
class StepErrors {
 public:
  /// `value` is an integer up to 64 bits wide or a floating number.
  template <class T>
  void report(std::int64_t position, T value) {
    if (is_set_ && position >= position_) return;
    is_set_ = true;
    position_ = position;
    is_integer_ = std::is_integral_v<T>;
    if constexpr (std::is_integral_v<T>) integer_ = value;
    else number_ = value;
  }
  void clear() { is_set_ = false; }
  bool is_set() const { return is_set_; }
  std::int64_t position() const { return position_; }
  Text value() const { return is_integer_ ? Text(integer_) : Text(number_); }

 private:
  bool is_set_ = false;
  bool is_integer_ = true;
  std::int64_t position_ = 0;
  std::int64_t integer_ = 0;
  double number_ = 0;
};

/// What a kernel of several instructions looks at while it runs: nothing, its results, or every
/// value it makes.
enum class Watch : std::uint8_t { nothing, results, all };

/// Who is told which elements of a kernel's result are there, by the thread that made them.
struct ElementsMade {
  void (*tell)(const void* context, std::int64_t first, std::int64_t last) = nullptr;
  const void* context = nullptr;
};

struct KernelCall {
  const std::byte* const* in =
      nullptr;                      // start of each input's memory; layouts are the kernel's own
  std::byte* const* out = nullptr;  // results, dense but where an op `makes` others
  std::byte* scratch = nullptr;     // of this thread, 64-byte aligned
  StepErrors* errors = nullptr;     // written by kernels of one part only
  std::atomic<bool>* not_finite = nullptr;  // set where a watched value is NaN or infinite
  Watch watch = Watch::nothing;
  bool is_trial = false;  // results go to scratch, of `trial_scratch` more bytes, and are dropped
  std::byte* shared = nullptr;  // scratch of all threads together, 64-byte aligned
  std::uint64_t turn = 0;       // another number whenever a kernel is run, not 0
  ElementsMade made = {};       // heeded by kernels with `tells_elements`
  int shares = 1;  // runs of parts, equal ones, that this kernel's work is dealt out in
};

struct Kernel {
  /// Does parts first .. last-1. Parts may run at the same time; what a part is depends on shapes
  /// alone. A part may wait for an earlier one: whoever has several does them in order.
  std::function<void(const KernelCall&, std::int64_t first, std::int64_t last)> run;
  std::int64_t parts = 1;
  /// If there is any: what is left when all parts are done, by one thread. What parts leave for it
  /// in KernelCall::shared is there.
  std::function<void(const KernelCall&)> finish = {};
  std::size_t scratch = 0;  // bytes per thread
  std::size_t shared = 0;   // bytes for all threads
  double cost = 0;       // nanoseconds of one thread, roughly; decides whether threads are worth it
  std::string why = {};  // for the report
  std::string thing = {}, rule = {};  // of a value that it reports: "index", "is out of range"
  /// Whether it heeds `watch` and `is_trial`; what others made is looked at in memory.
  bool can_watch = false;
  std::size_t trial_scratch = 0;
  /// Whether it tells KernelCall::made, if there is any, of elements of result 0 as soon as it has
  /// made them: a whole image of a group, or some thousands, at a time, and all of them, once.
  bool tells_elements = false;
};

struct KernelRequest {
  const GraphNode& node;
  std::span<const Operand> inputs, outputs;
  Isa isa;
  std::span<const char> updated = {};  // per storage of the plan: whether the program writes it

  /// Whether the step itself makes input i: threads have what they made of it in their caches.
  bool makes(std::size_t i) const { return inputs[i].place == Place::arena; }
  /// Whether input i is storage that the program writes.
  bool updates(std::size_t i) const {
    const auto at = static_cast<std::size_t>(inputs[i].at);
    return inputs[i].place == Place::stored && at < updated.size() && updated[at] != 0;
  }
};

/// Makers by type of op. Locked and append-only: what `find` gives stays where it is.
class KernelTable {
 public:
  using Maker = std::function<Kernel(const KernelRequest&)>;
  struct Entry {
    Maker maker;
    std::type_index function;  // what tells two kernels of users apart
    SourceLoc where;           // of the call that added it; empty for built-in ones
  };

  /// Filled by these functions, one per family.
  explicit KernelTable(std::initializer_list<void (*)(KernelTable&)> families) {
    for (const auto fill : families) fill(*this);
  }

  template <OpLike T>
  void add(Maker maker) {
    add(typeid(T), T::name, {std::move(maker), typeid(T), {}});
  }
  /// Throws Error if this op has another kernel.
  void add(std::type_index op, std::string_view name, Entry entry);
  /// Null if there is none.
  const Maker* find(const Op& op) const;

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::type_index, Entry> entries_;
};

}  // namespace blockgrad
