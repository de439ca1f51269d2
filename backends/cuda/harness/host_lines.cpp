#include "backends/cuda/harness/host_lines.h"

#include <utility>

#include "blockgrad/graph/error.h"

namespace blockgrad::harness {

void HostLines::give(CudaLine line, std::function<void()> call) {
  if (line == CudaLine::work && are_idle()) return call();
  of(line).calls.push_back({std::move(call)});
  ++of(line).given;
  do_some();
}

void HostLines::hold(CudaLine line, CudaLine other, std::int64_t calls) {
  if (of(other).done >= calls) return;
  of(line).calls.push_back({[] {}, other, calls});
  ++of(line).given;
}

bool HostLines::can_go_on(CudaLine line) const {
  const Line& it = of(line);
  return !it.calls.empty() && of(it.calls.front().other).done >= it.calls.front().after;
}

void HostLines::do_next(CudaLine line) {
  Line& it = of(line);
  const Call call = std::move(it.calls.front());
  it.calls.pop_front();
  try {
    call.run();
  } catch (...) {
    for (Line& each : lines_) {
      each.calls.clear();
      each.done = each.given;
    }
    throw;
  }
  ++it.done;
}

void HostLines::do_some() {
  for (auto left = random_() % 4; left > 0; --left) {
    const auto line = static_cast<CudaLine>(random_() % 2);
    if (can_go_on(line)) do_next(line);
  }
}

void HostLines::finish(CudaLine line, std::int64_t calls) {
  while (of(line).done < calls) {
    const auto other = static_cast<CudaLine>(random_() % 2);
    if (can_go_on(other)) do_next(other);
    else
      check_internal(can_go_on(CudaLine::work) || can_go_on(CudaLine::ahead),
                     "calls wait for each other");
  }
}

void HostLines::finish() {
  finish(CudaLine::work, of(CudaLine::work).given);
  finish(CudaLine::ahead, of(CudaLine::ahead).given);
}

}  // namespace blockgrad::harness
