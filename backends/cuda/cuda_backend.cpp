#include "backends/cuda/cuda_backend.h"

#include <algorithm>

#include "backends/cuda/cuda_executable.h"

namespace blockgrad {

namespace {

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(std::shared_ptr<CudaRuntime> runtime) : runtime_(std::move(runtime)) {}

  bool keeps(const Op& op) const override { return cuda_maker(op) != nullptr; }

  std::vector<std::string_view> passes_left_out(const CompileOptions& options) const override {
    if (!options.check_numerics) return {"share_panels"};
    // Only results of nodes are watched.
    return {"share_panels",     "fuse_rows",     "fuse_maps",       "share_functions",
            "group_reductions", "group_updates", "group_small_maps"};
  }

  bool updates_in_place(const CompileOptions& options) const override {
    return !options.check_numerics;
  }

  std::unique_ptr<Executable> make(const Graph& graph, const Plan& plan,
                                   const CompileOptions& options) const override {
    return std::make_unique<CudaExecutable>(graph, plan, options, runtime_);
  }

  std::int64_t scratch_bytes(const Graph& graph, const Plan& plan,
                             const CompileOptions& options) const override {
    return cuda_own_bytes(graph, plan, options,
                          cuda_works(graph, plan, cuda_target(*runtime_, options)));
  }

  bool has_memory(std::int64_t bytes) const override { return bytes <= runtime_->free_bytes(); }

 private:
  std::shared_ptr<CudaRuntime> runtime_;
};

}  // namespace

std::shared_ptr<const Backend> cuda_backend(std::shared_ptr<CudaRuntime> runtime) {
  return std::make_shared<CudaBackend>(std::move(runtime));
}

}  // namespace blockgrad
