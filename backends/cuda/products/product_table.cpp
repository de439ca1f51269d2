#include "backends/cuda/products/product_table.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <optional>

#include "backends/cuda/machine/own_file.h"
#include "backends/cuda/machine/sha256.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

namespace {

constexpr std::size_t most_file = std::size_t{16} << 20, most_line = 1024, most_text = 128;
constexpr std::string_view first_line = R"({"blockgrad":"products","version":1})";
constexpr std::string_view sum_begin = R"({"sha256":")", sum_end = R"("})";

/// Texts are such that JSON needs no escapes.
bool is_plain(std::string_view text) {
  if (text.size() > most_text) return false;
  for (const char c : text) {
    if (c < ' ' || c > '~' || c == '"' || c == '\\') return false;
  }
  return true;
}

std::string plain(std::string_view text) {
  std::string result(text.substr(0, most_text));
  for (char& c : result) {
    if (!is_plain({&c, 1})) c = '?';
  }
  return result;
}

std::string_view provider_text(ProductEntry::Provider provider) {
  switch (provider) {
    case ProductEntry::Provider::own: return "own";
    case ProductEntry::Provider::cublaslt: return "cublaslt";
  }
  return "?";
}

std::string algorithm_text(const ProductEntry& entry) {
  std::string text;
  if (entry.provider == ProductEntry::Provider::cublaslt) {
    for (const std::uint64_t word : entry.algorithm.data) text += fmt::format("{:016x}", word);
  }
  return text;
}

std::string line_of(const ProductKey& key, const ProductEntry& entry) {
  return fmt::format(
      R"({{"device":"{}","processors":{},"m":{},"n":{},"k":{},"batch":{},"majors":"{}",)"
      R"("shared":"{}","alignments":[{},{},{}],"dtypes":"{}","compute":"{}","epilogue":"{}",)"
      R"("provider":"{}","algorithm":"{}","library":{},"cut_for":{},"workspace":{},)"
      R"("nanoseconds":{},"spread":{}}})",
      plain(key.device), key.processors, key.m, key.n, key.k, key.batch, key.majors, key.shared,
      key.alignments[0], key.alignments[1], key.alignments[2], key.dtypes, key.compute,
      key.epilogue, provider_text(entry.provider), algorithm_text(entry), entry.library,
      entry.cut_for, entry.workspace, entry.nanoseconds, entry.spread);
}

/// Takes a line apart from its front.
class Reader {
 public:
  explicit Reader(std::string_view rest) : rest_(rest) {}

  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }
  template <class T>
  bool number(T& to) {
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), to);
    if (error != std::errc() || to < 0) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return true;
  }
  bool text(std::string& to) {
    const std::size_t end = take("\"") ? rest_.find('"') : std::string_view::npos;
    if (end == std::string_view::npos || !is_plain(rest_.substr(0, end))) return false;
    to = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return true;
  }
  template <class T>
  bool field(std::string_view name, T& to) {
    if (!take(fmt::format("{}\"{}\":", is_first_ ? "{" : ",", name))) return false;
    is_first_ = false;
    if constexpr (std::is_same_v<T, std::string>) return text(to);
    else return number(to);
  }

 private:
  std::string_view rest_;
  bool is_first_ = true;
};

bool read_alignments(Reader& reader, ProductKey& key) {
  return reader.take(",\"alignments\":[") && reader.number(key.alignments[0]) && reader.take(",") &&
         reader.number(key.alignments[1]) && reader.take(",") && reader.number(key.alignments[2]) &&
         reader.take("]");
}

bool read_provider(std::string_view text, std::string_view algorithm, ProductEntry& entry) {
  if (text == "own") return algorithm.empty();
  if (text != "cublaslt" || algorithm.size() != 16 * entry.algorithm.data.size()) return false;
  entry.provider = ProductEntry::Provider::cublaslt;
  for (std::size_t i = 0; i < entry.algorithm.data.size(); ++i) {
    const std::string_view digits = algorithm.substr(16 * i, 16);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + 16, entry.algorithm.data[i], 16);
    if (error != std::errc() || end != digits.data() + 16) return false;
  }
  return true;
}

/// What is written again is the same text, or it was none of ours.
bool read_line(std::string_view line, ProductKey& key, ProductEntry& entry) {
  Reader reader(line);
  std::string provider, algorithm;
  return reader.field("device", key.device) && reader.field("processors", key.processors) &&
         reader.field("m", key.m) && reader.field("n", key.n) && reader.field("k", key.k) &&
         reader.field("batch", key.batch) && reader.field("majors", key.majors) &&
         reader.field("shared", key.shared) && read_alignments(reader, key) &&
         reader.field("dtypes", key.dtypes) && reader.field("compute", key.compute) &&
         reader.field("epilogue", key.epilogue) && reader.field("provider", provider) &&
         reader.field("algorithm", algorithm) && reader.field("library", entry.library) &&
         reader.field("cut_for", entry.cut_for) && reader.field("workspace", entry.workspace) &&
         reader.field("nanoseconds", entry.nanoseconds) && reader.field("spread", entry.spread) &&
         read_provider(provider, algorithm, entry) && line_of(key, entry) == line;
}

