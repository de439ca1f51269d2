#include "data/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "blockgrad/data/files.h"
#include "blockgrad/graph/error.h"
#include "data/bytes.h"
#include "data/message.h"

namespace blockgrad::data {

namespace detail {

namespace {

template <class Call>
auto retried(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

}  // namespace

AtomicFile::AtomicFile(const std::string& path) : target_(path), name_(checked_path(path)) {
  const auto slash = path.rfind('/');
  folder_ = slash == std::string::npos ? "./" : path.substr(0, slash + 1);
  require(slash == std::string::npos || slash + 1 < path.size(), name_,
          ": expected a file, got a folder");
  struct stat status{};
  const bool exists = ::lstat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) fail_with("cannot look at it", errno);
  require(!exists || S_ISREG(status.st_mode), name_, ": expected a regular file to replace, got ",
          kind_of_file(status.st_mode));
  open_temporary(exists ? status.st_mode & 07777U : 0666U);
  // The creation mode loses what umask takes; a file that is replaced keeps its own.
  if (!exists || ::fchmod(descriptor_, status.st_mode & 07777U) == 0) return;
  const int error = errno;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
  fail_with("cannot set the permissions of the new file", error);
}

void AtomicFile::open_temporary(unsigned mode) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::uint64_t number = 0;
    if (retried([&] { return ::getrandom(&number, sizeof number, 0); }) != sizeof number)
      fail_with("cannot draw a random name", errno);
    temporary_ = fmt::format("{}.blockgrad-{:016x}.tmp", folder_, number);
    descriptor_ = retried([&] {
      return ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    });
    if (descriptor_ >= 0) return;
    if (errno != EEXIST) break;
  }
  const int error = errno;
  temporary_.clear();
  fail_with("cannot create a file in its folder", error);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, std::int64_t bytes) {
  constexpr std::int64_t block = std::int64_t{1} << 24;
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto part = static_cast<std::size_t>(std::min(bytes, block));
    const auto written = retried([&] { return ::write(descriptor_, from, part); });
    if (written < 0) fail_with("cannot write it", errno);
    if (written == 0) fail_with("cannot write it", EIO);
    from += written;
    bytes -= written;
  }
}

void AtomicFile::commit() {
  if (retried([&] { return ::fsync(descriptor_); }) != 0)
    fail_with("cannot sync it to the disk", errno);
  // The descriptor is gone whatever close answers; EINTR says only that the wait was cut short.
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 && errno != EINTR) fail_with("cannot close it", errno);
  if (std::rename(temporary_.c_str(), target_.c_str()) != 0)
    fail_with("cannot rename the new file to it", errno);
  temporary_.clear();
  sync_folder();
}

void AtomicFile::sync_folder() {
  constexpr const char* what =
      "the new file is in place, but its folder cannot be synced to the disk";
  const int folder =
      retried([&] { return ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (folder < 0) fail_with(what, errno);
  const int synced = retried([&] { return ::fsync(folder); });
  const int error = errno;
  const int closed = ::close(folder);
  // Some file systems cannot sync a folder and say so with EINVAL.
  if (synced != 0 && error != EINVAL) fail_with(what, error);
  if (closed != 0 && errno != EINTR) fail_with(what, errno);
}

void AtomicFile::fail_with(const char* what, int error) const {
  fail({name_, ": ", what, ": ", reason(error)});
}

}  // namespace detail

void write_text_file(const std::string& path, std::string_view text) {
  detail::AtomicFile file(path);
  file.write(text.data(), static_cast<std::int64_t>(text.size()));
  file.commit();
}

}  // namespace blockgrad::data
