// Any bytes are a table of products or are refused; one that is, written again, is the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "backends/cuda/machine/sha256.h"
#include "backends/cuda/products/product_table.h"
#include "blockgrad/graph/error.h"

using namespace blockgrad;

namespace {

void try_text(const std::string& text) {
  ProductTable table;
  try {
    table = parse_product_table(text, "a file");
  } catch (const Error&) {
    return;
  }
  const std::string again = product_table_text(table);
  if (parse_product_table(again, "the same") != table) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try_text(text);
  // With the first line and a right sum around them, bytes get past both.
  const std::string lines = "{\"blockgrad\":\"products\",\"version\":1}\n" + text + "\n";
  try_text(lines + "{\"sha256\":\"" + to_string(sha256(lines)) + "\"}\n");
  return 0;
}
