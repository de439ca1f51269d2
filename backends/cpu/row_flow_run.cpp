// One run of a flow of a row program: its operands where four chunks have them.
#include "backends/cpu/row_flows.h"

namespace blockgrad {

namespace {

class FlowRun {
 public:
  FlowRun(const RowTape& tape, const RowFlow& flow, const KernelCall& call,
          const RowFlowChunks& chunks)
      : tape_(tape),
        flow_(flow),
        call_(call),
        chunks_(chunks),
        column_(FlowTable::column(flow.dtype)),
        size_(static_cast<std::int64_t>(size_of(flow.dtype))) {}

  void run(void* made) {
    const FlowTable& table = *tape_.flows;
    const RowSpace& space = tape_.space;
    const FlowSpace pieces = tape_.is_in_pieces() ? FlowSpace{space.tail, space.inner * space.tail}
                                                  : FlowSpace{FlowTable::length, chunks_.apart};
    for (std::size_t s = 0; s < flow_.steps.size(); ++s) set(s);
    const auto count = static_cast<std::int32_t>(flow_.sums.size());
    for (std::int32_t s = 0; s < count; ++s) table.begin_sum[column_](lanes(s));
    table.run[column_](steps_, pieces, flow_.fetches);
    auto* const sums = static_cast<std::byte*>(made);
    for (std::int32_t s = 0; s < count; ++s)
      table.end_sum[column_](sums + s * FlowTable::stretches * size_, lanes(s));
  }

 private:
  static constexpr std::int64_t most_value_bytes = 8 * 64;
  static constexpr std::int64_t lane_bytes =
      FlowTable::stretches * FlowTable::lanes * static_cast<std::int64_t>(sizeof(double));

  std::byte* lanes(std::int32_t sum) { return lanes_ + sum * lane_bytes; }

  void set(std::size_t s) {
    const RowFlowStep& step = flow_.steps[s];
    steps_[s].run = step.run;
    for (std::size_t k = 0; k < step.on.size(); ++k) {
      const RowFlowOperand& it = step.on[k];
      FlowOperand& on = steps_[s].on[k];
      on.move = it.move;
      on.base = start_of(it);
      on.stride = 0;
      if (it.place == RowFlowOperand::Place::local) {
        on.stride = tape_.flows->value_bytes / FlowTable::stretches;
      } else if (it.move == FlowMove::in_line) {
        on.base += chunks_.in_line * size_;
        on.stride = FlowTable::length * size_;
      } else if (it.move == FlowMove::in_memory) {
        on.base += (step.is_ahead ? chunks_.next : chunks_.in_memory) * size_;
        on.stride = chunks_.apart * size_;
      }
    }
  }

  std::byte* start_of(const RowFlowOperand& it) {
    using Place = RowFlowOperand::Place;
    switch (it.place) {
      case Place::input: return const_cast<std::byte*>(call_.in[it.index]) + it.offset;
      case Place::output: return call_.out[it.index] + it.offset;
      case Place::slot:
        return call_.scratch + tape_.slots[static_cast<std::size_t>(it.index)].offset;
      case Place::constant: return tape_.constants.get() + it.index * tape_.constant_bytes;
      case Place::local: return locals_ + it.index * most_value_bytes;
      case Place::lanes: return lanes(it.index);
    }
    return nullptr;
  }

  const RowTape& tape_;
  const RowFlow& flow_;
  const KernelCall& call_;
  const RowFlowChunks& chunks_;
  const int column_;
  const std::int64_t size_;
  FlowStep steps_[RowFlow::most_steps];
  alignas(64) std::byte locals_[RowFlow::most_locals * most_value_bytes];
  alignas(64) std::byte lanes_[RowTape::most_together * static_cast<std::size_t>(lane_bytes)];
};

}  // namespace

void run_flow(const RowTape& tape, const RowFlow& flow, const KernelCall& call,
              const RowFlowChunks& chunks, void* made) {
  FlowRun(tape, flow, call, chunks).run(made);
}

}  // namespace blockgrad
