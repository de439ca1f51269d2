// The table of measured products: what is written is read again, all else is refused with its line.
#include "backends/cuda/products/product_table.h"

#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "backends/cuda/machine/sha256.h"
#include "blockgrad/graph/error.h"
#include "data/support.h"
#include "support/checks.h"

using namespace blockgrad;
using data_test::read_bytes;
using data_test::TemporaryFolder;
using data_test::write_bytes;
using test_support::error_of;

namespace {

const ProductKey key{.device = "NVIDIA H200",
                     .processors = 132,
                     .m = 65536,
                     .n = 768,
                     .k = 3072,
                     .majors = "nt",
                     .alignments = {16, 8, 16},
                     .dtypes = "bf16,bf16,bf16"};
const ProductEntry entry{.provider = ProductEntry::Provider::cublaslt,
                         .algorithm = {{1, 2, 3, 0xfedcba9876543210, 5, 6, 7, 8}},
                         .library = 130100,
                         .workspace = 4096,
                         .nanoseconds = 421700,
                         .spread = 1300};

ProductTable small_table() {
  ProductKey other = key;
  other.batch = 12;
  other.shared = "b";
  return {{key, entry}, {other, {.cut_for = 66, .nanoseconds = 5}}};
}

std::string sealed(const std::string& text) {
  return text + "{\"sha256\":\"" + to_string(sha256(text)) + "\"}\n";
}

std::string why_not(const std::string& text) {
  return error_of([&] { parse_product_table(text, "t"); });
}

const std::string first = "{\"blockgrad\":\"products\",\"version\":1}\n";
// The first entry of small_table().
const std::string line =
    R"({"device":"NVIDIA H200","processors":132,"m":65536,"n":768,"k":3072,"batch":1,)"
    R"("majors":"nt","shared":"no","alignments":[16,8,16],"dtypes":"bf16,bf16,bf16",)"
    R"("compute":"f32","epilogue":"none","provider":"cublaslt","algorithm":")"
    R"(000000000000000100000000000000020000000000000003fedcba9876543210)"
    R"(0000000000000005000000000000000600000000000000070000000000000008",)"
    R"("library":130100,"cut_for":0,"workspace":4096,"nanoseconds":421700,"spread":1300})"
    "\n";

std::string with(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(product_table)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_again) {
  const std::string text = product_table_text(small_table());
  BOOST_TEST((parse_product_table(text, "t") == small_table()));
  BOOST_TEST(text.starts_with(first + line), text);
  BOOST_TEST((parse_product_table(product_table_text({}), "t") == ProductTable{}));
}

BOOST_AUTO_TEST_CASE(lines_that_are_no_entries_are_refused) {
  const std::string wrong = "t, line 2: no entry of a table of products";
  BOOST_TEST(parse_product_table(sealed(first + line), "t").size() == 1u);
  const char* const edits[][2] = {
      {"65536", "-1"},       {"65536", "065536"},          {"65536", "99999999999999999999"},
      {"132", "4294967296"}, {"NVIDIA", "NV\\u0049DIA"},   {"H200", "H\"200"},
      {"\"m\"", "\"x\""},    {"cublaslt", "cudnn"},        {"0001", "00001"},
      {"fedc", "FEDC"},      {"cublaslt", "own"},          {"[16,8,16]", "[16,8]"},
      {"}", ",\"more\":1}"}, {"\"none\"", "\"no\x7fne\""}, {"421700", "4.2e5"}};
  for (const auto& [from, to] : edits)
    BOOST_TEST(why_not(sealed(first + with(line, from, to))) == wrong, from << " -> " << to);
  BOOST_TEST(why_not(sealed(first + "\n")) == wrong);
  BOOST_TEST(why_not(sealed(first + line + line)) == "t, line 3: a product named twice");
  BOOST_TEST(why_not(sealed(first + std::string(1025, 'x') + "\n")) ==
             "t, line 2: it has over 1024 bytes");
}

BOOST_AUTO_TEST_CASE(texts_that_are_no_tables_are_refused) {
  const std::string no_sum = "t: the sum of its lines is missing at its end";
  BOOST_TEST(why_not("") == no_sum);
  BOOST_TEST(why_not(first) == no_sum);
  BOOST_TEST(why_not(first + line) == no_sum);
  BOOST_TEST(why_not(first + line.substr(0, 40)) == "t, line 2: it has no end");
  BOOST_TEST(why_not(with(first, "1", "2")) ==
             "t, line 1: no table of products, or one of another version");
  BOOST_TEST(why_not(sealed(first) + line) == "t, line 2: lines follow the sum");
  BOOST_TEST(why_not(with(sealed(first + line), "768", "769")) ==
             "t, line 3: the sum of the lines before it is another one");
  BOOST_TEST(why_not(std::string((std::size_t{16} << 20) + 1, '\n')) ==
             "t: it has over 16777216 bytes");
}

