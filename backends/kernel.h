#pragma once
// A kernel: one node's work, made once at compile from the op, types and layouts, then run without
// decisions, allocations or locks. A KernelTable maps op types to makers.

#include <atomic>
#include <functional>
#include <map>
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
  void report(std::int64_t position, std::int64_t value) {
    if (is_set_ && position >= position_) return;
    is_set_ = true;
    position_ = position;
    value_ = value;
  }
  void clear() { is_set_ = false; }
  bool is_set() const { return is_set_; }
  std::int64_t position() const { return position_; }
  std::int64_t value() const { return value_; }

 private:
  bool is_set_ = false;
  std::int64_t position_ = 0;
  std::int64_t value_ = 0;
};

struct KernelCall {
  const std::byte* const* in =
      nullptr;                      // start of each input's memory; layouts are the kernel's own
  std::byte* const* out = nullptr;  // dense results
  std::byte* scratch = nullptr;     // of this thread, 64-byte aligned
  StepErrors* errors = nullptr;     // written by kernels of one part only
};

struct Kernel {
  /// Does parts first .. last-1. Parts may run at the same time; what a part is depends on shapes
  /// alone.
  std::function<void(const KernelCall&, std::int64_t first, std::int64_t last)> run;
  std::int64_t parts = 1;
  std::size_t scratch = 0;  // bytes per thread
  double cost = 0;  // nanoseconds of one thread, roughly; decides whether threads are worth it
  std::string why;  // for the report
};

struct KernelRequest {
  const GraphNode& node;
  std::span<const Operand> inputs, outputs;
  Isa isa;
};

class KernelTable {
 public:
  using Maker = std::function<Kernel(const KernelRequest&)>;

  template <OpLike T>
  void add(Maker maker) {
    makers_[typeid(T)] = std::move(maker);
  }
  const Maker* find(const Op& op) const {
    const auto found = makers_.find(op.type());
    return found == makers_.end() ? nullptr : &found->second;
  }

 private:
  std::map<std::type_index, Maker> makers_;
};

}  // namespace blockgrad
