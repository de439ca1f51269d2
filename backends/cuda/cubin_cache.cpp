#include "backends/cuda/cubin_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace blockgrad {

namespace {

constexpr std::string_view magic = "BGCUBIN1";
constexpr std::size_t key_at = magic.size();
constexpr std::size_t size_at = key_at + sizeof(Sha256);
constexpr std::size_t cubin_at = size_at + 8;
constexpr std::size_t least_file = cubin_at + sizeof(Sha256);
constexpr std::size_t most_file = std::size_t{64} << 20;
constexpr std::string_view ending = ".cubin";
constexpr std::size_t random_digits = 16;  // of a temporary file, after its future name and a dot
constexpr std::time_t day = 24 * 60 * 60;

std::string_view bytes_of(const Sha256& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string eight_bytes(std::uint64_t number) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(number >> shift);
  return bytes;
}

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

/// The bytes of a regular file of this user, of at most most_file.
std::optional<std::string> read_own_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  if (!file.is_open() || ::fstat(file.number(), &status) != 0) return std::nullopt;
  if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) return std::nullopt;
  if (static_cast<std::uint64_t>(status.st_size) > most_file) return std::nullopt;
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

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t part = ::write(descriptor, bytes.data(), bytes.size());
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(part));
  }
  return true;
}

/// Like mkdir -p, for the user alone.
void make_folders(const std::string& folder) {
  for (std::size_t end = folder.find('/', 1); end != std::string::npos;
       end = folder.find('/', end + 1)) {
    ::mkdir(folder.substr(0, end).c_str(), 0700);
  }
  ::mkdir(folder.c_str(), 0700);
}

bool is_temporary(std::string_view name) {
  constexpr std::size_t begin = 2 * sizeof(Sha256);
  return name.size() == begin + ending.size() + 1 + random_digits &&
         name.substr(begin).starts_with(ending) && name[begin + ending.size()] == '.' &&
         name.find_first_not_of("0123456789abcdef", begin + ending.size() + 1) ==
             std::string_view::npos;
}

/// Removes what writers that were ended left in the folder: of this user, not changed for a day.
void remove_old_temporaries(const std::string& folder) {
  DIR* files = ::opendir(folder.c_str());
  if (!files) return;
  const int at = ::dirfd(files);
  const std::time_t now = std::time(nullptr);
  while (const dirent* entry = ::readdir(files)) {
    struct stat status{};
    if (!is_temporary(entry->d_name)) continue;
    if (::fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISREG(status.st_mode) && status.st_uid == ::geteuid() && status.st_mtime < now - day)
      ::unlinkat(at, entry->d_name, 0);
  }
  ::closedir(files);
}

}  // namespace

Sha256 cubin_key(const Nvrtc& nvrtc, const CubinRequest& request) {
  std::string all = fmt::format("{}.{}", nvrtc.major, nvrtc.minor);
  // With its length in front, no part can be read as another's end.
  const auto add = [&](std::string_view part) {
    all += eight_bytes(part.size());
    all += part;
  };
  add(request.processor);
  for (const std::string& option : request.options) add(option);
  add(request.text);
  return sha256(all);
}

std::string cubin_file(std::string_view cubin, const Sha256& key) {
  std::string file(magic);
  file += bytes_of(key);
  file += eight_bytes(cubin.size());
  file += cubin;
  file += bytes_of(sha256(file));
  return file;
}

std::optional<std::string_view> read_cubin_file(std::string_view file, const Sha256& key) {
  if (file.size() < least_file || !file.starts_with(magic)) return std::nullopt;
  if (file.substr(key_at, sizeof(Sha256)) != bytes_of(key)) return std::nullopt;
  const std::size_t size = file.size() - least_file;
  if (file.substr(size_at, 8) != eight_bytes(size)) return std::nullopt;
  const std::string_view content = file.substr(0, cubin_at + size);
  if (file.substr(content.size()) != bytes_of(sha256(content))) return std::nullopt;
  return content.substr(cubin_at);
}

std::string CubinCache::path_of(const Sha256& key) const {
  return fmt::format("{}/{}{}", folder_, to_string(key), ending);
}

std::optional<std::string> CubinCache::find(const Sha256& key) const {
  if (folder_.empty()) return std::nullopt;
  const std::optional<std::string> file = read_own_file(path_of(key));
  if (!file) return std::nullopt;
  const std::optional<std::string_view> cubin = read_cubin_file(*file, key);
  if (!cubin) return std::nullopt;
  return std::string(*cubin);
}

bool CubinCache::keep(const Sha256& key, std::string_view cubin) const {
  if (folder_.empty() || cubin.size() > most_file - least_file) return false;
  make_folders(folder_);
  remove_old_temporaries(folder_);
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return false;
  const std::string path = path_of(key),
                    temporary = fmt::format("{}.{:0{}x}", path, number, random_digits);
  bool is_done = false;
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file.is_open()) return false;
    is_done = write_all(file.number(), cubin_file(cubin, key));
  }
  is_done = is_done && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (!is_done) ::unlink(temporary.c_str());
  return is_done;
}

std::string cubin_cache_folder() {
  const auto variable = [](const char* name) {
    const char* value = ::secure_getenv(name);
    return std::string(value ? value : "");
  };
  const std::string own = variable("BLOCKGRAD_CUDA_CACHE");
  if (!own.empty()) return own == "off" ? "" : own;
  // A relative XDG_CACHE_HOME is to be ignored (XDG Base Directory Specification 0.8).
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with('/'))
    return cache + "/blockgrad/cubins";
  if (const std::string home = variable("HOME"); home.starts_with('/'))
    return home + "/.cache/blockgrad/cubins";
  return "";
}

std::string cubin_of(const Nvrtc& nvrtc, const CubinRequest& request, const CubinCache& cache) {
  const Sha256 key = cubin_key(nvrtc, request);
  if (std::optional<std::string> cubin = cache.find(key)) return *std::move(cubin);
  std::string cubin = compile_cubin(nvrtc, request);
  cache.keep(key, cubin);
  return cubin;
}

}  // namespace blockgrad
