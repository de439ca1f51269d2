// Map on the CPU: a tape of its scalar program, run chunk by chunk.
#include <memory>

#include "backends/cpu/families.h"
#include "backends/cpu/tape_program.h"
#include "blockgrad/graph/map.h"
#include "graph/parts.h"

namespace blockgrad {

namespace {

Kernel nothing_to_copy() {
  Kernel kernel;
  kernel.why = "made in place";
  kernel.run = [](const KernelCall&, std::int64_t, std::int64_t) {};
  return kernel;
}

}  // namespace

void add_map_kernels(KernelTable& table) {
  table.add<Map>([](const KernelRequest& request) {
    if (is_identity(*request.node.op.as<Map>()) &&
        is_copied_to_itself(request.inputs[0], request.outputs[0]))
      return nothing_to_copy();
    auto tape = std::make_shared<const TapeProgram>(make_tape(request));
    Kernel kernel;
    kernel.parts = tape->parts();
    kernel.scratch = tape->scratch();
    kernel.trial_scratch = tape->trial_scratch();
    kernel.can_watch = true;
    kernel.cost = tape->cost();
    kernel.why = join({tape->code.size(), " instructions in chunks of ", tape->chunk, ", ",
                       tape->scratch_bytes, " bytes of scratch"});
    kernel.run = [tape](const KernelCall& call, std::int64_t first, std::int64_t last) {
      tape->run(call, first, last);
    };
    return kernel;
  });
}

}  // namespace blockgrad
