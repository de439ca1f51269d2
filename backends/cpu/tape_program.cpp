#include "backends/cpu/tape_program.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backends/cpu/prefetch.h"

namespace blockgrad {

namespace {

/// f(to, from, elements) with both as pointers to unsigned integers of this size.
template <class F>
void with_elements(std::int32_t size, std::byte* to, const std::byte* from, F f) {
  const auto as = [&](auto zero) {
    using T = decltype(zero);
    f(reinterpret_cast<T*>(to), reinterpret_cast<const T*>(from));
  };
  switch (size) {
    case 1: return as(std::uint8_t{});
    case 2: return as(std::uint16_t{});
    case 4: return as(std::uint32_t{});
    default: return as(std::uint64_t{});
  }
}

void run_instruction(const TapeInstruction& step, std::byte* const* at, std::int64_t n,
                     TapeFetch& fetch) {
  const SweepOperands& o = step.operands;
  std::byte* const also = step.also < 0 ? nullptr : at[step.also];
  if (step.sweep) step.sweep(at, o, n);
  else if (step.function) step.function(at[o.out], also, at[o.in[0]], n, fetch);
  else if (step.run) step.run(at[o.out], at[o.in[0]], at[o.in[1]], at[o.in[2]], n);
}
void run_instruction(const TapeInstruction& step, std::byte* const* at, std::int64_t n) {
  TapeFetch none;
  run_instruction(step, at, n, none);
}

void take_number(const TapeLoad& load, std::int32_t size, std::byte* to, const std::byte* from) {
  with_elements(size, to, from, [&](auto* block, const auto* numbers) {
    std::fill_n(block, sweep_block, numbers[load.walk.offset]);
  });
}

}  // namespace

std::byte* TapeProgram::start_of(const TapeRegister& reg, const KernelCall& call,
                                 std::int64_t begin) const {
  switch (reg.kind) {
    case TapeRegister::Kind::slot: return call.scratch + reg.offset;
    case TapeRegister::Kind::constant: return constants.get() + reg.offset;
    case TapeRegister::Kind::input:
      return const_cast<std::byte*>(call.in[reg.index]) + place(reg, begin);
    case TapeRegister::Kind::output:
      return call.is_trial ? call.scratch + reg.trial : call.out[reg.index] + place(reg, begin);
  }
  return nullptr;
}

void TapeProgram::share_fetches() {
  constexpr std::int64_t unit = TapeProgram::fetch_unit;
  std::int64_t all = 0, fetched = 0;
  for (const TapeInstruction& step : code) all += step.work;
  for (TapeInstruction& step : code) {
    const std::int64_t share = (chunk * step.work + all - 1) / all;
    step.fetched = fetched = std::min(chunk, fetched + (share + unit - 1) / unit * unit);
  }
}

std::int64_t TapeProgram::parts() const {
  return std::max<std::int64_t>(1, (elements + part - 1) / part);
}

double TapeProgram::cost() const {
  double per_element =
      0.05 * static_cast<double>(moving.size() + loads.size() + counters.size() + stores.size());
  for (const TapeInstruction& step : code) per_element += step.sweep ? 0.04 : 0.3;
  return 20 + per_element * static_cast<double>(elements);
}

void TapeProgram::run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
  run_elements(call, first * part, std::min(elements, last * part));
}

void TapeProgram::run_elements(const KernelCall& call, std::int64_t begin, std::int64_t end) const {
  if (begin >= end) return;
  if (call.watch == Watch::nothing) run_chunks<false>(call, begin, end);
  else run_chunks<true>(call, begin, end);
}

// What the next chunk moves comes near while one is worked on, as evenly in time as instructions
// allow: a core waits for few lines at once. Strided operands, which are copied, are left to it:
// they would crowd the cache.
class TapeProgram::NextChunk {
 public:
  NextChunk(const TapeProgram& tape, const KernelCall& call, std::byte* const* at)
      : tape_(tape), call_(call) {
    if (!tape.fetches_ahead) return;
    for (const std::int32_t r : tape.moving) {
      const bool is_known =
          std::any_of(known_, known_ + count_, [&](const auto* other) { return other == at[r]; });
      if (is_known) continue;
      known_[count_] = at[r];
      registers_[count_++] = &tape.registers[static_cast<std::size_t>(r)];
    }
  }

