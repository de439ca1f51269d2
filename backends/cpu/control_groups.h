#pragma once
// The control groups that a process is in: each may have limits, and those around it have theirs.

#include <string>
#include <string_view>
#include <vector>

namespace blockgrad {

/// Folders of the groups of `controller` ("cpu", "memory") and of all groups around them, the
/// innermost first. `membership` is a file like /proc/self/cgroup, `mount` a folder like
/// /sys/fs/cgroup; versions 1 and 2 are read. A folder need not exist: a container may show the
/// path of its host, of which only the root is mounted. Without a membership: the root alone.
std::vector<std::string> group_folders(const std::string& membership, const std::string& mount,
                                       std::string_view controller);

}  // namespace blockgrad
