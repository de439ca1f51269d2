#pragma once
// Reading a regular file within limits: opened once, judged by its descriptor, read without
// trusting that it keeps its size.

#include <cstdint>
#include <string>

namespace blockgrad::data::detail {

class InputFile {
 public:
  /// Throws Error unless `path` is a regular file that can be opened and has at most `max_bytes`.
  InputFile(const std::string& path, std::int64_t max_bytes);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  /// The size when it was opened.
  std::int64_t size() const { return size_; }
  /// The path for messages.
  const std::string& name() const { return name_; }

  /// Fills `bytes` bytes. Throws Error if the file ends before.
  void read(void* to, std::int64_t bytes);
  /// Throws Error if there are more bytes than it had when it was opened.
  void expect_end();

 private:
  std::int64_t read_some(void* to, std::int64_t bytes);

  std::string name_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::int64_t at_ = 0;
};

/// The whole file.
std::string read_text(const std::string& path, std::int64_t max_bytes);

/// Throws Error for a path that is empty or holds a NUL; returns it fit for messages.
std::string checked_path(const std::string& path);

/// "a folder", "a FIFO", … for the mode of a stat.
const char* kind_of_file(unsigned mode);

}  // namespace blockgrad::data::detail
