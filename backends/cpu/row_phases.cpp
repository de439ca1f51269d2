#include "backends/cpu/row_phases.h"

#include <algorithm>

namespace blockgrad {

namespace {

using Kind = RowInstruction::Kind;

const RowInstruction& code(const RowTape& tape, std::int32_t i) {
  return tape.code[static_cast<std::size_t>(i)];
}
const RowRegister& reg(const RowTape& tape, std::int32_t r) {
  return tape.registers[static_cast<std::size_t>(r)];
}
RowSlot::Length slot_length(const RowTape& tape, std::int32_t r) {
  return tape.slots[static_cast<std::size_t>(reg(tape, r).index)].length;
}

bool reads(const RowTape& tape, const RowPhase& phase, std::int32_t r) {
  const auto begin = tape.code.begin();
  return std::any_of(begin + phase.first, begin + phase.last, [&](const RowInstruction& step) {
    return std::find(step.registers + 1, step.registers + 5, r) != step.registers + 5;
  });
}

bool writes(const RowTape& tape, const RowPhase& phase, std::int32_t r) {
  const auto begin = tape.code.begin();
  return std::any_of(begin + phase.first, begin + phase.last,
                     [&](const RowInstruction& step) { return step.registers[0] == r; });
}

bool advances(const RowTape& tape, std::int32_t r) {
  const RowRegister& it = reg(tape, r);
  if (it.by_line || it.kind == RowRegister::Kind::constant) return false;
  return it.kind != RowRegister::Kind::slot || slot_length(tape, r) != RowSlot::Length::chunk;
}

// One per line, or all elements of one, and so taken before its first pass.
bool is_whole(const RowTape& tape, std::int32_t r) {
  return reg(tape, r).by_line || slot_length(tape, r) == RowSlot::Length::elements;
}

// Memory that is only reduced is read faster without: the processor sees where that goes.
bool is_fetched(const RowTape& tape, const RowPhase& phase, std::int32_t r) {
  switch (reg(tape, r).kind) {
    case RowRegister::Kind::input: return phase.maps > phase.first && reads(tape, phase, r);
    case RowRegister::Kind::output: return writes(tape, phase, r);
    default: return false;
  }
}

}  // namespace

void find_phases(RowTape& tape) {
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(tape.code.size()); ++i) {
    const Kind kind = code(tape, i).kind;
    const bool is_reduce = tape.goes_in_passes && kind == Kind::reduce;
    const bool is_map = (kind == Kind::map || kind == Kind::copy) && !code(tape, i).by_line;
    const bool begins_pass =
        tape.goes_in_passes && i > 0 && code(tape, i - 1).kind == Kind::reduce && !is_reduce;
    const bool goes_on = !tape.phases.empty() && tape.phases.back().is_chunked && !begins_pass;
    if ((is_map || is_reduce) && goes_on) ++tape.phases.back().last;
    else tape.phases.push_back({i, i + 1, is_map || is_reduce});
  }
}

void find_chunks(RowTape& tape) {
  for (std::int32_t r = 0; r < static_cast<std::int32_t>(tape.registers.size()); ++r) {
    if (advances(tape, r)) tape.advancing.push_back(r);
  }
  for (RowPhase& phase : tape.phases) {
    if (!phase.is_chunked) continue;
    phase.maps = phase.first;
    while (phase.maps < phase.last && code(tape, phase.maps).kind != Kind::reduce) ++phase.maps;
    for (std::int32_t i = phase.maps; i < phase.last; ++i) {
      if (code(tape, i).is_together) phase.together.push_back(i);
    }
    for (const RowLoad& load : tape.loads) {
      if (!is_whole(tape, load.reg) && reads(tape, phase, load.reg)) phase.loads.push_back(load);
    }
    for (const std::int32_t r : tape.counters) {
      if (!is_whole(tape, r) && reads(tape, phase, r)) phase.counters.push_back(r);
    }
    for (const std::int32_t r : tape.advancing) {
      if (is_fetched(tape, phase, r)) phase.fetched.push_back(r);
    }
  }
  std::erase_if(tape.loads, [&](const RowLoad& load) { return !is_whole(tape, load.reg); });
  std::erase_if(tape.counters, [&](std::int32_t r) { return !is_whole(tape, r); });
}

}  // namespace blockgrad
