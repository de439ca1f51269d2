// read_safetensors, write_safetensors: a length of 8 bytes, a JSON header, and the tensors' bytes,
// all little-endian.
#include <algorithm>
#include <bit>
#include <utility>

#include "blockgrad/data/readers.h"
#include "data/atomic_file.h"
#include "data/bytes.h"
#include "data/message.h"
#include "data/safetensors_header.h"

namespace blockgrad::data {

static_assert(std::endian::native == std::endian::little,
              "tensors are read and written as they lie in memory");

namespace {

constexpr std::int64_t length_bytes = 8;

std::string read_header_text(detail::InputFile& file, std::int64_t max_bytes) {
  require(file.size() >= length_bytes, file.name(),
          ": expected a safetensors file of at least 8 bytes, got ", file.size());
  std::uint64_t length = 0;
  file.read(&length, length_bytes);
  require(length <= static_cast<std::uint64_t>(std::max<std::int64_t>(max_bytes, 0)), file.name(),
          ": expected a header of at most ", max_bytes, " bytes, got ", length);
  const auto bytes = static_cast<std::int64_t>(length);
  require(bytes <= file.size() - length_bytes, file.name(), ": the header should take ", bytes,
          " bytes, but the file ends ", file.size() - length_bytes, " bytes after its length");
  std::string text(static_cast<std::size_t>(bytes), '\0');
  file.read(text.data(), bytes);
  return text;
}

Tensor read_tensor(detail::InputFile& file, const detail::HeaderEntry& entry) {
  const std::int64_t bytes = entry.end - entry.begin;
  auto data = allocate_bytes(bytes);
  file.read(data.get(), bytes);
  if (entry.type.dtype == DType::boolean) {
    const auto* bad =
        std::find_if(data.get(), data.get() + bytes, [](std::byte b) { return b > std::byte{1}; });
    require(bad == data.get() + bytes, file.name(), ": tensor ", detail::in_quotes(entry.name),
            ": expected bytes 0 and 1, got ",
            bad == data.get() + bytes ? 0 : static_cast<int>(*bad), " at element ",
            bad - data.get());
  }
  return adopt(entry.type, std::move(data));
}

// Large elements first, so that every tensor lies at a multiple of its element size.
void place(std::vector<detail::HeaderEntry>& entries) {
  std::int64_t at = 0;
  for (const std::size_t size : {8U, 4U, 2U, 1U}) {
    for (detail::HeaderEntry& entry : entries) {
      if (size_of(entry.type.dtype) != size) continue;
      entry.begin = at;
      at = entry.end = checked_add(at, bytes_of(entry.type));
    }
  }
}

const NamedTensor* find(std::span<const NamedTensor> tensors, std::string_view name) {
  for (const NamedTensor& named : tensors)
    if (named.name == name) return &named;
  return nullptr;
}

}  // namespace

bool TensorFile::contains(std::string_view name) const { return find(tensors, name) != nullptr; }

const Tensor& TensorFile::operator[](std::string_view name) const {
  const NamedTensor* found = find(tensors, name);
  require(
      found != nullptr, "no tensor ", detail::in_quotes(name), " in the file; it holds ",
      detail::list(tensors, [](const NamedTensor& named) { return std::string_view(named.name); }));
  return found->tensor;
}

TensorFile read_safetensors(const std::string& path, SafetensorsOptions options) {
  detail::InputFile file(path, options.max_bytes);
  const std::string text = read_header_text(file, options.max_header_bytes);
  const std::int64_t data_bytes =
      file.size() - length_bytes - static_cast<std::int64_t>(text.size());
  detail::Header header = detail::parse_header(text, data_bytes, file.name());
  TensorFile result;
  result.tensors.resize(header.entries.size());
  for (const std::size_t i : detail::order_of_bytes(header.entries)) {
    result.tensors[i] = {header.entries[i].name, read_tensor(file, header.entries[i])};
  }
  file.expect_end();
  result.metadata = std::move(header.metadata);
  return result;
}

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string name = detail::checked_path(path);
  detail::Header header;
  header.metadata = metadata;
  for (const NamedTensor& named : tensors)
    header.entries.push_back({named.name, named.tensor.type(), 0, 0});
  place(header.entries);
  const std::string text = detail::header_text(header, name);
  const std::int64_t limit = SafetensorsOptions{}.max_header_bytes;
  require(static_cast<std::int64_t>(text.size()) <= limit, name,
          ": names and metadata take a header of ", text.size(), " bytes, expected at most ",
          limit);

  detail::AtomicFile file(path);
  const auto length = static_cast<std::uint64_t>(text.size());
  file.write(&length, length_bytes);
  file.write(text.data(), static_cast<std::int64_t>(text.size()));
  for (const std::size_t i : detail::order_of_bytes(header.entries)) {
    file.write(tensors[i].tensor.bytes(), header.entries[i].end - header.entries[i].begin);
  }
  file.commit();
}

}  // namespace blockgrad::data