std::string_view name_of(lt::Type type) {
  switch (type) {
    case lt::Type::f32: return "f32";
    case lt::Type::f64: return "f64";
    case lt::Type::f16: return "f16";
    case lt::Type::bf16: return "bf16";
  }
  return "?";
}

std::string_view name_of(lt::Compute compute) {
  switch (compute) {
    case lt::Compute::f32:
    case lt::Compute::f32_pedantic: return "f32";
    case lt::Compute::f64: return "f64";
    case lt::Compute::f32_as_tf32: return "f32 as tf32";
  }
  return "?";
}

}  // namespace

ProductKey product_key(std::string device, int processors, const CudaProduct& product,
                       const LtProblem& problem) {
  ProductKey key{.device = plain(device),
                 .processors = processors,
                 .m = product.m,
                 .n = product.n,
                 .k = product.k,
                 .batch = product.batch};
  const auto major = [](lt::Operation operation) {
    return operation == lt::Operation::none ? 'n' : 't';
  };
  key.majors = {major(problem.right_operation), major(problem.left_operation)};
  if (problem.batch > 1) {
    const std::string a = problem.right.batch_stride == 0 ? "a" : "",
                      b = problem.left.batch_stride == 0 ? "b" : "";
    if (!(a + b).empty()) key.shared = a + b;
  }
  key.alignments[0] = problem.right.alignment;
  key.alignments[1] = problem.left.alignment;
  key.alignments[2] = problem.result.alignment;
  key.dtypes = fmt::format("{0},{0},{1}", name_of(problem.type), name_of(problem.result_type));
  key.compute = name_of(problem.compute);
  return key;
}

std::string product_table_text(const ProductTable& table) {
  std::string text = fmt::format("{}\n", first_line);
  for (const auto& [key, entry] : table) text += line_of(key, entry) + "\n";
  return text + fmt::format("{}{}{}\n", sum_begin, to_string(sha256(text)), sum_end);
}

ProductTable parse_product_table(std::string_view text, std::string_view from) {
  int number = 0;
  const auto refuse = [&](std::string_view why) {
    throw Error(fmt::format("{}, line {}: {}", from, number, why));
  };
  if (text.size() > most_file)
    throw Error(fmt::format("{}: it has over {} bytes", from, most_file));
  ProductTable table;
  for (std::string_view rest = text; !rest.empty();) {
    ++number;
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse("it has no end");
    const std::string_view line = rest.substr(0, end);
    const std::string_view before = text.substr(0, text.size() - rest.size());
    rest.remove_prefix(end + 1);
    if (line.size() > most_line) refuse(fmt::format("it has over {} bytes", most_line));
    if (number == 1) {
      if (line != first_line) refuse("no table of products, or one of another version");
    } else if (line.starts_with(sum_begin)) {
      if (line != fmt::format("{}{}{}", sum_begin, to_string(sha256(before)), sum_end))
        refuse("the sum of the lines before it is another one");
      if (!rest.empty()) refuse("lines follow the sum");
      return table;
    } else {
      ProductKey key;
      ProductEntry entry;
      if (!read_line(line, key, entry)) refuse("no entry of a table of products");
      if (!table.emplace(std::move(key), entry).second) refuse("a product named twice");
    }
  }
  throw Error(fmt::format("{}: the sum of its lines is missing at its end", from));
}

ProductTable read_product_table(const std::string& path) {
  if (path.empty() || ::access(path.c_str(), F_OK) != 0) return {};
  const std::optional<std::string> text = read_own_file(path, most_file);
  if (!text) {
    throw Error(fmt::format("{}: no file of this user that can be read, of at most {} bytes", path,
                            most_file));
  }
  return parse_product_table(*text, path);
}

void write_product_table(const std::string& path, const ProductTable& table) {
  if (path.empty()) throw Error("a table of products has no place: there is no cache folder");
  remove_old_temporaries(path.substr(0, path.rfind('/') + 1) + ".", ".jsonl");
  if (!replace_own_file(path, product_table_text(table)))
    throw Error(fmt::format("{}: the table of products cannot be written", path));
}

ProductTable add_to_product_table(const std::string& path, const ProductTable& entries) {
  if (path.empty()) throw Error("a table of products has no place: there is no cache folder");
  const OwnFileLock lock(path);
  if (!lock.is_held())
    throw Error(fmt::format(
        "{0}: the table of products cannot be written: {0}.lock cannot be a lock", path));
  ProductTable table = read_product_table(path);
  for (const auto& [key, entry] : entries) table.insert_or_assign(key, entry);
  write_product_table(path, table);
  return table;
}

std::string product_table_path() {
  return own_cache_place("BLOCKGRAD_CUDA_PRODUCTS", "products.jsonl");
}

}  // namespace blockgrad
