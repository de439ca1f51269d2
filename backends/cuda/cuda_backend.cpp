#include "backends/cuda/cuda_backend.h"

#include <algorithm>
#include <chrono>

#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/products/tune_products.h"

namespace blockgrad {

namespace {

double machine_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(std::shared_ptr<CudaRuntime> runtime, TuneClock now)
      : runtime_(std::move(runtime)), now_(std::move(now)) {}

  bool keeps(const Op& op) const override { return cuda_maker(op) != nullptr; }

  bool reads_halves(const Op&) const override { return true; }

  std::vector<std::string_view> passes_left_out(const CompileOptions& options) const override {
    // A Map is made again for less work than the product in front of it.
    if (!options.check_numerics && options.memory_limit > 0)
      return {"share_panels",   "fuse_product_updates", "fuse_row_updates",
              "fuse_line_sums", "fuse_takes",           "fuse_epilogues"};
    if (!options.check_numerics)
      return {"share_panels", "fuse_product_updates", "fuse_row_updates", "fuse_line_sums",
              "fuse_takes"};
    // Only results of nodes are watched.
    return {"share_panels",    "fuse_rows",        "fuse_maps",
            "share_functions", "group_reductions", "fuse_product_updates",
            "group_updates",   "fuse_row_updates", "fuse_line_sums",
            "fuse_takes",      "fuse_epilogues",   "group_small_maps"};
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

  TuneReport tune_products(const Graph& graph, const Plan& plan, const CompileOptions& options,
                           const TuneOptions& tune) const override {
    const CudaTarget target = cuda_target(*runtime_, options);
    if (target.libraries.products == nullptr)
      return Backend::tune_products(graph, plan, options, tune);
    return tune_cuda_products(graph, plan, target, *runtime_, *target.libraries.products, tune,
                              now_ ? now_ : machine_seconds);
  }

  bool has_memory(std::int64_t bytes) const override { return bytes <= runtime_->free_bytes(); }

 private:
  std::shared_ptr<CudaRuntime> runtime_;
  TuneClock now_;
};

}  // namespace

std::shared_ptr<const Backend> cuda_backend(std::shared_ptr<CudaRuntime> runtime,
                                            std::function<double()> now) {
  return std::make_shared<CudaBackend>(std::move(runtime), std::move(now));
}

}  // namespace blockgrad
