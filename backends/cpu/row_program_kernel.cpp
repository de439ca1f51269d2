// Row programs on the CPU.
#include <algorithm>
#include <memory>

#include "backends/cpu/families.h"
#include "backends/cpu/row_tape.h"

namespace blockgrad {

void add_row_program_kernels(KernelTable& table) {
  table.add<RowProgram>([](const KernelRequest& request) {
    auto tape = std::make_shared<const RowTape>(make_row_tape(request));
    Kernel kernel;
    kernel.parts = std::max<std::int64_t>(1, tape->parts());
    kernel.scratch = static_cast<std::size_t>(tape->scratch);
    kernel.can_watch = true;
    double each = 0;
    for (const RowInstruction& step : tape->code)
      each += step.by_line && step.kind != RowInstruction::Kind::reduce ? 0 : 0.15;
    kernel.cost = 20 + each * static_cast<double>(tape->space.elements()) +
                  5 * static_cast<double>(tape->space.lines());
    kernel.why = join({tape->space.lines(), " lines of ", tape->space.length(), ", ",
                       tape->outers * tape->columns, " at a time, ", tape->code.size(),
                       " instructions, ", tape->slots.size(), " slots"});
    kernel.run = [tape](const KernelCall& call, std::int64_t first, std::int64_t last) {
      tape->run(call, first, last);
    };
    return kernel;
  });
}

}  // namespace blockgrad
