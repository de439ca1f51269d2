#include "data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <tuple>
#include <utility>

#include "data/message.h"

namespace blockgrad::data::detail {

namespace {

constexpr std::string_view metadata_key = "__metadata__";
constexpr std::size_t max_name = 4096;
constexpr std::size_t max_tensors = 1'000'000;

constexpr std::array<std::pair<std::string_view, DType>, 8> dtypes{{{"F32", DType::f32},
                                                                    {"F64", DType::f64},
                                                                    {"BF16", DType::bf16},
                                                                    {"F16", DType::f16},
                                                                    {"I32", DType::i32},
                                                                    {"I64", DType::i64},
                                                                    {"U8", DType::u8},
                                                                    {"BOOL", DType::boolean}}};

std::string_view dtype_text(DType dtype) {
  return std::find_if(dtypes.begin(), dtypes.end(),
                      [=](const auto& row) { return row.second == dtype; })
      ->first;
}

std::optional<DType> dtype_named(std::string_view text) {
  for (const auto& [spelled, dtype] : dtypes)
    if (spelled == text) return dtype;
  return std::nullopt;
}

// Receives the parser's events. Depth 0: nothing is open yet; 1: the header; 2: metadata or a
// tensor; 3: a list.
class HeaderReader {
 public:
  HeaderReader(std::string_view file, Header& header) : file_(file), header_(header) {}

  // The names below are the parser's.
  bool null() { return refuse("null"); }
  bool boolean(bool) { return refuse("true or false"); }
  bool number_integer(std::int64_t) { return refuse("a negative number"); }
  bool number_float(double, const std::string&) {
    return refuse("a fraction or a number beyond 64 bits");
  }
  bool binary(std::vector<std::uint8_t>&) { return refuse("binary data"); }

  bool number_unsigned(std::uint64_t value) {
    if (depth_ != 3) return refuse("a number");
    check(value <= std::uint64_t{std::numeric_limits<std::int64_t>::max()},
          "a number does not fit 64 bits");
    const std::size_t limit = field_ == Field::shape ? static_cast<std::size_t>(max_rank) : 2;
    check(numbers_.size() < limit,
          field_ == Field::shape ? "expected at most 8 axes" : "expected two data_offsets");
    numbers_.push_back(static_cast<std::int64_t>(value));
    return true;
  }

  bool string(std::string& text) {
    if (depth_ == 2 && in_metadata_) {
      check_text(text, "a metadata value");
      check(header_.metadata.emplace(std::move(key_), std::move(text)).second,
            "a metadata key comes twice");
      return true;
    }
    if (depth_ != 2 || field_ != Field::dtype) return refuse("text");
    const auto dtype = dtype_named(text);
    check(dtype.has_value(), "expected dtype F32, F64, BF16, F16, I32, I64, U8 or BOOL, got ",
          in_quotes(text));
    entry_.type.dtype = *dtype;
    return true;
  }

  bool start_object(std::size_t) {
    if (depth_ >= 2) return refuse("an object");
    ++depth_;
    seen_ = 0;
    return true;
  }

  bool key(std::string& text) {
    if (depth_ == 1) {
      in_metadata_ = text == metadata_key;
      if (in_metadata_) {
        check(!std::exchange(has_metadata_, true), "__metadata__ comes twice");
      } else {
        entry_ = {};
        entry_.name = text;
        check(text.size() <= max_name, "expected a name of at most ", max_name, " bytes");
        check_text(text, "a name");
        check(header_.entries.size() < max_tensors, "expected at most ", max_tensors, " tensors");
      }
    } else if (in_metadata_) {
      check_text(text, "a metadata key");
      key_ = text;
    } else {
      field_ = text == "dtype" ? Field::dtype : text == "shape" ? Field::shape : Field::offsets;
      check(field_ != Field::offsets || text == "data_offsets",
            "expected dtype, shape or data_offsets, got ", in_quotes(text));
      const unsigned bit = 1U << static_cast<unsigned>(field_);
      check((seen_ & bit) == 0, text, " comes twice");
      seen_ |= bit;
    }
    return true;
  }

  bool end_object() {
    --depth_;
    if (depth_ != 1 || in_metadata_) return true;
    check(seen_ == 7, "expected dtype, shape and data_offsets");
    header_.entries.push_back(std::move(entry_));
    return true;
  }

  bool start_array(std::size_t) {
    if (depth_ != 2 || in_metadata_ || field_ == Field::dtype) return refuse("a list");
    ++depth_;
    numbers_.clear();
    return true;
  }

