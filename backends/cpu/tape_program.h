#pragma once
// A scalar program made ready for the CPU: registers with a home, instructions with a kernel.
// Elements are independent, so chunks, parts and threads do not change a bit.

#include <cstdint>
#include <memory>
#include <vector>

#include "backends/cpu/tape.h"
#include "backends/cpu/walk.h"
#include "backends/kernel.h"

namespace blockgrad {

/// Where a value of the program lives while a chunk is worked on.
struct TapeRegister {
  enum class Kind : std::uint8_t { slot, input, output, constant } kind = Kind::slot;
  std::int32_t index = 0;   // of the slot, operand or constant
  std::int32_t size = 4;    // bytes per element
  std::int64_t offset = 0;  // of an input's first element, in elements
};

struct TapeInstruction {
  TapeFn run = nullptr;  // null: copy a to out
  std::int32_t out = 0, a = 0, b = 0, c = 0;
  MagnitudeFn magnitude = nullptr;  // of `out`; null where it is not floating
  bool is_result = false;
  bool is_carried = false;  // if `out` is not finite, a later value is not either
};

/// A strided or repeated operand that is copied to a slot.
struct TapeLoad {
  std::int32_t input = 0;
  std::int32_t reg = 0;
  Walk walk;
  bool is_scalar = false;  // one value for the whole tensor: copied once per part
};

struct TapeProgram {
  std::int64_t elements = 0, chunk = 0;
  std::int64_t slot_bytes = 0;
  std::int32_t slots = 0, results = 0;
  std::vector<TapeRegister> registers;
  std::vector<std::int32_t> moving;  // registers that advance with the elements
  std::vector<TapeLoad> loads;
  std::vector<std::int32_t> counters;  // registers that hold the number of each element, i64
  std::vector<TapeInstruction> code;
  std::shared_ptr<std::byte> constants;  // each spread over a chunk, slot_bytes apart

  std::int64_t parts() const;
  std::size_t scratch() const { return static_cast<std::size_t>(slots * slot_bytes); }
  std::size_t trial_scratch() const { return static_cast<std::size_t>(results * slot_bytes); }
  /// Elements of parts first .. last-1. Allocates nothing.
  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const;

 private:
  template <bool watches>
  void run_chunks(const KernelCall& call, std::int64_t begin, std::int64_t end) const;
};

/// Results go straight to memory; temporaries, repeated and strided operands get slots.
TapeProgram make_tape(const KernelRequest& request);

}  // namespace blockgrad
