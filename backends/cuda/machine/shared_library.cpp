#include "backends/cuda/machine/shared_library.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>

#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

constexpr const char* folders_variable = "BLOCKGRAD_CUDA_LIBRARY_PATH";
constexpr const char* toolkit_folder = "/usr/local/cuda/lib64";

/// Where the loader found it; `name` if it does not tell.
std::string path_of(void* handle, const std::string& name) {
  const link_map* map = nullptr;
  const bool is_known = ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map && *map->l_name;
  return is_known ? map->l_name : name;
}

/// The loader's message without the path it begins with.
std::string loader_message(const std::string& path) {
  const char* text = ::dlerror();
  std::string message = text ? text : "the loader refuses it";
  const std::string start = path + ": ";
  return message.starts_with(start) ? message.substr(start.size()) : message;
}

}  // namespace

void* SharedLibrary::symbol(const char* name) const { return ::dlsym(handle_, name); }

std::vector<std::string> cuda_library_folders() {
  std::vector<std::string> folders;
  const char* variable = ::secure_getenv(folders_variable);
  std::string_view rest = variable ? variable : "";
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    if (end > 0) folders.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  folders.emplace_back();
  folders.emplace_back(toolkit_folder);
  return folders;
}

SharedLibrary open_library(std::string_view title, std::span<const std::string> names,
                           std::span<const std::string> folders,
                           const std::function<std::string(const SharedLibrary&)>& why_not) {
  std::string sought;
  for (const std::string& folder : folders) {
    std::string missing;
    for (const std::string& name : names) {
      const std::string path = folder.empty() ? name : folder + "/" + name;
      if (!folder.empty() && ::access(path.c_str(), F_OK) != 0) {
        missing += (missing.empty() ? "" : ", ") + name;
        continue;
      }
      void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (handle == nullptr) {
        sought += fmt::format("\n  {}: {}", path, loader_message(path));
        continue;
      }
      const SharedLibrary library(handle, path_of(handle, path));
      const std::string why = why_not(library);
      if (why.empty()) return library;
      sought += fmt::format("\n  {}: {}", library.path(), why);
    }
    if (!missing.empty()) sought += fmt::format("\n  {}: no {}", folder, missing);
  }
  throw DeviceError(fmt::format("{} was not found; sought (folders can be added in {}):{}", title,
                                folders_variable, sought));
}

}  // namespace blockgrad
