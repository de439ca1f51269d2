// read_idx: a header of 4 + 4 * axes bytes, then the elements, all big-endian.
// Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", file formats.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>

#include "blockgrad/data/readers.h"
#include "data/bytes.h"
#include "data/gzip.h"
#include "data/message.h"

namespace blockgrad::data {

namespace {

// The bytes of a file, unpacked on the way where gzip packed them.
class Source {
 public:
  Source(std::string_view bytes, std::string_view name) : bytes_(bytes), name_(name) {
    if (detail::is_gzip(bytes)) gunzip_.emplace(bytes, name_);
  }

  const std::string& name() const { return name_; }
  /// How many more bytes there can be at most.
  std::int64_t most_left() const {
    const auto size = static_cast<std::int64_t>(bytes_.size());
    return gunzip_ ? checked_multiply(size, detail::Gunzip::most_per_byte) : size - at_;
  }
  void read(void* to, std::int64_t bytes) {
    if (gunzip_) return gunzip_->read(to, bytes);
    const auto size = static_cast<std::int64_t>(bytes_.size());
    require(bytes <= size - at_, name_, ": the data ends after ", size, " bytes");
    std::copy_n(bytes_.data() + at_, bytes, static_cast<char*>(to));
    at_ += bytes;
  }
  void expect_end() {
    if (gunzip_) return gunzip_->expect_end();
    require(at_ == static_cast<std::int64_t>(bytes_.size()), name_, ": the data goes on after ",
            at_, " bytes");
  }

 private:
  std::string_view bytes_;
  std::string name_;
  std::int64_t at_ = 0;
  std::optional<detail::Gunzip> gunzip_;
};

struct ElementType {
  int code;           // third byte of the file
  std::int64_t size;  // bytes in the file
  DType dtype;        // in the tensor
};

constexpr ElementType element_types[] = {
    {0x08, 1, DType::u8},  {0x09, 1, DType::i32}, {0x0B, 2, DType::i32},
    {0x0C, 4, DType::i32}, {0x0D, 4, DType::f32}, {0x0E, 8, DType::f64},
};

struct Header {
  ElementType type;
  Shape shape;
};

Header read_header(Source& source) {
  std::array<unsigned char, 4> start{};
  source.read(start.data(), 4);
  require(start[0] == 0 && start[1] == 0, source.name(),
          ": expected an IDX file, which begins with two zero bytes, got ", int{start[0]}, " and ",
          int{start[1]});
  const auto* const type =
      std::find_if(std::begin(element_types), std::end(element_types),
                   [&](const ElementType& known) { return known.code == start[2]; });
  require(type != std::end(element_types), source.name(),
          ": expected elements of type 8, 9, 11, 12, 13 or 14, got type ", int{start[2]});
  const int rank = start[3];
  require(rank >= 1 && rank <= max_rank, source.name(), ": expected 1 to ", max_rank, " axes, got ",
          rank);
  std::vector<std::int64_t> sizes;
  for (int axis = 0; axis < rank; ++axis) {
    std::array<unsigned char, 4> bytes{};
    source.read(bytes.data(), 4);
    sizes.push_back((std::int64_t{bytes[0]} << 24) | (bytes[1] << 16) | (bytes[2] << 8) | bytes[3]);
    require(sizes.back() > 0, source.name(), ": axis ", axis, " has size 0; expected at least 1");
  }
  try {
    return {*type, Shape(sizes)};
  } catch (const Error& error) {
    fail({source.name(), ": ", error.what()});
  }
}

template <class Bits>
Bits from_big_endian(const unsigned char* bytes) {
  Bits bits = 0;
  for (std::size_t i = 0; i < sizeof(Bits); ++i) bits = static_cast<Bits>(bits << 8 | bytes[i]);
  return bits;
}

// Elements of the file's bytes, in order; `to` holds what dtype says.
void convert(const ElementType& type, const unsigned char* from, std::int64_t count,
             std::byte* to) {
  const auto each = [&]<class To>(To* out, auto element) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = element(from + i * type.size);
  };
  auto* const whole = reinterpret_cast<std::int32_t*>(to);
  switch (type.code) {
    case 0x08: return each(reinterpret_cast<std::uint8_t*>(to), [](auto* b) { return *b; });
    case 0x09: return each(whole, [](auto* b) { return static_cast<std::int8_t>(*b); });
    case 0x0B:
      return each(whole, [](auto* b) {
        return static_cast<std::int16_t>(from_big_endian<std::uint16_t>(b));
      });
    case 0x0C:
      return each(whole, [](auto* b) {
        return static_cast<std::int32_t>(from_big_endian<std::uint32_t>(b));
      });
    case 0x0D:
      return each(reinterpret_cast<float*>(to),
                  [](auto* b) { return std::bit_cast<float>(from_big_endian<std::uint32_t>(b)); });
    default:
      return each(reinterpret_cast<double*>(to),
                  [](auto* b) { return std::bit_cast<double>(from_big_endian<std::uint64_t>(b)); });
  }
}

}  // namespace

Tensor parse_idx(std::string_view bytes, std::string_view name, IdxOptions options) {
  Source source(bytes, name);
  const Header header = read_header(source);
  const TensorType type{header.type.dtype, header.shape};
  const std::int64_t announced = checked_multiply(header.shape.size(), header.type.size);
  const std::int64_t wanted = std::max(announced, bytes_of(type));
  require(wanted <= options.max_bytes, source.name(), ": expected at most ", options.max_bytes,
          " bytes of values, got ", wanted, " for ", header.shape);
  require(announced <= source.most_left(), source.name(), ": ", header.shape, " elements take ",
          announced, " bytes, but at most ", source.most_left(), " can follow the header");
  auto data = allocate_bytes(bytes_of(type));
  constexpr std::int64_t block = 1 << 16;
  std::vector<unsigned char> buffer(
      static_cast<std::size_t>(std::min(block, header.shape.size()) * header.type.size));
  const auto wide = static_cast<std::int64_t>(size_of(type.dtype));
  for (std::int64_t at = 0; at < header.shape.size(); at += block) {
    const std::int64_t count = std::min(block, header.shape.size() - at);
    source.read(buffer.data(), count * header.type.size);
    convert(header.type, buffer.data(), count, data.get() + at * wide);
  }
  source.expect_end();
  return adopt(type, std::move(data));
}

Tensor read_idx(const std::string& path, IdxOptions options) {
  const std::string text = detail::read_text(path, options.max_bytes);
  return parse_idx(text, detail::shown(path, 4096), options);
}

}  // namespace blockgrad::data
