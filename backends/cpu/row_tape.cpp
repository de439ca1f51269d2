#include "backends/cpu/row_tape.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backends/cpu/prefetch.h"
#include "backends/cpu/row_flows.h"
#include "backends/cpu/row_levels.h"
#include "backends/cpu/row_moves.h"

namespace blockgrad {

namespace {

// One call's walk over blocks.
class RowRun {
 public:
  RowRun(const RowTape& tape, const KernelCall& call) : tape_(tape), call_(call) {
    for (std::size_t r = 0; r < tape.registers.size(); ++r) at_[r] = start_of(tape.registers[r]);
    for (const RowLoad& load : tape.loads_once) {
      const RowRegister& to = reg(load.reg);
      std::int64_t n = to.by_line ? std::min(tape.outers * tape.columns, tape.space.lines())
                                  : std::min(tape.block_elements(), tape.space.elements());
      if (to.is_chunk) n = std::min(n, tape.chunk);
      load_run(load.walk, to.size, at(load.reg), call.in[load.input], 0, n);
    }
  }

  void run(std::int64_t number, bool is_last) {
    enter(number);
    next_ = 0;
    if (!is_last && tape_.fetches_blocks) next_ = first_element_ + elements_;
    if (!is_last && tape_.goes_in_passes) next_ = tape_.first_of_line(number + 1);
    for (const RowLoad& load : tape_.loads) take(load, 0, elements_);
    for (const std::int32_t r : tape_.counters) count(r, 0, elements_);
    for (const RowPhase& phase : tape_.phases) {
      if (phase.is_chunked && tape_.goes_in_passes) run_pass(phase);
      else if (phase.is_chunked) run_chunks(phase);
      else run_whole(phase.first);
    }
    if (tape_.goes_in_passes) advance(0);
    for (const RowStore& it : tape_.stores) store(it.reg, it.result, 0, elements_);
  }

  void tell() const {
    if (not_finite_) call_.not_finite->store(true, std::memory_order_relaxed);
  }

 private:
  std::byte*& at(std::int32_t r) { return at_[static_cast<std::size_t>(r)]; }
  const RowRegister& reg(std::int32_t r) const {
    return tape_.registers[static_cast<std::size_t>(r)];
  }
  std::int32_t size_of(std::int32_t r) const { return reg(r).size; }

  std::byte* start_of(const RowRegister& reg) const {
    switch (reg.kind) {
      case RowRegister::Kind::slot:
        return call_.scratch + tape_.slots[static_cast<std::size_t>(reg.index)].offset;
      case RowRegister::Kind::constant:
        return tape_.constants.get() + reg.index * tape_.constant_bytes;
      case RowRegister::Kind::input:
        return const_cast<std::byte*>(call_.in[reg.index]) + reg.offset * reg.size;
      case RowRegister::Kind::output: return call_.out[reg.index];
    }
    return nullptr;
  }

  void enter(std::int64_t number) {
    const RowSpace& s = tape_.space;
    block_ = tape_.block(number);
    first_line_ = block_.outer * s.inner + block_.column;
    lines_ = block_.outers * block_.columns;
    first_element_ = (block_.outer * s.n * s.inner + block_.column) * s.tail;
    elements_ = lines_ * s.length();
    for (const std::int32_t r : tape_.moving)
      at(r) = start_of(reg(r)) +
              (reg(r).by_line ? first_line_ : first_element_ / reg(r).over) * size_of(r);
  }

  // Of the n elements from `begin` on those that are neighbours: all, or what there is of each k.
  template <class F>
  void for_each_run(std::int64_t begin, std::int64_t n, F f) const {
    if (!tape_.is_strided()) return f(first_element_ + begin, 0, n);
    const RowSpace& s = tape_.space;
    const std::int64_t piece = block_.columns * s.tail;
    std::int64_t from = begin % piece;
    std::int64_t start = first_element_ + begin / piece * s.inner * s.tail;
    for (std::int64_t done = 0; done < n; start += s.inner * s.tail, from = 0) {
      const std::int64_t run = std::min(piece - from, n - done);
      f(start + from, done, run);
      done += run;
    }
  }

  RowTake take_of(const RowLoad& load) const {
    return {call_.in[load.input], call_.in[load.numbers], load.is_narrow,
            tape_.space.n * size_of(load.reg)};
  }

