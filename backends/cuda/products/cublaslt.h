#pragma once
// cuBLASLt, a library of matrix products: opened at run time, and may be missing. What is declared
// here is its C interface, as far as it is called; tests compare it with the library's header.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace blockgrad {

namespace lt {

// Opaque objects of the library.
struct Handle;
struct Matrix;
struct Matmul;
struct Preference;

/// cudaDataType_t.
enum class Type : std::int32_t { f32 = 0, f64 = 1, f16 = 2, bf16 = 14 };
/// cublasComputeType_t. `pedantic` takes no detour through other types.
enum class Compute : std::int32_t {
  f32 = 68,
  f32_pedantic = 69,
  f64 = 70,
  f32_as_tf32 = 77,
};
/// cublasOperation_t.
enum class Operation : std::int32_t { none = 0, transpose = 1 };

enum class MatrixField : std::int32_t {
  type = 0,          // uint32
  order = 1,         // int32, 0: columns lie one after the other
  rows = 2,          // uint64
  columns = 3,       // uint64
  leading = 4,       // int64, elements from a column to the next
  batch_count = 5,   // int32
  batch_stride = 6,  // int64, elements
};
enum class MatmulField : std::int32_t {
  compute = 0,      // int32
  scale = 1,        // int32
  operation_a = 3,  // int32
  operation_b = 4,  // int32
};
enum class PreferenceField : std::int32_t {
  workspace = 1,          // uint64, bytes at most
  reduction_schemes = 3,  // uint32, bits
  alignment_a = 5,        // uint32, bytes; b, c and d follow
  alignment_b = 6,
  alignment_c = 7,
  alignment_d = 8,
};

enum class AlgorithmField : std::int32_t {
  reduction_scheme = 3,  // uint32, one of the bits of PreferenceField::reduction_schemes, or 0
};
/// Slices of k are added to the result in the order in which they are done.
inline constexpr std::uint32_t reduction_in_place = 1;

/// cublasLtMatmulAlgo_t: means the same to one version of the library only.
struct Algorithm {
  std::array<std::uint64_t, 8> data{};
  bool operator==(const Algorithm&) const = default;
};
/// cublasLtMatmulHeuristicResult_t.
struct Heuristic {
  Algorithm algorithm;
  std::size_t workspace = 0;
  std::int32_t status = 0;
  float waves = 0;
  std::int32_t reserved[4]{};
};

}  // namespace lt

/// The functions of cuBLASLt that are called; those that return an int return a cublasStatus_t.
struct CublasLt {
  int major = 0, minor = 0, patch = 0;
  std::string path;  // the file it is

  std::size_t (*version)() = nullptr;
  int (*create)(lt::Handle**) = nullptr;
  int (*destroy)(lt::Handle*) = nullptr;
  int (*create_matrix)(lt::Matrix**, lt::Type, std::uint64_t rows, std::uint64_t columns,
                       std::int64_t leading) = nullptr;
  int (*destroy_matrix)(lt::Matrix*) = nullptr;
  int (*set_matrix)(lt::Matrix*, lt::MatrixField, const void*, std::size_t) = nullptr;
  int (*get_matrix)(lt::Matrix*, lt::MatrixField, void*, std::size_t, std::size_t*) = nullptr;
  int (*create_matmul)(lt::Matmul**, lt::Compute, lt::Type scale) = nullptr;
  int (*destroy_matmul)(lt::Matmul*) = nullptr;
  int (*set_matmul)(lt::Matmul*, lt::MatmulField, const void*, std::size_t) = nullptr;
  int (*get_matmul)(lt::Matmul*, lt::MatmulField, void*, std::size_t, std::size_t*) = nullptr;
  int (*create_preference)(lt::Preference**) = nullptr;
  int (*destroy_preference)(lt::Preference*) = nullptr;
  int (*set_preference)(lt::Preference*, lt::PreferenceField, const void*, std::size_t) = nullptr;
  /// Algorithms for D = op(A) op(B), the ones it thinks fastest first.
  int (*heuristics)(lt::Handle*, lt::Matmul*, lt::Matrix* a, lt::Matrix* b, lt::Matrix* c,
                    lt::Matrix* d, lt::Preference*, int asked, lt::Heuristic*,
                    int* found) = nullptr;
  /// Whether an algorithm does it, and with how much workspace.
  int (*check)(lt::Handle*, lt::Matmul*, lt::Matrix* a, lt::Matrix* b, lt::Matrix* c, lt::Matrix* d,
               const lt::Algorithm*, lt::Heuristic*) = nullptr;
  int (*get_algorithm)(const lt::Algorithm*, lt::AlgorithmField, void*, std::size_t,
                       std::size_t*) = nullptr;
  int (*matmul)(lt::Handle*, lt::Matmul*, const void* alpha, const void* a, lt::Matrix*,
                const void* b, lt::Matrix*, const void* beta, const void* c, lt::Matrix*, void* d,
                lt::Matrix*, const lt::Algorithm*, void* workspace, std::size_t bytes,
                void* stream) = nullptr;
};

/// "CUBLAS_STATUS_NOT_SUPPORTED, 15".
std::string cublas_status_text(int status);

/// The first one in these folders (see open_library) that is version 12 or 13 and has these
/// functions. Throws DeviceError that lists where it was sought.
CublasLt load_cublaslt(std::span<const std::string> folders);
/// That of cuda_library_folders(), opened by the first call that finds one.
const CublasLt& cublaslt();

}  // namespace blockgrad
