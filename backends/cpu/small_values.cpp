#include "backends/cpu/small_values.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace blockgrad {

namespace {

constexpr std::int64_t place_bytes = SmallTable::bytes;

// Calls that no instruction set changes. `n` is a number of bytes, or of elements where a Walk says
// how they lie.
void copy_bytes(void* out, const void* a, const void*, const void*, std::int64_t n) {
  std::memcpy(out, a, static_cast<std::size_t>(n));
}
template <std::size_t n>
void copy_known(void* out, const void* a, const void*, const void*, std::int64_t) {
  std::memcpy(out, a, n);
}
}  // namespace

TapeFn small_copy(std::int64_t bytes) {
  switch (bytes) {
    case 1: return copy_known<1>;
    case 4: return copy_known<4>;
    case 8: return copy_known<8>;
    case 64: return copy_known<64>;
    default: return copy_bytes;
  }
}
namespace {

template <class T>
void gather(void* out, const void* a, const void*, const void* c, std::int64_t n) {
  static_cast<const Walk*>(c)->load(static_cast<T*>(out), static_cast<const T*>(a), 0, n);
}
TapeFn gather_of(std::int64_t size) {
  switch (size) {
    case 1: return gather<std::uint8_t>;
    case 2: return gather<std::uint16_t>;
    case 4: return gather<std::uint32_t>;
    default: return gather<std::uint64_t>;
  }
}

}  // namespace

SmallValues::SmallValues(const Graph& graph, const Plan& plan, const SmallOrder& order, Isa isa,
                         const PlaceOf& place)
    : graph_(graph), plan_(plan), small_(small_table(isa)), place_(place) {
  program_.segments_.resize(order.segments);
  find_residents(order);
}

void SmallValues::open(std::size_t segment, std::int32_t guard) {
  if (segment_ != &program_.segments_[segment]) {
    close_segment();
    segment_ = &program_.segments_[segment];
  }
  const std::byte* condition = nullptr;
  if (guard >= 0) condition = source_of(plan_.guards[static_cast<std::size_t>(guard)]).memory;
  std::vector<SmallBlock>& blocks = segment_->blocks;
  if (!blocks.empty() && blocks.back().guard == condition) return;
  // What a guarded block loaded is not there for other blocks.
  if (!blocks.empty() && blocks.back().guard) forget_loads(loads_before_block_);
  loads_before_block_ = loads_.size();
  blocks.push_back({condition, segment_->calls.size()});
}

void SmallValues::close_block() { segment_->blocks.back().end = segment_->calls.size(); }

void SmallValues::close_segment() {
  segment_ = nullptr;
  in_arena_.clear();
  forget_loads(0);
  loads_before_block_ = 0;
}

void SmallValues::forget_loads(std::size_t from) {
  const auto first = loads_.begin() + static_cast<std::ptrdiff_t>(std::min(from, loads_.size()));
  loads_.erase(std::remove_if(first, loads_.end(),
                              [](const Loaded& l) { return l.source.phase == SmallPhase::step; }),
               loads_.end());
}

// Small storage that only small updates write has a place that holds it from step to step.
void SmallValues::find_residents(const SmallOrder& order) {
  residents_.assign(plan_.storages.size(), nullptr);
  std::vector<char> is_written_large(plan_.storages.size(), 0);
  for (const SmallOrder::Entry& entry : order.entries) {
    if (entry.segment >= 0) continue;
    if (entry.kind == StepItem::Kind::commit)
      is_written_large[static_cast<std::size_t>(plan_.commits[entry.number].storage)] = 1;
    else if (entry.kind == StepItem::Kind::update)
      for (const Operand& out : order.step(plan_, entry).outputs)
        is_written_large[static_cast<std::size_t>(out.at)] = 1;
  }
  for (std::size_t s = 0; s < plan_.storages.size(); ++s) {
    const std::int64_t size =
        bytes_of(graph_.nodes[static_cast<std::size_t>(plan_.storages[s])].types[0]);
    if (!plan_.is_updated[s] || is_written_large[s] || size == 0 || size > place_bytes) continue;
    residents_[s] = new_places(1);
    program_.once_.push_back(
        {small_copy(size), residents_[s], storage_memory(s), nullptr, nullptr, size});
  }
}

std::byte* SmallValues::storage_memory(std::size_t s) const {
  const TensorType& type = graph_.nodes[static_cast<std::size_t>(plan_.storages[s])].types[0];
  return place_(
      {Place::stored, static_cast<std::int64_t>(s), type.dtype, Layout::dense(type.shape)});
}

std::byte* SmallValues::new_places(std::int64_t count) {
  constexpr std::int64_t at_once = 64;
  if (count > places_left_) {
    places_left_ = std::max(count, at_once);
    const auto memory = allocate_bytes(places_left_ * place_bytes);
    std::memset(memory.get(), 0, static_cast<std::size_t>(places_left_ * place_bytes));
    program_.kept_.push_back(memory);
    next_place_ = memory.get();
  }
  std::byte* const first = next_place_;
  next_place_ += count * place_bytes;
  places_left_ -= count;
  return first;
}

