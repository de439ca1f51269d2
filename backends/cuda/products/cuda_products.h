#pragma once
// Who multiplies: our own kernels, or cuBLASLt where a table of measurements says it is faster.
// Nothing is opened before a product asks for it; what is missing leaves our own kernels.

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "backends/cuda/products/lt_product.h"
#include "backends/cuda/products/product_table.h"

namespace blockgrad {

/// What a product becomes.
struct ProductChoice {
  std::shared_ptr<const CudaLibraryCall> call = nullptr;  // see lt_call; null: an own kernel
  std::int64_t workspace = 0;                             // bytes, of the call
  int cut_for = 0;                                        // processors, of an own kernel; 0: all
  std::string why = {};
};

/// Of one device. Several threads may use it.
class CudaProducts {
 public:
  struct Source {
    std::string device;  // "NVIDIA H200"
    int processors = 0;
    std::string table = {};                    // a file that may be missing; empty: none
    std::function<CublasLt()> open = nullptr;  // throws DeviceError where there is none
  };
  explicit CudaProducts(Source source) : source_(std::move(source)) {}
  virtual ~CudaProducts() = default;
  CudaProducts(const CudaProducts&) = delete;
  CudaProducts& operator=(const CudaProducts&) = delete;

  /// The table's entry for it, if the library can be had in the entry's version. Without an entry
  /// our own kernel, but for large products of halves, or of f32 as TF32, cuBLASLt's first
  /// heuristic: kernels of mma.sync reach about 60 % of what wgmma does on compute capability 9.0,
  /// as published, and no time of ours has been measured.
  virtual ProductChoice choose(const CudaProduct& product, const LtFit& fit) const;

  ProductKey key(const CudaProduct& product, const LtProblem& problem) const;
  /// Opened by the first call that can. Throws DeviceError that says why it cannot be used.
  std::shared_ptr<const LtHandle> library() const;
  /// What ships with the project, and over it what the file holds.
  std::shared_ptr<const ProductTable> table() const;
  /// From now on; programs that were compiled before keep what they have.
  void set_table(ProductTable table) const;
  /// Where it is kept; empty: nowhere.
  const std::string& table_path() const { return source_.table; }

 private:
  ProductChoice by_library(const LtProblem& problem, const ProductEntry& entry) const;
  ProductChoice by_heuristic(const LtProblem& problem) const;

  Source source_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const LtHandle> library_;
  mutable std::shared_ptr<const ProductTable> table_;
  mutable std::string why_no_table_;
};

/// The most that a product's workspace may take: what cuBLAS takes for itself on this chip.
inline constexpr std::int64_t most_product_workspace = std::int64_t{32} << 20;

/// Where products of this process's device are decided.
CudaProducts::Source cuda_product_source(std::string device, int processors);

/// 130100 of 13.1.0.
int version_number(const CublasLt& lt);
/// "cuBLASLt 13.1.0".
std::string version_text(const CublasLt& lt);

/// The table that ships with the project; empty where none was measured.
std::string_view shipped_product_table();

}  // namespace blockgrad
