#include "backends/cpu/cpu_limits.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "backends/cpu/control_groups.h"
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

}  // namespace

int quota_threads(const std::string& membership, const std::string& mount, int most) {
  int threads = most;
  for (const std::string& folder : group_folders(membership, mount, "cpu"))
    threads = std::min(threads, quota_of(folder, most));
  return threads;
}

int available_threads() {
  constexpr int most = ThreadPool::most_threads;
  const int quota = quota_threads("/proc/self/cgroup", "/sys/fs/cgroup", most);
  return std::clamp(std::min(affinity_threads(), quota), 1, most);
}

}  // namespace blockgrad
