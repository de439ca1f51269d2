#include "backends/cuda/machine/cubin_cache.h"

#include <fmt/format.h>

#include "backends/cuda/machine/own_file.h"

namespace blockgrad {

namespace {

constexpr std::string_view magic = "BGCUBIN1";
constexpr std::size_t key_at = magic.size();
constexpr std::size_t size_at = key_at + sizeof(Sha256);
constexpr std::size_t cubin_at = size_at + 8;
constexpr std::size_t least_file = cubin_at + sizeof(Sha256);
constexpr std::size_t most_file = std::size_t{64} << 20;
constexpr std::string_view ending = ".cubin";

std::string_view bytes_of(const Sha256& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

std::string eight_bytes(std::uint64_t number) {
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(number >> shift);
  return bytes;
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
  const std::optional<std::string> file = read_own_file(path_of(key), most_file);
  if (!file) return std::nullopt;
  const std::optional<std::string_view> cubin = read_cubin_file(*file, key);
  if (!cubin) return std::nullopt;
  return std::string(*cubin);
}

bool CubinCache::keep(const Sha256& key, std::string_view cubin) const {
  if (folder_.empty() || cubin.size() > most_file - least_file) return false;
  remove_old_temporaries(folder_, ending);
  return replace_own_file(path_of(key), cubin_file(cubin, key));
}

std::string cubin_cache_folder() { return own_cache_place("BLOCKGRAD_CUDA_CACHE", "cubins"); }

std::string cubin_of(const Nvrtc& nvrtc, const CubinRequest& request, const CubinCache& cache) {
  const Sha256 key = cubin_key(nvrtc, request);
  if (std::optional<std::string> cubin = cache.find(key)) return *std::move(cubin);
  std::string cubin = compile_cubin(nvrtc, request);
  cache.keep(key, cubin);
  return cubin;
}

}  // namespace blockgrad
