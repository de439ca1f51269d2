// MapGroup on the CPU: the sets one behind the other, cut into parts of equally many elements.
#include <algorithm>

#include "backends/cpu/families.h"
#include "backends/cpu/tape_program.h"
#include "graph/map_group.h"

namespace blockgrad {

namespace {

constexpr std::int64_t part_elements = 16384;

struct Piece {
  std::size_t set;
  std::int64_t begin, end;
};

struct Sets {
  std::vector<TapeProgram> tapes;
  std::vector<Piece> pieces;
  std::vector<std::size_t> parts{0};  // where the pieces of each part begin, and end
  std::size_t inputs = 0, results = 0;

  void cut() {
    std::int64_t left = part_elements;
    for (std::size_t s = 0; s < tapes.size(); ++s) {
      for (std::int64_t begin = 0; begin < tapes[s].elements;) {
        const std::int64_t end = std::min(tapes[s].elements, begin + left);
        pieces.push_back({s, begin, end});
        left -= end - begin;
        begin = end;
        if (left > 0) continue;
        parts.push_back(pieces.size());
        left = part_elements;
      }
    }
    if (parts.back() < pieces.size()) parts.push_back(pieces.size());
  }

  void run(const KernelCall& call, std::int64_t first, std::int64_t last) const {
    const std::size_t end = parts[static_cast<std::size_t>(last)];
    for (std::size_t p = parts[static_cast<std::size_t>(first)]; p < end;) {
      const Piece& piece = pieces[p];
      std::int64_t up_to = piece.end;
      while (++p < end && pieces[p].set == piece.set) up_to = pieces[p].end;
      KernelCall own = call;
      own.in += piece.set * inputs;
      own.out += piece.set * results;
      tapes[piece.set].run_elements(own, piece.begin, up_to);
    }
  }
};

Kernel group_kernel(const KernelRequest& request) {
  const ScalarFn& fn = request.node.op.as<MapGroup>()->fn;
  auto sets = std::make_shared<Sets>();
  sets->inputs = fn.inputs().size();
  sets->results = fn.results().size();
  Kernel kernel;
  std::int64_t elements = 0;
  for (std::size_t s = 0; s * sets->inputs < request.inputs.size(); ++s) {
    const auto outputs = request.outputs.subspan(s * sets->results, sets->results);
    const GraphNode map{Map{fn}, {}, {{outputs[0].dtype, outputs[0].layout.shape}}, {}};
    sets->tapes.push_back(make_tape(
        {map, request.inputs.subspan(s * sets->inputs, sets->inputs), outputs, request.isa}));
    const TapeProgram& tape = sets->tapes.back();
    elements += tape.elements;
    kernel.scratch = std::max(kernel.scratch, tape.scratch());
    kernel.trial_scratch = std::max(kernel.trial_scratch, tape.trial_scratch());
    kernel.cost += 20 + 0.15 * static_cast<double>(tape.elements) *
                            static_cast<double>(tape.code.size() + tape.loads.size());
  }
  sets->cut();
  kernel.parts = static_cast<std::int64_t>(sets->parts.size()) - 1;
  kernel.can_watch = true;
  kernel.why = join({elements, " elements of ", sets->tapes.size(), " sets, ",
                     sets->tapes[0].code.size(), " instructions"});
  kernel.run = [sets = std::shared_ptr<const Sets>(sets)](const KernelCall& call,
                                                          std::int64_t first, std::int64_t last) {
    sets->run(call, first, last);
  };
  return kernel;
}

}  // namespace

void add_map_group_kernels(KernelTable& table) { table.add<MapGroup>(group_kernel); }

}  // namespace blockgrad