  void take(const RowLoad& load, std::int64_t begin, std::int64_t count) {
    const std::int32_t size = size_of(load.reg);
    const std::byte* in = call_.in[load.input];
    std::byte* out = at(load.reg);
    if (load.numbers >= 0) return take_of(load).copy(out, first_line_, lines_);
    if (reg(load.reg).by_line) {
      load_run(load.walk, size, out, in, first_line_, lines_);
      return;
    }
    if (load.walk.is_contiguous()) {
      const std::byte* const from = in + load.walk.offset * size;
      for_each_run(begin, count, [&](std::int64_t first, std::int64_t to, std::int64_t n) {
        std::memcpy(out + to * size, from + first * size, static_cast<std::size_t>(n * size));
      });
      return;
    }
    for_each_run(begin, count, [&](std::int64_t first, std::int64_t to, std::int64_t n) {
      load_run(load.walk, size, out + to * size, in, first, n);
    });
  }

  void count(std::int32_t r, std::int64_t begin, std::int64_t length) {
    auto* numbers = reinterpret_cast<std::int64_t*>(at(r));
    if (reg(r).by_line) {
      std::iota(numbers, numbers + lines_, first_line_);
      return;
    }
    for_each_run(begin, length, [&](std::int64_t first, std::int64_t to, std::int64_t n) {
      std::iota(numbers + to, numbers + to + n, first);
    });
  }

  void store(std::int32_t from, std::int32_t result, std::int64_t begin, std::int64_t count) {
    const std::int64_t size = size_of(from);
    std::byte* out = call_.out[result];
    if (reg(from).by_line) {
      std::memcpy(out + first_line_ * size, at(from), static_cast<std::size_t>(lines_ * size));
      return;
    }
    for_each_run(begin, count, [&](std::int64_t first, std::int64_t to, std::int64_t n) {
      std::memcpy(out + first * size, at(from) + to * size, static_cast<std::size_t>(n * size));
    });
  }

  void run_chunks(const RowPhase& phase) {
    for (std::int64_t first = 0; first < elements_; first += tape_.chunk) {
      const std::int64_t n = std::min(tape_.chunk, elements_ - first);
      for (std::int32_t i = phase.first; i < phase.last; ++i) {
        if (first == 0) fetch_block(i);
        map(tape_.code[static_cast<std::size_t>(i)], first, n);
      }
    }
  }

  // One pass over the only line of a block. What a Reduce makes of the chunks is joined at its end.
  void run_pass(const RowPhase& phase) {
    for (std::int64_t first = 0; first < elements_; first += RowTape::group * tape_.chunk) {
      const std::int64_t end = std::min(elements_, first + RowTape::group * tape_.chunk);
      if (flows(phase, first, end)) continue;
      for (std::int64_t at = first; at < end; at += tape_.chunk)
        run_chunk(phase, at, std::min(tape_.chunk, end - at));
      for (std::int32_t i = phase.maps; i < phase.last; ++i) {
        const RowInstruction& step = tape_.code[static_cast<std::size_t>(i)];
        if (!step.is_together) reduce_group(step, first, end);
      }
    }
    for (std::int32_t i = phase.maps; i < phase.last; ++i)
      end_reduce(tape_.code[static_cast<std::size_t>(i)]);
  }

  // What a flow does, whole chunks that lie evenly apart; false if there is none.
  bool flows(const RowPhase& phase, std::int64_t first, std::int64_t end) {
    constexpr int count = RowTape::group;
    if (phase.flow.steps.empty() || call_.watch != Watch::nothing) return false;
    if (end - first != count * tape_.chunk) return false;
    RowFlowChunks chunks{first, in_memory(first), 0, in_memory(first)};
    chunks.apart = in_memory(first + tape_.chunk) - chunks.in_memory;
    for (std::int64_t c = 2; c < count; ++c) {
      if (in_memory(first + c * tape_.chunk) != chunks.in_memory + c * chunks.apart) return false;
    }
    if (end + count * tape_.chunk <= elements_) chunks.next = in_memory(end);
    else if (next_ > 0) chunks.next = next_;
    alignas(8) std::byte made[RowTape::most_together * count * sizeof(double)];
    run_flow(tape_, phase.flow, call_, chunks, made);
    const auto size = static_cast<int>(blockgrad::size_of(phase.flow.dtype));
    for (std::size_t s = 0; s < phase.flow.sums.size(); ++s) {
      const RowInstruction& step = tape_.code[static_cast<std::size_t>(phase.flow.sums[s])];
      for (int c = 0; c < count; ++c) {
        const auto k = static_cast<std::int64_t>(s) * count + c;
        levels(step).add(first / tape_.chunk + c, made + k * size, size);
      }
    }
    return true;
  }

