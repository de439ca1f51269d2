#pragma once
// Folders that vanish, messages of errors, and where the downloaded data sets lie.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "blockgrad/graph/error.h"
#include "tests/support/checks.h"

namespace data_test {

using test_support::error_of;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "blockgrad-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }
  std::ptrdiff_t files() const {
    return std::distance(std::filesystem::directory_iterator(path_),
                         std::filesystem::directory_iterator());
  }

 private:
  std::filesystem::path path_;
};

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out << bytes;
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The message of the Error that `call` throws; "" if it throws none.
/// A file of the data sets, from BLOCKGRAD_DATA or next to the source folder; none: says that the
/// case is skipped.
inline std::optional<std::string> data_set(std::string_view file) {
  const char* folder = std::getenv("BLOCKGRAD_DATA");
  const std::filesystem::path root = folder ? folder : BG_SOURCE_DIR "/../shared/data";
  std::error_code ignored;
  if (std::filesystem::exists(root / file, ignored)) return (root / file).string();
  std::cout << "skipped: " << (root / file).string()
            << " is not there; set BLOCKGRAD_DATA to the data's folder\n";
  return std::nullopt;
}

}  // namespace data_test