void SmallValues::add(SmallPhase phase, const SmallCall& call) {
  if (phase == SmallPhase::once) program_.once_.push_back(call);
  else if (phase == SmallPhase::bound) program_.bound_.push_back(call);
  else segment_->calls.push_back(call);
}

SmallSource SmallValues::source_of(const Operand& operand) const {
  const auto s = static_cast<std::size_t>(operand.at);
  switch (operand.place) {
    case Place::feed: return {nullptr, operand.at, SmallPhase::bound, false, false};
    case Place::constant: return {place_(operand), -1, SmallPhase::once, false, true};
    case Place::stored:
      if (residents_[s]) return {residents_[s], -1, SmallPhase::step, true, false};
      return {place_(operand), -1, plan_.is_updated[s] ? SmallPhase::step : SmallPhase::once, true,
              !plan_.is_updated[s]};
    case Place::arena: break;
  }
  const auto known = in_arena_.find(operand.at);
  if (known != in_arena_.end()) return known->second;
  return {place_(operand), -1, SmallPhase::step, operand.at % place_bytes == 0, false};
}

SmallSource SmallValues::read(const Operand& operand, const Layout& layout) {
  const SmallSource source = source_of(operand);
  const Walk walk(layout);
  const std::int64_t n = layout.shape.size();
  const auto size = static_cast<std::int64_t>(size_of(operand.dtype));
  if (walk.is_contiguous() && walk.offset == 0 && source.is_whole) return source;
  constexpr std::size_t most_looked_at = 64;  // so that compiling stays linear
  for (std::size_t i = loads_.size(); i-- > 0 && loads_.size() - i <= most_looked_at;) {
    const Loaded& l = loads_[i];
    if (l.source.memory == source.memory && l.source.feed == source.feed && l.size == size &&
        l.n == n && l.walk.offset == walk.offset && l.walk.rank == walk.rank &&
        l.walk.sizes == walk.sizes && l.walk.strides == walk.strides)
      return {l.place, -1, source.phase, true, true};
  }
  std::byte* place = new_places(1);
  load(source, walk, size, n, place);
  loads_.push_back({source, walk, size, n, place});
  return {place, -1, source.phase, true, true};
}

void SmallValues::load(const SmallSource& source, const Walk& walk, std::int64_t size,
                       std::int64_t n, std::byte* out) {
  SmallCall call{nullptr, out, nullptr, nullptr, nullptr, n};
  std::int64_t offset = walk.offset * size;
  if (walk.is_contiguous()) {
    call.run = small_copy(n * size);
    call.n = n * size;
  } else if (walk.is_scalar()) {
    call.run = small_.spread[size];
  } else {
    auto kept = std::make_shared<const Walk>(walk);
    call.run = gather_of(size);
    call.c = kept.get();
    program_.kept_.push_back(kept);
    offset = 0;  // the Walk has it
  }
  if (source.feed >= 0) {
    program_.feed_uses_.push_back(
        {static_cast<std::size_t>(source.feed), program_.bound_.size(), offset});
  } else {
    call.a = source.memory + offset;
  }
  add(source.phase, call);
}

SmallSource SmallValues::constant(const ScalarInstr& instr) {
  std::byte* place = new_places(1);
  visit(instr.dtype, [&](auto zero) {
    using T = decltype(zero);
    T value{};
    if constexpr (is_floating(dtype_of<T>()))
      value = static_cast<T>(std::bit_cast<double>(instr.bits));
    else value = static_cast<T>(static_cast<std::int64_t>(instr.bits));
    const std::int64_t lanes = place_bytes / static_cast<std::int64_t>(sizeof(T));
    std::fill_n(reinterpret_cast<T*>(place), lanes, value);
  });
  return {place, -1, SmallPhase::once, true, true};
}

SmallSource SmallValues::positions(std::int64_t n) {
  std::byte* place = new_places(1);
  for (std::int64_t i = 0; i < n; ++i) reinterpret_cast<std::int64_t*>(place)[i] = i;
  return {place, -1, SmallPhase::once, true, true};
}

SmallSource SmallValues::copied(const SmallSource& source) {
  std::byte* place = new_places(1);
  add(source.phase, {small_copy(place_bytes), place, source.memory, nullptr, nullptr, place_bytes});
  return {place, -1, source.phase, true, true};
}

void SmallValues::set(const Operand& operand, const SmallSource& value, bool is_read_outside) {
  const SmallSource own = value.is_kept ? value : copied(value);
  in_arena_[operand.at] = own;
  if (!is_read_outside) return;
  const std::int64_t size = bytes_of({operand.dtype, operand.layout.shape});
  add(SmallPhase::step, {small_copy(size), place_(operand), own.memory, nullptr, nullptr, size});
}

void SmallValues::store(std::int64_t storage, const SmallSource& value, std::int64_t size) {
  std::byte* const own = resident(storage);
  if (own && value.memory != own)
    add(SmallPhase::step,
        {small_copy(place_bytes), own, value.memory, nullptr, nullptr, place_bytes});
  std::byte* const memory = storage_memory(static_cast<std::size_t>(storage));
  add(SmallPhase::step, {small_copy(size), memory, value.memory, nullptr, nullptr, size});
}

}  // namespace blockgrad
