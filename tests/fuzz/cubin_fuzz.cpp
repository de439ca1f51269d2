// Any bytes are a file of the cache or are not; one that is, written again, is the same.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "backends/cuda/machine/cubin_cache.h"

using namespace blockgrad;

namespace {

// With a right checksum behind them, bytes get past it.
void try_bytes(std::string bytes, const Sha256& key, bool is_sealed) {
  if (is_sealed) {
    const Sha256 seal = sha256(bytes);
    bytes.append(reinterpret_cast<const char*>(seal.data()), seal.size());
  }
  if (const auto cubin = read_cubin_file(bytes, key); cubin && cubin_file(*cubin, key) != bytes)
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  Sha256 key{};
  if (size >= 8 + key.size()) std::memcpy(key.data(), data + 8, key.size());
  try_bytes(bytes, key, false);
  try_bytes(bytes, key, true);
  if (read_cubin_file(cubin_file(bytes, key), key) != bytes) std::abort();
  return 0;
}
