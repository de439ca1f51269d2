#include "backends/cpu/cpu_limits.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <thread>

#include "backends/cpu/thread_pool.h"

namespace blockgrad {

namespace {

int affinity_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int threads_of(long long quota, long long period, int most) {
  if (quota <= 0 || period <= 0) return most;
  return static_cast<int>(std::clamp<long long>((quota - 1) / period + 1, 1, most));
}

// The quota of one cgroup: "max 100000" or "200000 100000" (version 2), or a file for each number.
int quota_of(const std::string& folder, int most) {
  long long quota = 0, period = 0;
  if (std::ifstream file(folder + "/cpu.max"); file >> quota >> period)
    return threads_of(quota, period, most);
  std::ifstream quota_file(folder + "/cpu.cfs_quota_us");
  std::ifstream period_file(folder + "/cpu.cfs_period_us");
  if (quota_file >> quota && period_file >> period) return threads_of(quota, period, most);
  return most;
}

bool lists_cpu(std::string_view controllers) {
  return ("," + std::string(controllers) + ",").find(",cpu,") != std::string::npos;
}

}  // namespace

int quota_threads(const std::string& membership, const std::string& mount, int most) {
  int threads = most;
  std::ifstream file(membership);
  file.exceptions(std::ios::badbit);                   // else no memory for a line reads as the end
  for (std::string line; std::getline(file, line);) {  // "number:controllers:/path"
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && !lists_cpu(controllers)) continue;
    const std::string root = controllers.empty() ? mount : mount + "/" + controllers;
    // A container may show the path of its host, of which only the root is mounted.
    for (std::string path = line.substr(second + 1);; path.resize(path.rfind('/'))) {
      threads = std::min(threads, quota_of(root + path, most));
      if (path.find('/') == std::string::npos) break;
    }
  }
  return threads;
}

int available_threads() {
  constexpr int most = ThreadPool::most_threads;
  const int quota = quota_threads("/proc/self/cgroup", "/sys/fs/cgroup", most);
  return std::clamp(std::min(affinity_threads(), quota), 1, most);
}

}  // namespace blockgrad
