#pragma once
// AtomicFile: a file that replaces another one as a whole or not at all, also when the power fails.

#include <cstdint>
#include <string>

namespace blockgrad::data::detail {

/// Writes go to a temporary file in the target's folder; commit() makes it the target. All calls
/// throw Error naming the target, what failed and why. Without a successful commit the target is as
/// it was and the temporary file is removed. Two writers to one target never share a temporary
/// file; the last to commit wins.
class AtomicFile {
 public:
  /// Throws Error also if the target exists and is not a regular file.
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::int64_t bytes);
  /// Syncs and closes the file, renames it, syncs the folder. To be called once. If only the last
  /// step fails, the error says that the new file is in place.
  void commit();

 private:
  void open_temporary(unsigned mode);
  void sync_folder();
  [[noreturn]] void fail_with(const char* what, int error) const;

  std::string target_;
  std::string name_;       // the target for messages
  std::string folder_;     // "." or what stands before the last slash, with it
  std::string temporary_;  // empty: there is none to remove
  int descriptor_ = -1;
};

}  // namespace blockgrad::data::detail
