#include "backends/cuda/products/cublaslt.h"

#include <fmt/format.h>

#include "backends/cuda/machine/shared_library.h"

namespace blockgrad {

namespace {

const std::array<std::string, 2> names = {"libcublasLt.so.13", "libcublasLt.so.12"};

/// 130100 is 13.1.0, 120805 is 12.8.5.
void read_version(CublasLt& lt) {
  const auto version = static_cast<int>(lt.version());
  lt.major = version / 10000;
  lt.minor = version / 100 % 100;
  lt.patch = version % 100;
}

/// Names those that are missing.
std::string bind_functions(CublasLt& lt, const SharedLibrary& library) {
  std::string missing;
  library.bind(lt.create, "cublasLtCreate", missing);
  library.bind(lt.destroy, "cublasLtDestroy", missing);
  library.bind(lt.create_matrix, "cublasLtMatrixLayoutCreate", missing);
  library.bind(lt.destroy_matrix, "cublasLtMatrixLayoutDestroy", missing);
  library.bind(lt.set_matrix, "cublasLtMatrixLayoutSetAttribute", missing);
  library.bind(lt.get_matrix, "cublasLtMatrixLayoutGetAttribute", missing);
  library.bind(lt.create_matmul, "cublasLtMatmulDescCreate", missing);
  library.bind(lt.destroy_matmul, "cublasLtMatmulDescDestroy", missing);
  library.bind(lt.set_matmul, "cublasLtMatmulDescSetAttribute", missing);
  library.bind(lt.get_matmul, "cublasLtMatmulDescGetAttribute", missing);
  library.bind(lt.create_preference, "cublasLtMatmulPreferenceCreate", missing);
  library.bind(lt.destroy_preference, "cublasLtMatmulPreferenceDestroy", missing);
  library.bind(lt.set_preference, "cublasLtMatmulPreferenceSetAttribute", missing);
  library.bind(lt.heuristics, "cublasLtMatmulAlgoGetHeuristic", missing);
  library.bind(lt.check, "cublasLtMatmulAlgoCheck", missing);
  library.bind(lt.get_algorithm, "cublasLtMatmulAlgoConfigGetAttribute", missing);
  library.bind(lt.matmul, "cublasLtMatmul", missing);
  return missing;
}

std::string_view status_name(int status) {
  switch (status) {
    case 0: return "CUBLAS_STATUS_SUCCESS";
    case 1: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 3: return "CUBLAS_STATUS_ALLOC_FAILED";
    case 7: return "CUBLAS_STATUS_INVALID_VALUE";
    case 8: return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11: return "CUBLAS_STATUS_MAPPING_ERROR";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14: return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15: return "CUBLAS_STATUS_NOT_SUPPORTED";
    case 16: return "CUBLAS_STATUS_LICENSE_ERROR";
    default: return "an unknown status";
  }
}

}  // namespace

std::string cublas_status_text(int status) {
  return fmt::format("{}, {}", status_name(status), status);
}

CublasLt load_cublaslt(std::span<const std::string> folders) {
  CublasLt found;
  const auto why_not = [&](const SharedLibrary& library) -> std::string {
    std::string missing;
    library.bind(found.version, "cublasLtGetVersion", missing);
    if (!missing.empty()) return missing;
    read_version(found);
    if (found.major < 12 || found.major > 13) {
      return fmt::format("version {}.{}.{}, 12 or 13 is needed", found.major, found.minor,
                         found.patch);
    }
    return bind_functions(found, library);
  };
  found.path = open_library("cuBLASLt", names, folders, why_not).path();
  return found;
}

const CublasLt& cublaslt() {
  static const CublasLt loaded = load_cublaslt(cuda_library_folders());
  return loaded;
}

}  // namespace blockgrad
