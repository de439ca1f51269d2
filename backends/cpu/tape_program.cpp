#include "backends/cpu/tape_program.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "blockgrad/graph/scalar.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_size = 16384;  // elements; what one thread takes at a time
constexpr std::size_t most_registers = 2 * ScalarFn::max_size + 16;

std::byte* start_of(const TapeProgram& tape, const TapeRegister& reg, const KernelCall& call,
                    std::int64_t begin) {
  switch (reg.kind) {
    case TapeRegister::Kind::slot: return call.scratch + reg.index * tape.slot_bytes;
    case TapeRegister::Kind::constant: return tape.constants.get() + reg.index * tape.slot_bytes;
    case TapeRegister::Kind::input:
      return const_cast<std::byte*>(call.in[reg.index]) + (begin + reg.offset) * reg.size;
    case TapeRegister::Kind::output:
      if (call.is_trial) return call.scratch + (tape.slots + reg.index) * tape.slot_bytes;
      return call.out[reg.index] + begin * reg.size;
  }
  return nullptr;
}

template <class T>
void load(const Walk& walk, std::byte* out, const std::byte* in, std::int64_t first,
          std::int64_t n) {
  walk.load(reinterpret_cast<T*>(out), reinterpret_cast<const T*>(in), first, n);
}

void load(const TapeLoad& l, std::int32_t size, std::byte* out, const std::byte* in,
          std::int64_t first, std::int64_t n) {
  switch (size) {
    case 1: return load<std::uint8_t>(l.walk, out, in, first, n);
    case 2: return load<std::uint16_t>(l.walk, out, in, first, n);
    case 4: return load<std::uint32_t>(l.walk, out, in, first, n);
    default: return load<std::uint64_t>(l.walk, out, in, first, n);
  }
}

}  // namespace

std::int64_t TapeProgram::parts() const {
  return std::max<std::int64_t>(1, (elements + part_size - 1) / part_size);
}

void TapeProgram::run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
  const std::int64_t begin = first * part_size;
  const std::int64_t end = std::min(elements, last * part_size);
  if (call.watch == Watch::nothing) run_chunks<false>(call, begin, end);
  else run_chunks<true>(call, begin, end);
}

template <bool watches>
void TapeProgram::run_chunks(const KernelCall& call, std::int64_t begin, std::int64_t end) const {
  std::byte* at[most_registers];
  bool not_finite = false;
  for (std::size_t r = 0; r < registers.size(); ++r)
    at[r] = start_of(*this, registers[r], call, begin);
  std::int64_t spread = 0;  // elements of the scalar slots that are set
  for (std::int64_t i = begin; i < end; i += chunk) {
    const std::int64_t n = std::min(chunk, end - i);
    for (const TapeLoad& l : loads) {
      if (!l.is_scalar || spread < n) {
        load(l, registers[static_cast<std::size_t>(l.reg)].size, at[l.reg], call.in[l.input], i, n);
      }
    }
    spread = std::max(spread, n);
    for (const std::int32_t r : counters) {
      std::iota(reinterpret_cast<std::int64_t*>(at[r]), reinterpret_cast<std::int64_t*>(at[r]) + n,
                i);
    }
    for (const TapeInstruction& step : code) {
      if (step.run) step.run(at[step.out], at[step.a], at[step.b], at[step.c], n);
      else
        std::memcpy(at[step.out], at[step.a],
                    static_cast<std::size_t>(n * registers[static_cast<std::size_t>(step.a)].size));
      if constexpr (watches) {
        const bool looks = call.watch == Watch::all ? !step.is_carried : step.is_result;
        if (looks && step.magnitude) not_finite |= std::isinf(step.magnitude(at[step.out], n));
      }
    }
    for (const std::int32_t r : moving) {
      const TapeRegister& reg = registers[static_cast<std::size_t>(r)];
      if (call.is_trial && reg.kind == TapeRegister::Kind::output) continue;
      at[r] += n * reg.size;
    }
  }
  if (not_finite) call.not_finite->store(true, std::memory_order_relaxed);
}

}  // namespace blockgrad
