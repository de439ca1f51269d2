#include "backends/cpu/control_groups.h"

#include <fstream>

namespace blockgrad {

namespace {

bool lists(const std::string& controllers, std::string_view wanted) {
  return ("," + controllers + ",").find("," + std::string(wanted) + ",") != std::string::npos;
}

}  // namespace

std::vector<std::string> group_folders(const std::string& membership, const std::string& mount,
                                       std::string_view controller) {
  std::ifstream file(membership);
  if (!file) return {mount};
  file.exceptions(std::ios::badbit);  // else no memory for a line reads as the end
  std::vector<std::string> folders;
  for (std::string line; std::getline(file, line);) {  // "number:controllers:/path"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !lists(controllers, controller)) continue;
    std::string path = line.substr(second + 1);
    if (path.ends_with('/')) path.pop_back();
    // Several controllers may lie in a folder that names them in another order, with a link by
    // each.
    std::vector<std::string> roots{controllers.empty() ? mount : mount + "/" + controllers};
    if (controllers.find(',') != std::string::npos)
      roots.push_back(mount + "/" + std::string(controller));
    for (;; path.resize(path.rfind('/'))) {
      for (const std::string& root : roots) folders.push_back(root + path);
      if (path.find('/') == std::string::npos) break;
    }
  }
  return folders;
}

}  // namespace blockgrad