BOOST_AUTO_TEST_CASE(any_byte_that_changes_is_noticed) {
  const std::string text = product_table_text(small_table());
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    BOOST_CHECK_THROW(parse_product_table(changed, "t"), Error);
  }
}

BOOST_AUTO_TEST_CASE(a_file_is_replaced_as_a_whole_and_is_the_users_alone) {
  const TemporaryFolder folder;
  const std::string path = folder / "a/b/products.jsonl";
  BOOST_TEST((read_product_table(path) == ProductTable{}));
  write_product_table(path, {});
  write_product_table(path, small_table());
  BOOST_TEST((read_product_table(path) == small_table()));
  struct stat status{};
  BOOST_TEST_REQUIRE(::stat(path.c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0600u);
  BOOST_TEST(::symlink(path.c_str(), (folder / "link").c_str()) == 0);
  BOOST_TEST(error_of([&] { read_product_table(folder / "link"); }) ==
             folder / "link" + std::string(": no file of this user that can be read, of at most "
                                           "16777216 bytes"));
  BOOST_TEST(error_of([&] { write_product_table("", {}); }) ==
             "a table of products has no place: there is no cache folder");
  write_bytes(folder / "file", "");
  const std::string below = folder / "file/products.jsonl";
  BOOST_TEST(error_of([&] { write_product_table(below, {}); }) ==
             below + ": the table of products cannot be written");
}

BOOST_AUTO_TEST_CASE(writers_at_the_same_time_lose_nothing_of_each_other) {
  const TemporaryFolder folder;
  const std::string path = folder / "a/products.jsonl";
  constexpr int writers = 4, entries = 12;
  {
    std::vector<std::jthread> threads;
    for (int writer = 0; writer < writers; ++writer) {
      threads.emplace_back([&, writer] {
        for (int i = 0; i < entries; ++i)
          add_to_product_table(
              path, {{ProductKey{.device = "a GPU", .m = writer, .n = i}, ProductEntry{}}});
      });
    }
  }
  BOOST_TEST(read_product_table(path).size() == std::size_t{writers * entries});
  const ProductKey known{.device = "a GPU", .m = 1, .n = 2};
  BOOST_TEST(add_to_product_table(path, {{known, {.nanoseconds = 7}}}).at(known).nanoseconds == 7);
  write_bytes(folder / "file", "");
  const std::string below = folder / "file/products.jsonl";
  BOOST_TEST(error_of([&] { add_to_product_table(below, {}); }) ==
             below + ": the table of products cannot be written: " + below +
                 ".lock cannot be a lock");
}

BOOST_AUTO_TEST_CASE(a_variable_names_the_file_or_that_there_is_none) {
  const char* before = std::getenv("BLOCKGRAD_CUDA_PRODUCTS");
  const std::string kept = before ? before : "";
  ::setenv("BLOCKGRAD_CUDA_PRODUCTS", "/a/table", 1);
  BOOST_TEST(product_table_path() == "/a/table");
  ::setenv("BLOCKGRAD_CUDA_PRODUCTS", "off", 1);
  BOOST_TEST(product_table_path() == "");
  ::unsetenv("BLOCKGRAD_CUDA_PRODUCTS");
  const std::string path = product_table_path();
  BOOST_TEST((path.empty() || path.ends_with("/blockgrad/products.jsonl")), path);
  if (before) ::setenv("BLOCKGRAD_CUDA_PRODUCTS", kept.c_str(), 1);
}

BOOST_AUTO_TEST_CASE(a_key_tells_what_time_depends_on) {
  const CudaProduct product{.m = 4, .n = 8, .k = 16, .batch = 3, .dtype = DType::bf16};
  LtProblem problem{.right_operation = lt::Operation::transpose,
                    .type = lt::Type::bf16,
                    .result_type = lt::Type::f32,
                    .batch = 3};
  problem.right.batch_stride = 64;
  problem.right.alignment = 8;
  problem.left.alignment = 4;
  problem.result.alignment = 2;
  const ProductKey got = product_key("a \"GPU\"", 66, product, problem);
  const ProductKey expected{.device = "a ?GPU?",
                            .processors = 66,
                            .m = 4,
                            .n = 8,
                            .k = 16,
                            .batch = 3,
                            .majors = "tn",
                            .shared = "b",
                            .alignments = {8, 4, 2},
                            .dtypes = "bf16,bf16,f32"};
  BOOST_TEST((got == expected));
  problem.compute = lt::Compute::f32_as_tf32;
  BOOST_TEST(product_key("", 1, product, problem).compute == "f32 as tf32");
}

BOOST_AUTO_TEST_SUITE_END()