  void run_chunk(const RowPhase& phase, std::int64_t first, std::int64_t n) {
    advance(first);
    for (const RowLoad& load : phase.loads) take(load, first, n);
    for (const std::int32_t r : phase.counters) count(r, first, n);
    for (std::int32_t i = phase.first; i < phase.maps; ++i) {
      fetch(phase, first + n, i - phase.first);
      map_here(tape_.code[static_cast<std::size_t>(i)], n);
    }
    if (phase.first == phase.maps) fetch(phase, first + n, 0);
    if (!phase.together.empty()) reduce_together(phase.together, first, n);
    for (const RowStore& it : phase.stores) store(it.reg, it.result, first, n);
  }

  // Of registers that have been moved to the elements.
  void map_here(const RowInstruction& step, std::int64_t n) {
    const std::int32_t* r = step.registers;
    if (step.sweep) step.sweep(at_, step.operands, n);
    else step.run(at(r[0]), at(r[1]), at(r[2]), at(r[3]), n);
    look(step, at(r[0]), n);
  }

  // Share i of what the next chunk moves, one share for each instruction.
  void fetch(const RowPhase& phase, std::int64_t next, std::int64_t i) {
    const std::int64_t n = std::min(tape_.chunk, elements_ - next);
    const std::int64_t shares = std::max(1, phase.maps - phase.first);
    if (n <= 0) return;
    const std::int64_t begin = n * i / shares, end = n * (i + 1) / shares;
    for (const RowStream& stream : phase.fetched) {
      const std::byte* const base = (stream.is_result ? call_.out : call_.in)[stream.operand];
      const auto bring = [&](std::int64_t first, std::int64_t, std::int64_t count) {
        prefetch_to_read(base + (stream.offset + first) * stream.size, count * stream.size);
      };
      if (stream.repeats) bring(next + begin, 0, end - begin);
      else for_each_run(next + begin, end - begin, bring);
    }
  }

  std::int64_t in_memory(std::int64_t k) const { return first_element_ + tape_.in_memory(k); }

  // To the chunk that begins at this element of the line.
  void advance(std::int64_t first) {
    const std::int64_t place = in_memory(first);
    for (const std::int32_t r : tape_.advancing) at(r) = place_of(reg(r), first, place);
  }

  // Where the elements of a register lie from `first` of the line on, which is `place` in memory.
  std::byte* place_of(const RowRegister& it, std::int64_t first, std::int64_t place) const {
    if (it.kind != RowRegister::Kind::slot)
      return start_of(it) + (it.repeats ? first : place) * it.size;
    const RowSlot& slot = tape_.slots[static_cast<std::size_t>(it.index)];
    if (slot.length == RowSlot::Length::group) first %= RowTape::group * tape_.chunk;
    return call_.scratch + slot.offset + first * it.size;
  }

  // Whole chunks that lie evenly apart are reduced together.
  void reduce_group(const RowInstruction& step, std::int64_t first, std::int64_t end) {
    const RowRegister& from = reg(step.registers[1]);
    alignas(8) std::byte made[RowTape::group * sizeof(double)];
    const std::byte* at[RowTape::group];
    const int size = size_of(step.registers[0]);
    int count = 0;
    for (std::int64_t k = first; k < end; k += tape_.chunk, ++count)
      at[count] = place_of(from, k, in_memory(k));
    bool is_even = end - first == count * tape_.chunk;
    for (int c = 2; c < count; ++c) is_even = is_even && at[c] - at[c - 1] == at[1] - at[0];
    if (is_even && count > 1)
      step.reduce(made, nullptr, at[0], tape_.chunk, count, (at[1] - at[0]) / from.size);
    for (int c = 0; c < count; ++c) {
      const std::int64_t k = first + c * tape_.chunk;
      if (!is_even || count == 1)
        step.reduce(made + c * size, nullptr, at[c], std::min(tape_.chunk, end - k), 1, 0);
      levels(step).add(k / tape_.chunk, made + c * size, size);
    }
  }

  void reduce_together(const std::vector<std::int32_t>& steps, std::int64_t first, std::int64_t n) {
    const auto step = [&](std::size_t s) -> const RowInstruction& {
      return tape_.code[static_cast<std::size_t>(steps[s])];
    };
    alignas(8) std::byte made[RowTape::most_together * sizeof(double)];
    const std::int32_t a = step(0).registers[1], b = step(1).registers[1];
    step(0).reduce(made, nullptr, at(a), n, static_cast<std::int64_t>(steps.size()),
                   (at(b) - at(a)) / size_of(a));
    const int size = size_of(step(0).registers[0]);
    for (std::size_t s = 0; s < steps.size(); ++s) {
      levels(step(s)).add(first / tape_.chunk, made + static_cast<std::ptrdiff_t>(s) * size, size);
    }
  }

  RowLevels levels(const RowInstruction& step) const {
    return {call_.scratch + tape_.slots[static_cast<std::size_t>(step.levels)].offset, step.join};
  }

