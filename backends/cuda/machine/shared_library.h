#pragma once
// Libraries that are opened when they are needed first, so a program starts without them. What was
// opened stays: libraries of CUDA are not made to be closed.

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace blockgrad {

/// A library of this process. Its functions live as long as the process.
class SharedLibrary {
 public:
  /// Points `function` to the one of that name; where there is none, that is added to `missing`.
  template <class F>
  void bind(F*& function, const char* name, std::string& missing) const {
    function = reinterpret_cast<F*>(symbol(name));
    if (function == nullptr) missing += (missing.empty() ? "it has no " : ", ") + std::string(name);
  }
  /// The file it was read from.
  const std::string& path() const { return path_; }

 private:
  friend SharedLibrary open_library(std::string_view, std::span<const std::string>,
                                    std::span<const std::string>,
                                    const std::function<std::string(const SharedLibrary&)>&);
  SharedLibrary(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  void* symbol(const char* name) const;

  void* handle_;
  std::string path_;
};

/// Where libraries of CUDA are sought, in this order: the folders of BLOCKGRAD_CUDA_LIBRARY_PATH
/// (with colons between; not read where the process has more rights than its user), the loader's
/// own search, which is written as an empty folder, and the toolkit's default folder.
std::vector<std::string> cuda_library_folders();

/// The first library, by folder and then by name, of which `why_not` says nothing. Throws
/// DeviceError that lists each place with what was wrong there: `title` is what it is called.
SharedLibrary open_library(std::string_view title, std::span<const std::string> names,
                           std::span<const std::string> folders,
                           const std::function<std::string(const SharedLibrary&)>& why_not);

}  // namespace blockgrad
