#pragma once
// Which kernel or algorithm was the fastest for a product on a device, as it was measured: a value,
// and the file it is kept in. Files may hold anything; what is not a table is refused with its
// line. The same table gives the same bits. Nothing here needs CUDA.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "backends/cuda/products/lt_problem.h"

namespace blockgrad {

/// What a measurement is of: the device and the product, of whose strides only the alignment
/// counts.
struct ProductKey {
  std::string device;  // "NVIDIA H200"
  int processors = 0;
  std::int64_t m = 0, n = 0, k = 0, batch = 1;
  std::string majors = "nn";           // of A and B: n, in rows; t, in columns
  std::string shared = "no";           // "a", "b", "ab": one matrix for the whole batch
  int alignments[3] = {16, 16, 16};    // of A, B and C, in bytes
  std::string dtypes = "f32,f32,f32";  // of A, B and C
  std::string compute = "f32";         // or "f32 as tf32", "f64"
  std::string epilogue = "none";

  auto operator<=>(const ProductKey&) const = default;
};

ProductKey product_key(std::string device, int processors, const CudaProduct& product,
                       const LtProblem& problem);

struct ProductEntry {
  enum class Provider : std::uint8_t { own, cublaslt };
  Provider provider = Provider::own;
  lt::Algorithm algorithm = {};  // of cublaslt
  int library = 0;               // 130100: the version that the algorithm is of
  int cut_for = 0;               // of own: cut as for a device of so many processors
  std::int64_t workspace = 0;    // bytes
  std::int64_t nanoseconds = 0;  // the median
  std::int64_t spread = 0;       // nanoseconds from the fastest to the slowest repetition

  bool operator==(const ProductEntry&) const = default;
};

using ProductTable = std::map<ProductKey, ProductEntry>;

/// A line of JSON that tells what the file is, one for each entry, ordered by key, and one with the
/// SHA-256 of all before it.
std::string product_table_text(const ProductTable& table);

/// Throws Error, naming `from` and the line, unless it is such a text: at most 16 MiB of lines of
/// at most 1024 bytes, each as product_table_text writes it, with a right sum and no key twice.
ProductTable parse_product_table(std::string_view text, std::string_view from);

/// What a file holds; an empty table where there is none. Throws Error if it is no table, or is no
/// file of this user alone.
ProductTable read_product_table(const std::string& path);
/// Replaces the file as a whole. Throws Error if it cannot be written.
void write_product_table(const std::string& path, const ProductTable& table);

/// Puts entries into the file, in place of those of their products, and returns all that it holds:
/// what others add at the same time is kept. Throws Error as reading and writing do.
ProductTable add_to_product_table(const std::string& path, const ProductTable& entries);

/// The file that BLOCKGRAD_CUDA_PRODUCTS names ("off": none), else products.jsonl beside the cache
/// of cubins. Empty if there is none.
std::string product_table_path();

}  // namespace blockgrad