  void end_reduce(const RowInstruction& step) {
    const std::int32_t to = step.registers[0];
    levels(step).finish((elements_ + tape_.chunk - 1) / tape_.chunk, at(to), size_of(to));
    look(step, at(to), 1);
  }

  // Share i of what the next block moves, one for each instruction.
  void fetch_block(std::int64_t i) {
    if (next_ == 0 || !tape_.fetches_blocks) return;
    const std::int64_t shares = std::ssize(tape_.code);
    const std::int64_t begin = elements_ * i / shares, end = elements_ * (i + 1) / shares;
    for (const std::int32_t r : tape_.moving) {
      const RowRegister& it = reg(r);
      if (it.by_line) continue;
      prefetch_to_read(start_of(it) + (next_ + begin) / it.over * it.size,
                       (end - begin) / it.over * it.size);
    }
  }

  void map(const RowInstruction& step, std::int64_t first, std::int64_t n) {
    std::byte* p[5];
    for (int i = 0; i < 5; ++i) p[i] = at(step.registers[i]) + first * step.bytes[i];
    if (step.sweep) step.sweep(p, step.operands, n);
    else step.run(p[0], p[1], p[2], p[3], n);
    look(step, p[0], n);
  }

  void run_whole(std::int32_t i) {
    fetch_block(i);
    const RowInstruction& step = tape_.code[static_cast<std::size_t>(i)];
    switch (step.kind) {
      case RowInstruction::Kind::map:
      case RowInstruction::Kind::copy:
        if (tape_.goes_in_passes) map_here(step, lines_);
        else map(step, 0, lines_);
        return;
      case RowInstruction::Kind::reduce:
        reduce(step);
        look(step, at(step.registers[0]), lines_);
        return;
      case RowInstruction::Kind::spread: spread_whole(step); return;
      case RowInstruction::Kind::sum_lines: sum_lines(step); return;
    }
  }

  void spread_whole(const RowInstruction& step) {
    std::byte* to = at(step.registers[0]);
    const std::byte* from = at(step.registers[1]);
    if (step.spread_elements > 0) step.spread(to, from, 1, step.spread_elements, 1);
    else step.spread(to, from, block_.outers, tape_.space.n, block_.columns);
  }

  void sum_lines(const RowInstruction& step) {
    const std::int32_t to = step.registers[0], from = step.registers[1];
    const std::int64_t n = tape_.space.n, over = reg(to).over;
    for (std::int64_t l = 0; l < lines_; l += over) {
      step.reduce(at(to) + l / over * n * size_of(to), nullptr, at(from) + l * n * size_of(from),
                  over, n, n);
    }
    look(step, at(to), elements_ / over);
  }

  void reduce(const RowInstruction& step) {
    const std::int32_t to = step.registers[0], from = step.registers[1];
    const std::int64_t n = tape_.space.n;
    const auto one = [&](std::int64_t line, std::int64_t first, std::int64_t count,
                         std::int64_t stride, std::int64_t length) {
      std::byte* out = at(to) + line * size_of(to);
      auto* index = step.picks_index ? reinterpret_cast<std::int32_t*>(out) : nullptr;
      step.reduce(index ? nullptr : out, index, at(from) + first * size_of(from), length, count,
                  stride);
    };
    if (tape_.space.tail > 1) return one(0, 0, 1, 0, elements_);
    if (tape_.space.inner == 1) return one(0, 0, lines_, n, n);
    for (std::int64_t o = 0; o < block_.outers; ++o)
      one(o * block_.columns, o * n * block_.columns, block_.columns, block_.columns, n);
  }

  void look(const RowInstruction& step, const std::byte* out, std::int64_t n) {
    if (call_.watch == Watch::nothing) [[likely]]
      return;
    const bool looks = call_.watch == Watch::all ? !step.is_carried : step.is_result;
    if (looks && step.magnitude) not_finite_ |= std::isinf(step.magnitude(out, n));
  }

  const RowTape& tape_;
  const KernelCall& call_;
  std::byte* at_[RowTape::most_registers];
  RowBlock block_;
  std::int64_t first_line_ = 0, lines_ = 0, first_element_ = 0, elements_ = 0;
  std::int64_t next_ = 0;  // element where the next block begins, if it is fetched
  bool not_finite_ = false;
};

}  // namespace

void RowTape::run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
  RowRun rows(*this, call);
  const std::int64_t end = std::min(blocks(), last * blocks_per_part);
  for (std::int64_t b = first * blocks_per_part; b < end; ++b) rows.run(b, b + 1 == end);
  rows.tell();
}

}  // namespace blockgrad