  bool end_array() {
    --depth_;
    if (field_ == Field::shape) {
      try {
        entry_.type.shape = Shape(std::span<const std::int64_t>(numbers_));
      } catch (const Error& error) {
        check(false, error.what());
      }
    } else {
      check(numbers_.size() == 2, "expected two data_offsets, got ", numbers_.size());
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    return true;
  }

  bool parse_error(std::size_t position, const std::string& last,
                   const nlohmann::json::exception&) {
    fail({file_, ": header: expected JSON, got ", in_quotes(last), " at byte ", position});
  }

 private:
  enum class Field : std::uint8_t { dtype, shape, offsets };

  template <class... Pieces>
  void check(bool ok, const Pieces&... pieces) const {
    if (!ok) fail({file_, ": header", where(), ": ", pieces...});
  }

  std::string where() const {
    if (depth_ < 1) return "";
    return in_metadata_ ? ": __metadata__" : ": tensor " + in_quotes(entry_.name);
  }

  bool refuse(std::string_view got) const {
    if (depth_ == 0) check(false, "expected an object, got ", got);
    if (in_metadata_) check(false, "expected an object of texts, got ", got);
    check(depth_ > 1, "expected an object, got ", got);
    constexpr std::array<std::string_view, 3> wanted{"text for dtype", "sizes for shape",
                                                     "numbers for data_offsets"};
    check(false, "expected ", wanted[static_cast<std::size_t>(field_)], ", got ", got);
    return false;
  }

  void check_text(std::string_view text, std::string_view what) const {
    check(text.find('\0') == std::string_view::npos, what, " holds a NUL");
  }

  std::string_view file_;
  Header& header_;
  HeaderEntry entry_;
  std::string key_;
  std::vector<std::int64_t> numbers_;
  int depth_ = 0;
  unsigned seen_ = 0;  // one bit for each Field
  Field field_ = Field::dtype;
  bool in_metadata_ = false;
  bool has_metadata_ = false;
};

void check_names(std::span<const HeaderEntry> entries, std::string_view file) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const HeaderEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) fail({file, ": two tensors are called ", in_quotes(*twice)});
}

void check_bytes(std::span<const HeaderEntry> entries, std::int64_t data_bytes,
                 std::string_view file) {
  std::int64_t at = 0;
  for (const std::size_t i : order_of_bytes(entries)) {
    const HeaderEntry& entry = entries[i];
    const auto where = [&] { return join({file, ": header: tensor ", in_quotes(entry.name)}); };
    if (entry.begin != at || entry.end < at)
      fail({where(), ": expected data_offsets from ", at, " on without gap or overlap, got [",
            entry.begin, ", ", entry.end, "]"});
    if (entry.end > data_bytes)
      fail({where(), ": data_offsets end at ", entry.end, ", but the file has ", data_bytes,
            " bytes of data"});
    std::int64_t bytes = 0;
    // Their number is bounded by the file's now, so a product that does not fit is a mistake as
    // well.
    if (__builtin_mul_overflow(entry.type.shape.size(),
                               static_cast<std::int64_t>(size_of(entry.type.dtype)), &bytes) ||
        bytes != entry.end - entry.begin)
      fail({where(), ": ", to_string(entry.type), " does not take the ", entry.end - entry.begin,
            " bytes of its data_offsets"});
    at = entry.end;
  }
  require(at == data_bytes, file, ": expected ", at, " bytes of data, got ", data_bytes);
}

std::string json_text(std::string_view text, std::string_view what, std::string_view file) {
  require(text.find('\0') == std::string_view::npos, file, ": ", what, " ", in_quotes(text),
          " holds a NUL");
  try {
    return nlohmann::json(text).dump();
  } catch (const nlohmann::json::exception&) {
    fail({file, ": ", what, " ", in_quotes(text), " is not UTF-8"});
  }
}

}  // namespace

std::vector<std::size_t> order_of_bytes(std::span<const HeaderEntry> entries) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::tuple(entries[a].begin, entries[a].end, a) <
           std::tuple(entries[b].begin, entries[b].end, b);
  });
  return order;
}

Header parse_header(std::string_view text, std::int64_t data_bytes, std::string_view file) {
  require(text.starts_with('{'), file,
          ": expected a header that begins with '{'; this is not a safetensors file");
  Header header;
  HeaderReader reader(file, header);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  check_names(header.entries, file);
  check_bytes(header.entries, data_bytes, file);
  return header;
}

std::string header_text(const Header& header, std::string_view file) {
  require(header.entries.size() <= max_tensors, file, ": expected at most ", max_tensors,
          " tensors");
  check_names(header.entries, file);
  std::string text = "{";
  const auto comma = [&] { return text.ends_with('{') ? "" : ","; };
  if (!header.metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : header.metadata)
      text += comma() + json_text(key, "metadata key", file) + ":" +
              json_text(value, "metadata value", file);
    text += "}";
  }
  for (const HeaderEntry& entry : header.entries) {
    require(entry.name != metadata_key, file, ": a tensor cannot be called '__metadata__'");
    require(entry.name.size() <= max_name, file, ": expected names of at most ", max_name,
            " bytes, got ", in_quotes(entry.name));
    std::string sizes;
    for (const std::int64_t size : entry.type.shape.sizes())
      sizes += (sizes.empty() ? "" : ",") + std::to_string(size);
    text += comma() + json_text(entry.name, "name", file) + ":{\"dtype\":\"" +
            std::string(dtype_text(entry.type.dtype)) + "\",\"shape\":[" + sizes +
            "],\"data_offsets\":[" + std::to_string(entry.begin) + "," + std::to_string(entry.end) +
            "]}";
  }
  text += "}";
  // The length in front of the header takes 8 bytes itself.
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace blockgrad::data::detail
