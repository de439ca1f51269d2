#include "backends/cuda/products/cuda_products.h"

#include <fmt/format.h>

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

/// Large enough that the rate counts, not the launch: 1024 cubed multiplications.
bool is_large(const CudaProduct& product) {
  return static_cast<double>(product.m) * static_cast<double>(product.n) *
             static_cast<double>(product.k) * static_cast<double>(product.batch) >=
         1024.0 * 1024 * 1024;
}

bool wants_tensor_cores(const LtProblem& problem) {
  return problem.type == lt::Type::bf16 || problem.type == lt::Type::f16 ||
         problem.compute == lt::Compute::f32_as_tf32;
}

ProductChoice own(std::string why) { return {.why = "own kernel: " + std::move(why)}; }

std::string times(const ProductEntry& entry) {
  return fmt::format("measured {:.1f} us, spread {:.1f}",
                     1e-3 * static_cast<double>(entry.nanoseconds),
                     1e-3 * static_cast<double>(entry.spread));
}

}  // namespace

int version_number(const CublasLt& lt) { return lt.major * 10000 + lt.minor * 100 + lt.patch; }

std::string version_text(const CublasLt& lt) {
  return fmt::format("cuBLASLt {}.{}.{}", lt.major, lt.minor, lt.patch);
}

ProductKey CudaProducts::key(const CudaProduct& product, const LtProblem& problem) const {
  return product_key(source_.device, source_.processors, product, problem);
}

std::shared_ptr<const LtHandle> CudaProducts::library() const {
  const std::lock_guard lock(mutex_);
  if (!library_) {
    if (!source_.open) throw DeviceError("cuBLASLt is not used here");
    library_ = std::make_shared<LtHandle>(source_.open());
  }
  return library_;
}

std::shared_ptr<const ProductTable> CudaProducts::table() const {
  const std::lock_guard lock(mutex_);
  if (table_) return table_;
  ProductTable all;
  if (!shipped_product_table().empty())
    all = parse_product_table(shipped_product_table(), "the table that ships with the project");
  try {
    for (const auto& [key, entry] : read_product_table(source_.table)) all[key] = entry;
  } catch (const Error& error) {
    why_no_table_ = error.what();
  }
  table_ = std::make_shared<const ProductTable>(std::move(all));
  return table_;
}

void CudaProducts::set_table(ProductTable table) const {
  const std::lock_guard lock(mutex_);
  table_ = std::make_shared<const ProductTable>(std::move(table));
  why_no_table_.clear();
}

ProductChoice CudaProducts::by_library(const LtProblem& problem, const ProductEntry& entry) const {
  const std::shared_ptr<const LtHandle> handle = library();
  if (version_number(handle->lt()) != entry.library) {
    return own(fmt::format("the table's algorithm is of cuBLASLt {}.{}.{}, there is {}",
                           entry.library / 10000, entry.library / 100 % 100, entry.library % 100,
                           version_text(handle->lt())));
  }
  if (entry.workspace > most_product_workspace)
    return own(fmt::format("the table wants {} bytes of workspace", entry.workspace));
  const LtChoice choice{entry.algorithm, entry.workspace};
  return {lt_call(handle, problem, choice), choice.workspace, 0,
          fmt::format("{}, {} bytes of workspace, {}", version_text(handle->lt()), choice.workspace,
                      times(entry))};
}

ProductChoice CudaProducts::by_heuristic(const LtProblem& problem) const {
  const std::shared_ptr<const LtHandle> handle = library();
  const std::vector<LtChoice> found = lt_choices(*handle, problem, 1, most_product_workspace);
  if (found.empty()) return own("not measured, and cuBLASLt has no algorithm for it");
  return {lt_call(handle, problem, found[0]), found[0].workspace, 0,
          fmt::format("{}, its first heuristic, {} bytes of workspace, not measured",
                      version_text(handle->lt()), found[0].workspace)};
}

ProductChoice CudaProducts::choose(const CudaProduct& product, const LtFit& fit) const {
  if (!fit.why_not.empty()) return own("not for cuBLASLt: " + fit.why_not);
  const std::shared_ptr<const ProductTable> known = table();
  const auto found = known->find(key(product, fit.problem));
  try {
    if (found != known->end()) {
      const ProductEntry& entry = found->second;
      if (entry.provider == ProductEntry::Provider::cublaslt) return by_library(fit.problem, entry);
      ProductChoice choice = own(times(entry));
      choice.cut_for = entry.cut_for;
      return choice;
    }
    if (wants_tensor_cores(fit.problem) && is_large(product)) return by_heuristic(fit.problem);
  } catch (const DeviceError& error) {
    // Where it was sought is in device_report().
    const std::string_view text = error.what();
    return own(std::string(text.substr(0, std::min(text.find(';'), text.find('\n')))));
  }
  const std::lock_guard lock(mutex_);
  return own(why_no_table_.empty() ? "not measured" : "not measured; " + why_no_table_);
}

CudaProducts::Source cuda_product_source(std::string device, int processors) {
  return {std::move(device), processors, product_table_path(), [] { return cublaslt(); }};
}

}  // namespace blockgrad
