#include "backends/cpu/available_memory.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cpu/control_groups.h"

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

// Cached pages of files are given back before the limit is felt, those read twice too.
std::int64_t cached(const std::string& stat, const std::string& total) {
  return std::max<std::int64_t>(number_in(stat, (total + "inactive_file ").c_str()), 0) +
         std::max<std::int64_t>(number_in(stat, (total + "active_file ").c_str()), 0);
}

std::int64_t left_of(std::int64_t most, std::int64_t used, std::int64_t cached) {
  if (most < 0 || used < 0) return unlimited_memory;
  const std::int64_t kept = std::max<std::int64_t>(used - cached, 0);
  return std::max<std::int64_t>(most - kept, 0);
}

std::int64_t of_group(const std::string& folder) {
  const std::string file = folder + "/memory.";
  const std::int64_t now = left_of(number_in(file + "max", ""), number_in(file + "current", ""),
                                   cached(file + "stat", ""));
  const std::int64_t version_1 =
      left_of(number_in(file + "limit_in_bytes", ""), number_in(file + "usage_in_bytes", ""),
              cached(file + "stat", "total_"));
  return std::min(now, version_1);
}

}  // namespace

std::int64_t available_memory(const std::string& root) {
  std::int64_t least = of_machine(root);
  const std::vector<std::string> folders =
      group_folders(root + "/proc/self/cgroup", root + "/sys/fs/cgroup", "memory");
  for (const std::string& folder : folders) least = std::min(least, of_group(folder));
  return least;
}

}  // namespace blockgrad
