// Any bytes are an array or an Error; an array, written again and packed, is the same one.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "blockgrad/data/readers.h"
#if BLOCKGRAD_HAS_ZLIB
#include <zlib.h>
#endif

using namespace blockgrad;
using namespace blockgrad::data;

namespace {

constexpr IdxOptions limits{.max_bytes = 1 << 20};

bool same(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

// The bytes of i32 elements, big-endian, behind a header of their own.
std::string written(const Tensor& tensor) {
  const Tensor whole = tensor.astype(DType::i32);
  std::string text("\0\0\x0c", 3);
  const auto append = [&](std::uint32_t bits) {
    for (int shift = 24; shift >= 0; shift -= 8)
      text += static_cast<char>(static_cast<unsigned char>(bits >> shift));
  };
  text += static_cast<char>(whole.shape().rank());
  for (const std::int64_t size : whole.shape().sizes()) append(static_cast<std::uint32_t>(size));
  for (const std::int32_t value : whole.span<std::int32_t>())
    append(static_cast<std::uint32_t>(value));
  return text;
}

#if BLOCKGRAD_HAS_ZLIB
// One gzip member: the wrapper that zlib's compress does not write is asked for by 16.
std::string packed(std::string bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) std::abort();
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
#endif

void check(const Tensor& tensor, const std::string& bytes) {
#if BLOCKGRAD_HAS_ZLIB
  if (!bytes.starts_with("\x1f\x8b") && !same(parse_idx(packed(bytes)), tensor)) std::abort();
#else
  (void)bytes;
#endif
  if (is_floating(tensor.dtype())) return;
  if (!same(parse_idx(written(tensor)), tensor.astype(DType::i32))) std::abort();
}

// What `check` does must not fail, so it is outside of the `try`.
void try_bytes(const std::string& bytes) {
  std::optional<Tensor> tensor;
  try {
    tensor = parse_idx(bytes, "fuzz", limits);
  } catch (const Error&) {
    return;
  }
  check(*tensor, bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  try_bytes(bytes);
#if BLOCKGRAD_HAS_ZLIB
  // Random bytes are hardly ever a packed file, so the reader behind it gets them packed too.
  try_bytes(packed(bytes));
#endif
  return 0;
}
