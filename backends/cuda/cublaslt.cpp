#include "backends/cuda/cublaslt.h"

#include <fmt/format.h>

#include <array>

#include "backends/cuda/shared_library.h"

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

}  // namespace

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
    return "";
  };
  found.path = open_library("cuBLASLt", names, folders, why_not).path();
  return found;
}

const CublasLt& cublaslt() {
  static const CublasLt loaded = load_cublaslt(cuda_library_folders());
  return loaded;
}

}  // namespace blockgrad
