#include "backends/cuda/rows/cuda_rows.h"

#include "backends/cuda/rows/line_launches.h"
#include "blockgrad/graph/reduce.h"

namespace blockgrad {

namespace {

CudaWork work_of(const CudaRequest& request, CudaLines lines, const RowProgram& program) {
  CudaWork made;
  made.why =
      add_lines(made, {std::move(lines), program, request.inputs, request.outputs}, request.inputs);
  return made;
}

}  // namespace

RowStep reduction_of(ReduceKind kind, RowValue of) {
  RowStep step;
  step.reduce = kind;
  step.by_line = true;
  step.inputs = {of};
  return step;
}

CudaWork row_kernel(const CudaRequest& request) {
  const RowProgram& program = *request.node.op.as<RowProgram>();
  return work_of(request, CudaLines(program.space), program);
}

CudaWork reduce_kernel(const CudaRequest& request) {
  const Reduce& reduce = *request.node.op.as<Reduce>();
  RowProgram program;
  program.steps = {reduction_of(reduce.kind, {-1, 0})};
  program.results = {{{0, 0}, request.outputs[0].layout.shape}};
  return work_of(request, {reduce, request.inputs[0].layout.shape}, program);
}

}  // namespace blockgrad
