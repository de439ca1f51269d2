#include "data/gzip.h"

#include "blockgrad/graph/error.h"

#if BLOCKGRAD_HAS_ZLIB
#include <zlib.h>

#include <algorithm>
#include <limits>
#endif

namespace blockgrad::data::detail {

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

#if BLOCKGRAD_HAS_ZLIB

struct Gunzip::State {
  std::string name;
  std::string_view rest;  // packed bytes that zlib has not been given
  z_stream stream{};
  std::int64_t unpacked = 0;
  bool at_end = false;

  void refill();
  std::int64_t read_some(void* to, std::int64_t bytes);
};

namespace {
constexpr std::int64_t most_per_call = std::numeric_limits<int>::max();  // zlib counts in uInt
}

void Gunzip::State::refill() {
  if (stream.avail_in > 0) return;
  const std::size_t count = std::min(rest.size(), static_cast<std::size_t>(most_per_call));
  // zlib only reads through this pointer.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(rest.data()));
  stream.avail_in = static_cast<uInt>(count);
  rest.remove_prefix(count);
}

// Up to `bytes` bytes, at least one; 0 at the end, whose checksum is then right.
std::int64_t Gunzip::State::read_some(void* to, std::int64_t bytes) {
  while (!at_end) {
    refill();
    const auto room = static_cast<uInt>(std::min(bytes, most_per_call));
    stream.next_out = static_cast<Bytef*>(to);
    stream.avail_out = room;
    const int result = inflate(&stream, Z_NO_FLUSH);
    if (result == Z_MEM_ERROR) throw DeviceError(join({name, ": out of memory for unpacking"}));
    require(result != Z_BUF_ERROR, name, ": the packed data is cut off");
    require(result == Z_OK || result == Z_STREAM_END, name,
            ": the packed data is damaged: ", stream.msg ? stream.msg : "no reason given");
    at_end = result == Z_STREAM_END;
    const std::int64_t got = room - stream.avail_out;
    unpacked += got;
    if (got > 0) return got;
  }
  return 0;
}

Gunzip::Gunzip(std::string_view packed, std::string name)
    : state_(std::make_unique<State>(State{.name = std::move(name), .rest = packed})) {
  constexpr int largest_window = 15, gzip_only = 16;
  if (inflateInit2(&state_->stream, largest_window + gzip_only) != Z_OK)
    throw DeviceError(join({state_->name, ": out of memory for unpacking"}));
}

Gunzip::~Gunzip() { inflateEnd(&state_->stream); }

void Gunzip::read(void* to, std::int64_t bytes) {
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t got = state_->read_some(static_cast<char*>(to) + done, bytes - done);
    require(got > 0, state_->name, ": the data ends after ", state_->unpacked, " bytes");
    done += got;
  }
}

void Gunzip::expect_end() {
  const std::int64_t announced = state_->unpacked;
  char more = 0;
  require(state_->read_some(&more, 1) == 0, state_->name, ": the data goes on after ", announced,
          " bytes");
  const std::size_t behind = state_->stream.avail_in + state_->rest.size();
  require(behind == 0, state_->name, ": ", behind, " bytes follow the packed data");
}

#else

struct Gunzip::State {};

Gunzip::Gunzip(std::string_view, std::string name) {
  fail({name,
        ": is packed by gzip, and this build has no zlib; unpack it with gunzip, or install "
        "zlib1g-dev (Debian's name) and build again"});
}
Gunzip::~Gunzip() = default;
void Gunzip::read(void*, std::int64_t) {}
void Gunzip::expect_end() {}

#endif

}  // namespace blockgrad::data::detail
