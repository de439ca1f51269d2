#include "blockgrad/backends/tune.h"

#include "backends/program_state.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

TuneReport Backend::tune_products(const Graph&, const Plan&, const CompileOptions&,
                                  const TuneOptions&) const {
  throw Error("products are tuned on cuda; this device chooses its kernels by counts alone");
}

TuneReport tune_products(std::span<const Output> outputs, const Updates& updates,
                         const Device& device, const TuneOptions& tune,
                         const CompileOptions& options) {
  std::vector<Expr> exprs;
  for (const Output& output : outputs) {
    require(static_cast<bool>(output.expr()), "tune_products: output ", exprs.size(), " is empty");
    exprs.push_back(output.expr());
  }
  const Backend& backend = backend_of(device);
  std::vector<PassRecord> records;
  // A formula behind a product is not part of its contest.
  CompileOptions apart = options;
  apart.skip.emplace_back("fuse_epilogues");
  const Graph graph = compiled_graph(exprs, updates, device, apart, records);
  const Plan plan = make_plan(graph, options.reuse_memory, backend.updates_in_place(options));
  return backend.tune_products(graph, plan, options, tune);
}

}  // namespace blockgrad