  void enter(std::int64_t first, std::int64_t n) {
    first_ = first;
    n_ = n;
    done_ = 0;
    stores_ = 0;
    for (std::size_t s = 0; s < count_; ++s) {
      const TapeRegister& reg = *registers_[s];
      const std::byte* base = writes(reg) ? call_.out[reg.index] : call_.in[reg.index];
      from_[s] = base + tape_.place(reg, first);
    }
  }

  void run(const TapeInstruction& step, std::byte* const* at, std::int64_t n) {
    TapeFetch fetch;
    const bool is_long = step.function && step.work == TapeInstruction::long_work;
    const std::int64_t blocks = is_long ? n / TapeFetch::block : 0;
    const std::int64_t end = std::min(n_, step.fetched);
    const std::int64_t count = std::ssize(tape_.stores);
    for (; stores_ < count && (stores_ + 1) * n_ <= count * end; ++stores_)
      bring(tape_.stores[static_cast<std::size_t>(stores_)]);
    if (blocks > 0 && count_ <= TapeFetch::most) hand_out(end, blocks, fetch);
    for (std::size_t s = 0; done_ < end && s < count_; ++s) {
      const std::int64_t size = registers_[s]->size;
      const std::byte* const from = from_[s] + done_ * size;
      if (writes(*registers_[s])) prefetch_to_write(from, (end - done_) * size);
      else prefetch_to_read(from, (end - done_) * size);
    }
    done_ = std::max(done_, end);
    run_instruction(step, at, n, fetch);
  }

 private:
  static bool writes(const TapeRegister& reg) { return reg.kind == TapeRegister::Kind::output; }

  void hand_out(std::int64_t end, std::int64_t blocks, TapeFetch& fetch) {
    constexpr std::int64_t unit = TapeProgram::fetch_unit;
    if (done_ >= end) return;
    const std::int64_t each = ((end - done_ + blocks - 1) / blocks + unit - 1) / unit * unit;
    for (const bool is_written : {false, true}) {
      for (std::size_t s = 0; s < count_; ++s) {
        if (writes(*registers_[s]) != is_written) continue;
        const std::int64_t size = registers_[s]->size;
        fetch.at[fetch.streams] = from_[s] + done_ * size;
        fetch.bytes[fetch.streams++] = each * size;
      }
      if (!is_written) fetch.reads = fetch.streams;
    }
    done_ += each * blocks;
  }

  void bring(const TapeStore& store) const {
    const std::int64_t size = tape_.registers[static_cast<std::size_t>(store.reg)].size;
    if (store.walk.step() != 1) return;
    store.walk.runs(first_, n_, [&](std::int64_t place, std::int64_t run) {
      prefetch_to_write(call_.out[store.output] + place * size, run * size);
    });
  }

  const TapeProgram& tape_;
  const KernelCall& call_;
  std::size_t count_ = 0;  // of streams: what is written in place of an operand is none of its own
  const TapeRegister* registers_[most_registers];
  const std::byte* known_[most_registers];     // where each is in the first chunk
  const std::byte* from_[most_registers];      // and in the next
  std::int64_t first_ = 0, n_ = 0, done_ = 0;  // elements
  std::int64_t stores_ = 0;                    // that are near
};

