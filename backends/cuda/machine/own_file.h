#pragma once
// Small files in folders of the user: read only where they are the user's own, replaced as a whole.
// What is in them is looked at by who reads them.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace blockgrad {

/// The bytes of a regular file of this user, no link, of at most `most` bytes; else nothing.
std::optional<std::string> read_own_file(const std::string& path, std::size_t most);

/// Makes the file's folder, for the user alone, and replaces the file as a whole. False, with the
/// file as it was, if it could not be written.
bool replace_own_file(const std::string& path, std::string_view bytes);

/// While this lives, no other process and no other thread holds the lock of this file, which is on
/// a file beside it: NAME.lock, which stays. Makes the folder, and waits for who holds it.
class OwnFileLock {
 public:
  explicit OwnFileLock(const std::string& path);
  ~OwnFileLock();
  OwnFileLock(const OwnFileLock&) = delete;
  OwnFileLock& operator=(const OwnFileLock&) = delete;
  /// False where there can be none.
  bool is_held() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

/// Removes what writers of files with this ending left in the folder when they were ended: of this
/// user, not changed for a day.
void remove_old_temporaries(const std::string& folder, std::string_view ending);

/// blockgrad/NAME in the user's cache folder, which is XDG_CACHE_HOME or ~/.cache, unless
/// `variable` names another place ("off": none). Empty if there is none. Variables are not read
/// where the process has more rights than its user.
std::string own_cache_place(const char* variable, std::string_view name);

}  // namespace blockgrad
