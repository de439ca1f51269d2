#include "backends/cpu/small_calls.h"

#include "backends/cpu/small_sequence.h"

namespace blockgrad {

void SmallCalls::join(const SmallTable& table) {
  run_ = table.run;
  SmallCall end;
  end.op = SmallOp::end;
  end.code = table.find_code(end);
  const void* made = nullptr;  // by the call before, of elements of this size
  std::uint8_t size = 0;
  position_.resize(calls_.size());
  std::size_t in_row = 0;
  for (const std::size_t i : sequence_of(calls_)) {
    if (in_row++ == most_in_row) {
      rows_.push_back(end);
      made = nullptr;
      in_row = 1;
    }
    SmallCall call = calls_[i];
    if (call.op != SmallOp::function && made && call.size == size) {
      if (call.a == made && call.from_a == SmallFrom::memory) call.from_a = SmallFrom::last;
      if (call.b == made && call.from_b == SmallFrom::memory) call.from_b = SmallFrom::last;
      if (call.c == made && call.from_c == SmallFrom::memory) call.from_c = SmallFrom::last;
    }
    call.code = table.find_code(call);
    position_[i] = rows_.size();
    rows_.push_back(call);
    if (call.op == SmallOp::store) {
      if (call.out == made) made = nullptr;
      continue;
    }
    made = call.op == SmallOp::function ? nullptr : call.out;
    size = call.size;
  }
  if (!calls_.empty()) rows_.push_back(end);
}

}  // namespace blockgrad
