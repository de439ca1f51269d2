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

/// Whether steps move elements of this size.
bool has_steps(std::int64_t size) { return size == 4 || size == 8; }

SmallCall copy(void* out, const void* a, std::int64_t n, std::int64_t size, SmallOp step) {
  SmallCall call{.run = copy_bytes, .out = out, .a = a, .n = n * size};
  if (!has_steps(size)) return call;
  call.run = nullptr;
  call.n = n;
  call.op = step;
  call.size = static_cast<std::uint8_t>(size);
  return call;
}

}  // namespace

SmallSpan::SmallSpan(const Layout& layout) : first(layout.offset), size(1) {
  for (int a = 0; a < layout.shape.rank(); ++a) {
    const std::int64_t reach = (layout.shape[a] - 1) * layout.strides[static_cast<std::size_t>(a)];
    if (reach < 0) first += reach;
    size += reach < 0 ? -reach : reach;
  }
}

SmallValues::SmallValues(const Graph& graph, const Plan& plan, const SmallOrder& order, Isa isa,
                         const PlaceOf& place)
    : graph_(graph),
      plan_(plan),
      small_(small_table(isa)),
      place_(place),
      to_memory_(order.is_one_segment() ? SmallPhase::end : SmallPhase::step) {
  program_.segments_.resize(order.segments);
  find_residents(order);
}

SmallProgram SmallValues::finish() {
  program_.once_.join(small_);
  program_.bound_.join(small_);
  program_.end_.join(small_);
  for (std::vector<SmallBlock>& blocks : program_.segments_) {
    for (SmallBlock& block : blocks) block.calls.join(small_);
  }
  for (const FeedUse& use : feed_uses_) {
    SmallCall& call = calls_of(use.phase, use.segment, use.block).at(use.call);
    program_.feed_uses_.push_back({use.side == Side::a ? &call.a : &call.b, use.feed, use.offset});
  }
  return std::move(program_);
}

void SmallValues::open(std::size_t segment, std::int32_t guard) {
  if (segment_ != static_cast<std::int64_t>(segment)) {
    close_segment();
    segment_ = static_cast<std::int64_t>(segment);
  }
  const std::byte* condition = nullptr;
  if (guard >= 0) condition = source_of(plan_.guards[static_cast<std::size_t>(guard)]).memory;
  std::vector<SmallBlock>& blocks = program_.segments_[segment];
  if (!blocks.empty() && blocks.back().guard == condition) return;
  // What a guarded block loaded is not there for other blocks.
  if (!blocks.empty() && blocks.back().guard) forget_loads(loads_before_block_);
  loads_before_block_ = loads_.size();
  blocks.push_back({condition, {}});
}

void SmallValues::close_segment() {
  segment_ = -1;
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
    const TensorType& type = storage_type(s);
    const std::int64_t size = bytes_of(type);
    if (!plan_.is_updated[s] || is_written_large[s] || size == 0 || size > place_bytes) continue;
    residents_[s] = new_places(1);
    copy_in(SmallPhase::once, residents_[s], storage_memory(s), type.shape.size(), type.dtype);
  }
}

