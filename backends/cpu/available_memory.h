#pragma once
// How much memory this process may still take. The system hands out pages only when they are
// touched and ends a process that touches too many, so a program asks before it does.

#include <cstdint>
#include <limits>
#include <string>

namespace blockgrad {

inline constexpr std::int64_t unlimited_memory = std::numeric_limits<std::int64_t>::max();

/// The least of what the machine has left, swap included, and what the process's control groups and
/// those around them may still take; unlimited_memory where nothing is told. `root` is put in front
/// of the files that tell it: /proc/meminfo, /proc/self/cgroup and, below /sys/fs/cgroup,
/// memory.max, .current and .stat (cgroup v2) or .limit_in_bytes, .usage_in_bytes and .stat (v1).
std::int64_t available_memory(const std::string& root = "");

}  // namespace blockgrad
