#pragma once
// The JSON header of a safetensors file: {"name": {"dtype", "shape", "data_offsets"}, …,
// "__metadata__": {…}}.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/data/readers.h"

namespace blockgrad::data::detail {

/// One tensor: its bytes are [begin, end) of the data section.
struct HeaderEntry {
  std::string name;
  TensorType type;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

struct Header {
  std::vector<HeaderEntry> entries;  // in the text's order
  std::map<std::string, std::string> metadata;
};

/// Reads and checks the text; the tensors must tile [0, data_bytes). Messages begin with `file`.
/// Throws Error for everything that read_safetensors refuses in a header.
Header parse_header(std::string_view text, std::int64_t data_bytes, std::string_view file);

/// The text of a header, padded with blanks so that the data section begins at a multiple of 8
/// bytes of the file. Throws Error for names and metadata that a reader would refuse.
std::string header_text(const Header& header, std::string_view file);

/// Indices of the entries in the order of their bytes.
std::vector<std::size_t> order_of_bytes(std::span<const HeaderEntry> entries);

}  // namespace blockgrad::data::detail