template <bool watches>
void TapeProgram::run_chunks(const KernelCall& call, std::int64_t begin, std::int64_t end) const {
  std::byte* at[most_registers];
  bool not_finite = false;
  const auto look = [&](const TapeInstruction& step, std::int64_t n) {
    if constexpr (watches) {
      const bool looks = call.watch == Watch::all ? !step.is_carried : step.is_result;
      if (looks && step.magnitude)
        not_finite |= std::isinf(step.magnitude(at[step.operands.out], n));
    }
  };
  for (std::size_t r = 0; r < registers.size(); ++r) at[r] = start_of(registers[r], call, begin);
  const auto size_of = [&](std::int32_t reg) {
    return registers[static_cast<std::size_t>(reg)].size;
  };
  for (const TapeLoad& l : numbers) take_number(l, size_of(l.reg), at[l.reg], call.in[l.input]);
  const auto load = [&](const TapeLoad& l, std::int64_t first, std::int64_t n) {
    with_elements(size_of(l.reg), at[l.reg], call.in[l.input],
                  [&](auto* to, const auto* from) { l.walk.load(to, from, first, n); });
  };
  NextChunk ahead(*this, call, at);
  const std::int64_t longest = std::min(chunk, end - begin);
  for (const TapeLoad& l : patterns) load(l, begin, longest);
  for (const TapeStart& start : starts) {
    run_instruction(start.instruction, at, start.elements);
    look(start.instruction, start.elements);
  }
  for (std::int64_t i = begin, n = 0; i < end; i += n) {
    n = chunk_at(i, end);
    for (const TapeLoad& l : loads) load(l, i, n);
    for (const std::int32_t r : counters) {
      auto* const numbers_of_elements = reinterpret_cast<std::int64_t*>(at[r]);
      std::iota(numbers_of_elements, numbers_of_elements + n, i);
    }
    const std::int64_t next = i + n < end ? chunk_at(i + n, end) : 0;
    if (fetches_ahead && next > 0) {
      ahead.enter(i + n, next);
      for (const TapeInstruction& step : code) {
        ahead.run(step, at, n);
        look(step, n);
      }
    } else {
      for (const TapeInstruction& step : code) {
        run_instruction(step, at, n);
        look(step, n);
      }
    }
    if (!call.is_trial) {
      for (const TapeStore& s : stores) {
        with_elements(size_of(s.reg), call.out[s.output], at[s.reg],
                      [&](auto* to, const auto* from) { s.walk.store(from, to, i, n); });
      }
    }
    for (const std::int32_t r : moving) {
      const TapeRegister& reg = registers[static_cast<std::size_t>(r)];
      if (call.is_trial && reg.kind == TapeRegister::Kind::output) continue;
      if (reg.rows < 0) at[r] += n * reg.size;
      else if (next > 0) at[r] = start_of(reg, call, i + n);
    }
  }
  if (not_finite) call.not_finite->store(true, std::memory_order_relaxed);
}

TapeLines::TapeLines(const TapeProgram& tape, std::byte* scratch) : tape_(tape) {
  check_internal(tape.rows.empty() && tape.loads.empty() && tape.patterns.empty() &&
                     tape.counters.empty() && tape.stores.empty(),
                 "a tape on lines has operands that do not lie there");
  for (std::size_t r = 0; r < tape.registers.size(); ++r) {
    const TapeRegister& reg = tape.registers[r];
    if (reg.kind == TapeRegister::Kind::slot) at_[r] = scratch + reg.offset;
    if (reg.kind == TapeRegister::Kind::constant) at_[r] = tape.constants.get() + reg.offset;
  }
}

void TapeLines::set_numbers(const std::byte* const* in) {
  for (const TapeLoad& l : tape_.numbers)
    take_number(l, tape_.registers[static_cast<std::size_t>(l.reg)].size, at_[l.reg], in[l.input]);
  for (const TapeStart& start : tape_.starts)
    run_instruction(start.instruction, at_, start.elements);
}

void TapeLines::run(const std::byte* const* in, std::byte* const* out, std::int64_t n) {
  for (const std::int32_t r : tape_.moving) {
    const TapeRegister& reg = tape_.registers[static_cast<std::size_t>(r)];
    at_[r] = reg.kind == TapeRegister::Kind::output ? out[reg.index]
                                                    : const_cast<std::byte*>(in[reg.index]);
  }
  for (const TapeInstruction& step : tape_.code) run_instruction(step, at_, n);
}

}  // namespace blockgrad
