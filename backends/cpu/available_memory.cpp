#include "backends/cpu/available_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace blockgrad {

namespace {

// The number behind `key` on a line of its own; -1 if there is none.
std::int64_t number_in(const std::string& path, const char* key) {
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (!file) return -1;
  std::int64_t found = -1;
  char line[256];
  const std::size_t length = std::strlen(key);
  while (found < 0 && std::fgets(line, sizeof line, file)) {
    long long number = 0;
    if (std::strncmp(line, key, length) == 0 && std::sscanf(line + length, "%lld", &number) == 1)
      found = number;
  }
  std::fclose(file);
  return found;
}

std::int64_t of_machine(const std::string& root) {
  const std::string file = root + "/proc/meminfo";
  const std::int64_t free = number_in(file, "MemAvailable:");
  if (free < 0) return unlimited_memory;
  return 1024 * (free + std::max<std::int64_t>(number_in(file, "SwapFree:"), 0));
}

// Pages of files that nobody maps are given back before the limit is felt.
std::int64_t of_group(const std::string& root) {
  const std::string folder = root + "/sys/fs/cgroup/memory.";
  const std::int64_t most = number_in(folder + "max", ""), used = number_in(folder + "current", "");
  if (most < 0 || used < 0) return unlimited_memory;
  const std::int64_t cached = number_in(folder + "stat", "inactive_file ");
  return std::max<std::int64_t>(most - used + std::max<std::int64_t>(cached, 0), 0);
}

}  // namespace

std::int64_t available_memory(const std::string& root) {
  return std::min(of_machine(root), of_group(root));
}

}  // namespace blockgrad
