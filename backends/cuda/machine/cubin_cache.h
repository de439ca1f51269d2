#pragma once
// Cubins kept on disk, so that a program is compiled once on a machine. Files are looked at before
// they are believed; what is damaged, or somebody else's, is as if it were not there. Several
// processes may use one folder.

#include <optional>
#include <string>
#include <string_view>

#include "backends/cuda/machine/nvrtc.h"
#include "backends/cuda/machine/sha256.h"

namespace blockgrad {

/// The name of a cubin: a hash of text, processor, options, and the compiler's version.
Sha256 cubin_key(const Nvrtc& nvrtc, const CubinRequest& request);

/// What a file of the cache holds: "BGCUBIN1", the key, the cubin's size as 8 bytes, little-endian,
/// the cubin, and the SHA-256 of all that.
std::string cubin_file(std::string_view cubin, const Sha256& key);
/// The cubin in the bytes of a file; nothing unless they are such a file, whole, for this key.
std::optional<std::string_view> read_cubin_file(std::string_view file, const Sha256& key);

class CubinCache {
 public:
  /// In this folder, which is made when something is kept. An empty name: nothing is kept.
  explicit CubinCache(std::string folder) : folder_(std::move(folder)) {}

  const std::string& folder() const { return folder_; }
  /// Nothing if there is no good file of that key.
  std::optional<std::string> find(const Sha256& key) const;
  /// Replaces the file as a whole. False if it could not be written, or would be larger than the
  /// 64 MiB that find() reads, which is no error: the next process compiles again. Removes what
  /// writers that were ended left behind, after a day.
  bool keep(const Sha256& key, std::string_view cubin) const;

 private:
  std::string path_of(const Sha256& key) const;
  std::string folder_;
};

/// The folder that BLOCKGRAD_CUDA_CACHE names ("off": none), else cubins/ in the user's cache
/// folder for blockgrad: in XDG_CACHE_HOME, or in ~/.cache. Empty if there is none. Variables are
/// not read where the process has more rights than its user.
std::string cubin_cache_folder();

/// The cubin of the cache, or a new one, which is kept. Throws as compile_cubin.
std::string cubin_of(const Nvrtc& nvrtc, const CubinRequest& request, const CubinCache& cache);

}  // namespace blockgrad
