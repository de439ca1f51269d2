#include "backends/cpu/row_slots.h"

namespace blockgrad {

namespace {

std::int64_t count_of(const RowTape& tape, RowSlot::Length length) {
  switch (length) {
    case RowSlot::Length::elements: return tape.block_elements();
    case RowSlot::Length::lines: return tape.outers * tape.columns;
    case RowSlot::Length::chunk: return tape.chunk;
    case RowSlot::Length::group: return RowTape::group * tape.chunk;
    case RowSlot::Length::levels: return RowTape::most_levels;
  }
  return 0;
}

}  // namespace

// Neighbours start at different places of a page, else their loads and stores look alike.
void lay_out_slots(RowTape& tape) {
  for (RowSlot& slot : tape.slots) {
    slot.offset = tape.scratch;
    tape.scratch += (count_of(tape, slot.length) * slot.size + 63) / 64 * 64 + 64;
  }
}

}  // namespace blockgrad