std::byte* SmallValues::storage_memory(std::size_t s) const {
  const TensorType& type = storage_type(s);
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

SmallCalls& SmallValues::calls_of(SmallPhase phase, std::size_t segment, std::size_t block) {
  if (phase == SmallPhase::once) return program_.once_;
  if (phase == SmallPhase::bound) return program_.bound_;
  if (phase == SmallPhase::end) return program_.end_;
  return program_.segments_[segment][block].calls;
}

void SmallValues::add(SmallPhase phase, const SmallCall& call) {
  const auto segment = static_cast<std::size_t>(segment_);
  calls_of(phase, segment, phase == SmallPhase::step ? program_.segments_[segment].size() - 1 : 0)
      .add(call);
}

void SmallValues::point(SmallPhase phase, Side side, const SmallSource& source,
                        std::int64_t offset) {
  const auto segment = static_cast<std::size_t>(segment_);
  const std::size_t block = phase == SmallPhase::step ? program_.segments_[segment].size() - 1 : 0;
  SmallCalls& calls = calls_of(phase, segment, block);
  const std::size_t number = calls.size() - 1;
  if (source.feed >= 0) {
    feed_uses_.push_back(
        {static_cast<std::size_t>(source.feed), offset, phase, segment, block, number, side});
    return;
  }
  SmallCall& call = calls.at(number);
  (side == Side::a ? call.a : call.b) = source.memory + offset;
}

void SmallValues::copy_in(SmallPhase phase, std::byte* place, const std::byte* memory,
                          std::int64_t n, DType dtype) {
  add(phase, copy(place, memory, n, static_cast<std::int64_t>(size_of(dtype)), SmallOp::load));
}

void SmallValues::copy_out(std::byte* memory, const std::byte* place, std::int64_t n, DType dtype) {
  add(to_memory_,
      copy(memory, place, n, static_cast<std::int64_t>(size_of(dtype)), SmallOp::store));
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
  load(source, layout, size, place);
  loads_.push_back({source, walk, size, n, place});
  return {place, -1, source.phase, true, true};
}

void SmallValues::load(const SmallSource& source, const Layout& layout, std::int64_t size,
                       std::byte* out) {
  const Walk walk(layout);
  const std::int64_t n = layout.shape.size();
  const SmallSpan span(layout);
  SmallCall call = copy(out, nullptr, n, size, SmallOp::load);
  std::int64_t offset = walk.offset;
  if (walk.is_scalar() && !walk.is_contiguous()) {
    if (has_steps(size)) call.op = SmallOp::spread;
    else call.run = small_.spread[size];
  } else if (!walk.is_contiguous() && has_steps(size) && span.size * size <= place_bytes) {
    auto lanes = std::make_shared<SmallLanes>();
    std::int32_t* at = lanes->at;
    walk.runs(0, n, [&](std::int64_t from, std::int64_t run) {
      for (std::int64_t i = 0; i < run; ++i)
        *at++ = static_cast<std::int32_t>(from + i * walk.step() - span.first);
    });
    call.op = SmallOp::gather;
    call.c = lanes->at;
    call.n = span.size;
    offset = span.first;
    program_.kept_.push_back(std::move(lanes));
  } else if (!walk.is_contiguous()) {
    auto kept = std::make_shared<const Walk>(walk);
    call = {.run = gather_of(size), .out = out, .c = kept.get(), .n = n};
    offset = 0;  // the Walk has it
    program_.kept_.push_back(std::move(kept));
  }
  add(source.phase, call);
  point(source.phase, Side::a, source, offset * size);
}

SmallSource SmallValues::number(const Operand& operand) const {
  SmallSource source = source_of(operand);
  const Walk walk(operand.layout);
  source.is_number = source.phase == SmallPhase::step &&
                     has_steps(static_cast<std::int64_t>(size_of(operand.dtype))) &&
                     walk.offset == 0 && walk.is_scalar() && !walk.is_contiguous();
  return source;
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

SmallSource SmallValues::copied(const SmallSource& source, DType dtype) {
  std::byte* place = new_places(1);
  const std::int64_t lanes = place_bytes / static_cast<std::int64_t>(size_of(dtype));
  copy_in(source.phase, place, source.memory, lanes, dtype);
  return {place, -1, source.phase, true, true};
}

void SmallValues::set(const Operand& operand, const SmallSource& value, bool is_read_outside) {
  const SmallSource own = value.is_kept ? value : copied(value, operand.dtype);
  in_arena_[operand.at] = own;
  if (!is_read_outside) return;
  copy_out(place_(operand), own.memory, operand.layout.shape.size(), operand.dtype);
}

void SmallValues::store(std::int64_t storage, const SmallSource& value) {
  const auto s = static_cast<std::size_t>(storage);
  const TensorType& type = storage_type(s);
  std::byte* const own = resident(storage);
  if (own && value.memory != own) {
    const std::int64_t lanes = place_bytes / static_cast<std::int64_t>(size_of(type.dtype));
    copy_in(SmallPhase::step, own, value.memory, lanes, type.dtype);
  }
  copy_out(storage_memory(s), own ? own : value.memory, type.shape.size(), type.dtype);
}

}  // namespace blockgrad
