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

// Where a line is one stretch of memory that is only reduced, the processor sees where that goes.
void find_streams(const RowTape& tape, RowPhase& phase) {
  const bool is_foreseen = phase.maps == phase.first && tape.space.inner == 1;
  for (const std::int32_t r : tape.advancing) {
    const RowRegister& it = reg(tape, r);
    if (it.kind == RowRegister::Kind::input && !is_foreseen && reads(tape, phase, r))
      phase.fetched.push_back({it.index, false, it.repeats, it.size, it.offset});
    if (it.kind == RowRegister::Kind::output && writes(tape, phase, r))
      phase.fetched.push_back({it.index, true, false, it.size, 0});
  }
  for (const RowLoad& load : phase.loads) {
    if (load.walk.is_contiguous())
      phase.fetched.push_back(
          {load.input, false, false, reg(tape, load.reg).size, load.walk.offset});
  }
  for (const RowStore& it : phase.stores)
    phase.fetched.push_back({it.result, true, false, reg(tape, it.reg).size, 0});
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
  std::vector<char> is_taken(tape.registers.size(), 0);  // for the whole line
  for (RowPhase& phase : tape.phases) {
    if (!phase.is_chunked) continue;
    phase.maps = phase.first;
    while (phase.maps < phase.last && code(tape, phase.maps).kind != Kind::reduce) ++phase.maps;
    for (std::int32_t i = phase.maps; i < phase.last; ++i) {
      if (code(tape, i).is_together) phase.together.push_back(i);
    }
    for (const RowLoad& load : tape.loads) {
      char& taken = is_taken[static_cast<std::size_t>(load.reg)];
      if (taken || reg(tape, load.reg).by_line || !reads(tape, phase, load.reg)) continue;
      phase.loads.push_back(load);
      taken = slot_length(tape, load.reg) == RowSlot::Length::elements;
    }
    for (const std::int32_t r : tape.counters) {
      if (!reg(tape, r).by_line && reads(tape, phase, r)) phase.counters.push_back(r);
    }
    find_streams(tape, phase);
  }
  std::erase_if(tape.loads, [&](const RowLoad& load) { return !reg(tape, load.reg).by_line; });
  std::erase_if(tape.counters, [&](std::int32_t r) { return !reg(tape, r).by_line; });
}

}  // namespace blockgrad
