#include "data/bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "blockgrad/graph/error.h"
#include "data/message.h"

namespace blockgrad::data::detail {

std::string checked_path(const std::string& path) {
  require(!path.empty(), "expected the path of a file, got an empty one");
  std::string name = shown(path, 4096);
  require(path.find('\0') == std::string::npos, name, ": a path cannot hold a NUL byte");
  return name;
}

const char* kind_of_file(unsigned mode) {
  if (S_ISREG(mode)) return "a regular file";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

InputFile::InputFile(const std::string& path, std::int64_t max_bytes) : name_(checked_path(path)) {
  // Not blocking, so that a FIFO without a writer is refused instead of waited for.
  do {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (descriptor_ < 0 && errno == EINTR);
  if (descriptor_ < 0) fail({name_, ": cannot open it: ", reason(errno)});
  struct stat status{};
  const int error = ::fstat(descriptor_, &status) == 0 ? 0 : errno;
  size_ = status.st_size;
  if (error == 0 && S_ISREG(status.st_mode) && size_ <= max_bytes) return;
  ::close(descriptor_);
  require(error == 0, name_, ": cannot look at it: ", reason(error));
  require(S_ISREG(status.st_mode), name_, ": expected a regular file, got ",
          kind_of_file(status.st_mode));
  fail({name_, ": expected at most ", max_bytes, " bytes, got ", size_});
}

InputFile::~InputFile() { ::close(descriptor_); }

std::int64_t InputFile::read_some(void* to, std::int64_t bytes) {
  constexpr std::int64_t block = std::int64_t{1} << 24;
  for (;;) {
    const auto got = ::read(descriptor_, to, static_cast<std::size_t>(std::min(bytes, block)));
    if (got >= 0) return got;
    if (errno != EINTR) fail({name_, ": cannot read it: ", reason(errno)});
  }
}

void InputFile::read(void* to, std::int64_t bytes) {
  auto* out = static_cast<char*>(to);
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t got = read_some(out + done, bytes - done);
    require(got > 0, name_, ": the file shrank while it was read: expected ", size_, " bytes, got ",
            at_);
    done += got;
    at_ += got;
  }
}

void InputFile::expect_end() {
  char more = 0;
  require(read_some(&more, 1) == 0, name_, ": the file grew while it was read: expected ", size_,
          " bytes");
}

std::string read_text(const std::string& path, std::int64_t max_bytes) {
  InputFile file(path, max_bytes);
  constexpr std::int64_t block = std::int64_t{1} << 24;
  std::string text;
  try {
    // Address space only; pages are touched block by block, as the file proves to have them.
    text.reserve(static_cast<std::size_t>(file.size()));
    for (std::int64_t at = 0; at < file.size(); at += block) {
      const std::int64_t bytes = std::min(block, file.size() - at);
      text.resize(static_cast<std::size_t>(at + bytes));
      file.read(text.data() + at, bytes);
    }
  } catch (const std::bad_alloc&) {
    throw DeviceError(
        join({file.name(), ": out of memory: ", file.size(), " bytes could not be allocated"}));
  }
  file.expect_end();
  return text;
}

}  // namespace blockgrad::data::detail
