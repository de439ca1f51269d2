#include "backends/cuda/machine/own_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace blockgrad {

namespace {

constexpr std::size_t random_digits = 16;  // of a temporary file, after its future name and a dot
constexpr std::time_t day = 24 * 60 * 60;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  bool is_open() const { return number_ >= 0; }
  int number() const { return number_; }

 private:
  int number_;
};

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t part = ::write(descriptor, bytes.data(), bytes.size());
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(part));
  }
  return true;
}

/// Like mkdir -p of what stands before the last slash, for the user alone.
void make_folders(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
    ::mkdir(path.substr(0, end).c_str(), 0700);
}

bool is_temporary(std::string_view name, std::string_view ending) {
  if (name.size() <= random_digits) return false;
  const std::string_view future = name.substr(0, name.size() - random_digits - 1);
  const std::string_view digits = name.substr(future.size());
  return future.ends_with(ending) && digits.front() == '.' &&
         digits.find_first_not_of("0123456789abcdef", 1) == std::string_view::npos;
}

}  // namespace

std::optional<std::string> read_own_file(const std::string& path, std::size_t most) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  if (!file.is_open() || ::fstat(file.number(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) return std::nullopt;
  if (static_cast<std::uint64_t>(status.st_size) > most) return std::nullopt;
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t part = ::read(file.number(), bytes.data() + done, bytes.size() - done);
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return std::nullopt;
    done += static_cast<std::size_t>(part);
  }
  return bytes;
}

bool replace_own_file(const std::string& path, std::string_view bytes) {
  make_folders(path);
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return false;
  const std::string temporary = fmt::format("{}.{:0{}x}", path, number, random_digits);
  bool is_done = false;
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.is_open()) return false;
    is_done = write_all(file.number(), bytes);
  }
  is_done = is_done && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!is_done) ::unlink(temporary.c_str());
  return is_done;
}

OwnFileLock::OwnFileLock(const std::string& path) {
  make_folders(path);
  constexpr int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  descriptor_ = ::open((path + ".lock").c_str(), flags, 0600);
  while (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    ::close(descriptor_);
    descriptor_ = -1;
  }
}

OwnFileLock::~OwnFileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void remove_old_temporaries(const std::string& folder, std::string_view ending) {
  DIR* files = ::opendir(folder.c_str());
  if (!files) return;
  const int at = ::dirfd(files);
  const std::time_t now = std::time(nullptr);
  while (const dirent* entry = ::readdir(files)) {
    struct stat status{};
    if (!is_temporary(entry->d_name, ending)) continue;
    if (::fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(status.st_mode) && status.st_uid == ::geteuid() && status.st_mtime < now - day)
      ::unlinkat(at, entry->d_name, 0);
  }
  ::closedir(files);
}

std::string own_cache_place(const char* variable, std::string_view name) {
  const auto value_of = [](const char* asked) {
    const char* value = ::secure_getenv(asked);
    return std::string(value ? value : "");
  };
  const std::string own = value_of(variable);
  if (!own.empty()) return own == "off" ? "" : own;
  // A relative XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification 0.8).
  if (const std::string cache = value_of("XDG_CACHE_HOME"); cache.starts_with('/'))
    return fmt::format("{}/blockgrad/{}", cache, name);
  if (const std::string home = value_of("HOME"); home.starts_with('/'))
    return fmt::format("{}/.cache/blockgrad/{}", home, name);
  return "";
}

}  // namespace blockgrad
