#include "backends/cuda/cuda_executable.h"

#include <fmt/format.h>

namespace blockgrad {

namespace {

CudaWork work_of(const Graph& graph, const PlanStep& step, bool is_update,
                 const CudaTarget& target) {
  const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
  const CudaMaker maker = cuda_maker(node.op);
  if (maker == nullptr)
    fail({graph.describe(step.node),
          ": CUDA has no kernel for this op, and it has no expand; "
          "cuda_kernels().add gives it one"});
  CudaWork work = maker({node, step.inputs, step.outputs, is_update, target});
  for (const CudaLaunch& launch : work.launches) {
    if (launch.shared_bytes > target.limits.shared_bytes) {
      throw DeviceError(
          fmt::format("{}: its kernel takes {} bytes of shared memory for a block, this GPU has {}",
                      graph.describe(step.node), launch.shared_bytes, target.limits.shared_bytes));
    }
    check_internal(launch.threads >= 1 && launch.threads <= 1024, graph.describe(step.node), ": ",
                   launch.threads, " threads of a block");
  }
  return work;
}

}  // namespace

std::vector<CudaWork> cuda_works(const Graph& graph, const Plan& plan, const CudaTarget& target) {
  std::vector<CudaWork> works;
  for (const PlanStep& step : plan.steps) works.push_back(work_of(graph, step, false, target));
  for (const PlanStep& step : plan.updates) works.push_back(work_of(graph, step, true, target));
  return works;
}

}  // namespace blockgrad
