#pragma once
// What compile asks of a device: which ops it has kernels for, and an executable for a plan.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/executable.h"
#include "backends/product_space.h"
#include "blockgrad/backends/tune.h"
#include "graph/passes/passes.h"

namespace blockgrad {

class Backend {
 public:
  virtual ~Backend() = default;
  /// Whether there is a kernel for the op; one without is replaced by its `expand`.
  virtual bool keeps(const Op& op) const = 0;
  /// Whether its kernel for this product or Reduce reads bf16 and f16, and a product's rounds to
  /// them. Others are widened to f32 around it; see backends/products.h.
  virtual bool reads_halves(const Op&) const { return false; }
  /// Products on whose elements it runs the Map behind them.
  virtual ProductFormulas product_formulas() const { return {product_space}; }
  /// Passes that are not for it, as those whose nodes it has no kernels for.
  virtual std::vector<std::string_view> passes_left_out(const CompileOptions&) const = 0;
  /// Throws Error naming a node that it has no kernel for, DeviceError if memory does not do.
  virtual std::unique_ptr<Executable> make(const Graph& graph, const Plan& plan,
                                           const CompileOptions& options) const = 0;
  /// Whether updates may write storage where it lies, and results over inputs.
  virtual bool updates_in_place(const CompileOptions&) const { return true; }
  /// What `make` takes beside arena and storage, without taking it.
  virtual std::int64_t scratch_bytes(const Graph& graph, const Plan& plan,
                                     const CompileOptions& options) const = 0;
  /// See the public tune_products. Throws Error where there is nothing to tune.
  virtual TuneReport tune_products(const Graph& graph, const Plan& plan,
                                   const CompileOptions& options, const TuneOptions& tune) const;
  /// Whether an executable could have so many bytes now.
  virtual bool has_memory(std::int64_t bytes) const = 0;
};

/// That of cpu().
std::shared_ptr<const Backend> cpu_backend();

/// A device under this name.
Device make_device(std::string name, std::shared_ptr<const Backend> backend);
const Backend& backend_of(const Device& device);

}  // namespace blockgrad
