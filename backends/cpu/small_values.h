#pragma once
// Where the values of a small program lie while it is made: places of their own, storage,
// constants, feeds and the arena; and the calls that bring them there.

#include <map>

#include "backends/cpu/small_program.h"
#include "backends/cpu/walk.h"
#include "blockgrad/graph/scalar.h"

namespace blockgrad {

/// When a call is made: once in a run, when feeds have changed, in every step, after the last one.
enum class SmallPhase : std::uint8_t { once, bound, step, end };

/// Where a value can be read from: fixed memory, or a feed.
struct SmallSource {
  const std::byte* memory = nullptr;
  std::int64_t feed = -1;
  SmallPhase phase = SmallPhase::step;
  bool is_whole = false;   // 64 bytes can be read there
  bool is_kept = false;    // nothing else is written there in a step
  bool is_number = false;  // for all elements
};

/// The elements that a layout of few of them reads, from the first in memory to the last.
struct SmallSpan {
  std::int64_t first, size;
  explicit SmallSpan(const Layout& layout);
};

class SmallValues {
 public:
  using PlaceOf = std::function<std::byte*(const Operand&)>;

  SmallValues(const Graph& graph, const Plan& plan, const SmallOrder& order, Isa isa,
              const PlaceOf& place);

  SmallProgram finish();

  /// Calls that follow belong to this segment, under this guard (-1: none).
  void open(std::size_t segment, std::int32_t guard);
  /// What the arena holds may change now.
  void close_segment();

  void add(SmallPhase phase, const SmallCall& call);
  enum class Side : std::uint8_t { a, b };
  /// An operand of the call added last: so many bytes behind where the source begins.
  void point(SmallPhase phase, Side side, const SmallSource& source, std::int64_t offset);
  std::byte* new_places(std::int64_t count);
  void keep(std::shared_ptr<const void> what) { program_.kept_.push_back(std::move(what)); }

  SmallSource source_of(const Operand& operand) const;
  /// The elements of an operand in row-major order of `layout`, in a place; lanes behind them hold
  /// anything.
  SmallSource read(const Operand& operand, const Layout& layout);
  void load(const SmallSource& source, const Layout& layout, std::int64_t size, std::byte* out);
  /// An operand that is one number for all elements and made in every step, where it lies; else
  /// not a number.
  SmallSource number(const Operand& operand) const;
  SmallSource constant(const ScalarInstr& instr);
  SmallSource positions(std::int64_t n);
  SmallSource copied(const SmallSource& source, DType dtype);
  /// The value of an operand in the arena from now on.
  void set(const Operand& operand, const SmallSource& value, bool is_read_outside);
  /// The place of storage gets all lanes; its memory what belongs to it.
  void store(std::int64_t storage, const SmallSource& value);
  /// The place that holds a storage from step to step; null if it has none.
  std::byte* resident(std::int64_t storage) const {
    return residents_[static_cast<std::size_t>(storage)];
  }

 private:
  struct Loaded {
    SmallSource source;
    Walk walk;
    std::int64_t size, n;
    std::byte* place;
  };

  /// Where a pointer to fed memory goes, by numbers while calls are still added.
  struct FeedUse {
    std::size_t feed;
    std::int64_t offset;
    SmallPhase phase;
    std::size_t segment, block, call;
    Side side;
  };

  void find_residents(const SmallOrder& order);
  const TensorType& storage_type(std::size_t s) const {
    return graph_.nodes[static_cast<std::size_t>(plan_.storages[s])].types[0];
  }
  std::byte* storage_memory(std::size_t s) const;
  void forget_loads(std::size_t from);
  SmallCalls& calls_of(SmallPhase phase, std::size_t segment, std::size_t block);
  /// Copies n elements between memory and a place.
  void copy_in(SmallPhase phase, std::byte* place, const std::byte* memory, std::int64_t n,
               DType dtype);
  void copy_out(std::byte* memory, const std::byte* place, std::int64_t n, DType dtype);

  const Graph& graph_;
  const Plan& plan_;
  const SmallTable& small_;
  const PlaceOf& place_;
  SmallProgram program_;
  std::vector<std::byte*> residents_;  // per storage
  std::vector<FeedUse> feed_uses_;
  std::int64_t segment_ = -1;                     // that is open
  SmallPhase to_memory_;                          // when values go there
  std::map<std::int64_t, SmallSource> in_arena_;  // by offset: what the open segment put there
  std::vector<Loaded> loads_;
  std::size_t loads_before_block_ = 0;
  std::byte* next_place_ = nullptr;
  std::int64_t places_left_ = 0;
};

}  // namespace blockgrad
