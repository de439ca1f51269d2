#pragma once
// Gunzip: bytes out of a gzip file (RFC 1952) in memory, as many as are asked for and no more, so
// that what a file announces limits what it may unpack to.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace blockgrad::data::detail {

/// Whether the bytes begin like a gzip file.
bool is_gzip(std::string_view bytes);

class Gunzip {
 public:
  /// Packed bytes can hold at most this many times as many: deflate's longest match, 258 bytes,
  /// takes at least 2 bits.
  static constexpr std::int64_t most_per_byte = 1032;

  /// `packed` must outlive it; `name` stands for the file in messages. Throws Error, naming the
  /// package, if this build has no zlib.
  Gunzip(std::string_view packed, std::string name);
  ~Gunzip();
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;

  /// Fills `bytes` bytes. Throws Error if the packed data is damaged or holds less.
  void read(void* to, std::int64_t bytes);
  /// Throws Error if more is packed, if the checksum is wrong, or if bytes follow.
  void expect_end();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace blockgrad::data::detail
