#pragma once
// Files of data: CSV tables, IDX arrays, and tensors by name in safetensors files. Every byte of a
// file is taken for hostile; what does not fit is an Error naming file, line or field, what was
// expected and what came. Only regular files are read. Everything returned is a value.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "blockgrad/graph/tensor.h"

namespace blockgrad::data {

struct CsvOptions {
  bool header = true;  // the first record holds the names; otherwise they are "0", "1", …
  char separator = ',';
  std::int64_t max_bytes = std::int64_t{1} << 30;  // of the file
};

/// The text of a CSV file, checked for its form; cells become numbers when columns are selected, so
/// a column that is not used may hold anything. Copies share the text.
///
/// Form: RFC 4180 with UTF-8 text; LF or CRLF; a byte order mark, blank lines and a missing last
/// line end are no matter. A cell that starts with a quote ends with one, may hold separators and
/// line ends, and writes a quote as two. Blanks around a cell without quotes do not belong to it.
/// Limits: 1 MB a cell, 16 MB a record, 65,536 columns.
class Table {
 public:
  /// `name` stands for the file in messages. Throws Error for a record whose number of cells is not
  /// that of the first, an open quote, a NUL byte, UTF-16, a lone carriage return, no row at all,
  /// or what exceeds a limit.
  Table(std::string text, std::string name, CsvOptions options = {});

  std::int64_t rows() const { return rows_; }
  /// In the file's order; may hold empty and equal names.
  const std::vector<std::string>& names() const { return names_; }

  /// The named columns as a tensor [rows, names.size()]. A number is a whole cell in the decimal
  /// notation of C, in every locale, rounded to the nearest value of `dtype` (what is too small
  /// gives 0); a leading + is read. An integer dtype takes integers only, boolean takes 0 and 1.
  /// Throws Error for a name that is missing or stands for two columns, and for a cell that is
  /// empty, not a number, NaN, infinite, or too large for `dtype`.
  Tensor select(std::span<const std::string> names, DType dtype = DType::f32) const;
  Tensor select(std::initializer_list<std::string_view> names, DType dtype = DType::f32) const;

  /// The cells of one column without their quotes. Throws Error like `select` for the name.
  std::vector<std::string> text(std::string_view name) const;

 private:
  std::size_t find(std::string_view name) const;

  std::shared_ptr<const std::string> text_;
  std::string name_;
  CsvOptions options_;
  std::vector<std::string> names_;
  std::int64_t rows_ = 0;
  std::size_t first_byte_ = 0;  // where the rows begin
  std::int64_t first_line_ = 1;
};

Table read_csv(const std::string& path, CsvOptions options = {});
/// The same for text in memory.
Table parse_csv(std::string_view text, std::string_view name = "text", CsvOptions options = {});

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

struct SafetensorsOptions {
  std::int64_t max_header_bytes = std::int64_t{1} << 24;
  std::int64_t max_bytes = std::int64_t{1} << 36;  // of the file
};

/// What a safetensors file holds, in the order of its header.
struct TensorFile {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;

  /// Throws Error listing the names if there is no such tensor.
  const Tensor& operator[](std::string_view name) const;
  bool contains(std::string_view name) const;
};

/// Reads dtypes F32, F64, BF16, F16, I32, I64, U8 and BOOL. Throws Error for a header that is not
/// the format's JSON (unknown or repeated keys, trailing text, nesting), a dtype not listed, more
/// than 8 axes, a size that does not fit its bytes, bytes that overlap, leave a gap or follow the
/// last tensor, a BOOL byte other than 0 and 1, and for what exceeds a limit. Values, NaN included,
/// are taken as they are.
TensorFile read_safetensors(const std::string& path, SafetensorsOptions options = {});

/// Replaces `path` as a whole, like write_text_file; other readers of the format can load it. Names
/// and metadata are UTF-8 without NUL, at most 4,096 bytes a name. Throws Error for a repeated
/// name, for the name "__metadata__", and for a file that cannot be written; the old file is then
/// as it was.
void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

struct IdxOptions {
  std::int64_t max_bytes = std::int64_t{1} << 34;  // of the file, and of the values
};

/// The array in an IDX file, the format of MNIST: two zero bytes, the type of the elements, the
/// number of axes, their sizes and the elements, big-endian. The file may be packed by gzip (in
/// builds with zlib). u8, i32, f32 and f64 stay what they are; 8-bit and 16-bit signed integers
/// become i32. Values, NaN included, are taken as they are. Throws Error for other types, no axis
/// or more than 8, a size of 0, less or more bytes than the header announces, damage that gzip
/// notices, and for what exceeds a limit.
Tensor read_idx(const std::string& path, IdxOptions options = {});
/// The same for bytes in memory; `name` stands for the file in messages.
Tensor parse_idx(std::string_view bytes, std::string_view name = "bytes", IdxOptions options = {});

}  // namespace blockgrad::data
