#pragma once
// How many threads the system lets this process run at once.

#include <string>

namespace blockgrad {

/// Threads that may be used: the smaller of the affinity mask and the quotas of this process's
/// cgroups, at least 1.
int available_threads();

/// Threads that the quotas of a process's cgroups and of those around them leave it, rounded up;
/// `most` where there is no quota. `membership` is a file like /proc/self/cgroup, `mount` a folder
/// like /sys/fs/cgroup; versions 1 and 2 are read.
int quota_threads(const std::string& membership, const std::string& mount, int most);

}  // namespace blockgrad
