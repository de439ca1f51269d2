// The format itself: what is written, what is read, and the exact message for what is refused.
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>

#include "blockgrad/data/readers.h"
#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;
using namespace data_test;
using namespace std::string_literals;

namespace {

std::string with_length(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file + header + data;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

// What read_safetensors says of a file without the path in front.
std::string refusal(const std::string& bytes, SafetensorsOptions options = {}) {
  const TemporaryFolder folder;
  write_bytes(folder / "w", bytes);
  const std::string message = error_of([&] { read_safetensors(folder / "w", options); });
  return message.starts_with(folder / "w: ") ? message.substr((folder / "w: ").size()) : message;
}

std::string refusal_of_header(const std::string& header, std::size_t data = 0) {
  return refusal(with_length(header, std::string(data, '\0')));
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

std::vector<NamedTensor> sample() {
  return {{"mask", tensor({true, false, true}, {3})},
          {"w", tensor({1.0f, -0.0f, std::numeric_limits<float>::quiet_NaN()}, {3, 1})},
          {"größe \"a\\b\"\n", tensor({1.5, 2.5}, {2})},
          {"none", zeros({0, 4})},
          {"scalar", full({}, 7, DType::i64)},
          {"bytes", tensor({std::uint8_t{0}, std::uint8_t{255}}, {2, 1, 1})},
          {"labels", tensor({-1, 2}, {2})},
          {"half", tensor({1.5f, -2.0f, 3.0f}, {3}).astype(DType::f16)},
          {"brain", tensor({1.5f, -2.0f, 3.0f}, {3}).astype(DType::bf16)}};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors)

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back_bit_for_bit_in_its_order) {
  const TemporaryFolder folder;
  const auto tensors = sample();
  const std::map<std::string, std::string> metadata{
      {"epoch", "3"}, {"schlüssel", "\x01\n\"€"}, {"", ""}};
  write_safetensors(folder / "w", tensors, metadata);
  const TensorFile file = read_safetensors(folder / "w");
  BOOST_REQUIRE(file.tensors.size() == tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    BOOST_TEST(file.tensors[i].name == tensors[i].name);
    BOOST_TEST(same(file.tensors[i].tensor, tensors[i].tensor));
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(file.tensors[i].tensor.bytes()) % 64 == 0);
  }
  BOOST_TEST((file.metadata == metadata));
  BOOST_TEST(folder.files() == 1);
  BOOST_TEST(file.contains("w"));
  BOOST_TEST(!file.contains("v"));
  BOOST_TEST(same(file["scalar"], tensors[4].tensor));
  BOOST_TEST(error_of([&] { file["v"]; }) ==
             "no tensor 'v' in the file; it holds 'mask', 'w', 'größe \"a\\b\"\\x0a', 'none', "
             "'scalar', 'bytes', "
             "'labels', 'half', 'brain'");
}

BOOST_AUTO_TEST_CASE(the_bytes_of_a_file_are_those_of_the_format) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w",
                    std::vector<NamedTensor>{{"a", tensor({std::uint8_t{9}}, {1})},
                                             {"b", tensor({1.0f}, {1, 1})}},
                    {{"k", "v"}});
  const std::string header =
      "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]"
      "},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}}";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  BOOST_TEST(read_bytes(folder / "w") == with_length(header + padding, "\0\0\x80\x3f\x09"s));
}

BOOST_AUTO_TEST_CASE(a_file_without_tensors_is_a_file) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w", {});
  BOOST_TEST(read_bytes(folder / "w") == with_length("{}      "));
  BOOST_TEST(read_safetensors(folder / "w").tensors.empty());
}

BOOST_AUTO_TEST_CASE(headers_of_other_writers_are_read) {
  const TemporaryFolder folder;
  write_bytes(
      folder / "w",
      with_length("{ \"b\" : {\"shape\":[2], \"data_offsets\":[4, 12], \"dtype\":\"F32\"},\n"
                  "\"a\":" +
                      entry("I32", "[]", "[0,4]") + ", \"__metadata__\" : {} }",
                  std::string(12, '\1')));
  const TensorFile file = read_safetensors(folder / "w");
  BOOST_TEST(file.tensors[0].name == "b");
  BOOST_TEST(file["a"].at(0) == 0x01010101);
}

BOOST_AUTO_TEST_CASE(files_that_are_too_short_or_too_long_are_refused) {
  BOOST_TEST(refusal("") == "expected a safetensors file of at least 8 bytes, got 0");
  BOOST_TEST(refusal("1234567") == "expected a safetensors file of at least 8 bytes, got 7");
  BOOST_TEST(refusal("\3\0\0\0\0\0\0\0{}"s) ==
             "the header should take 3 bytes, but the file ends 2 bytes after its length");
  BOOST_TEST(refusal(std::string(8, '\0')) ==
             "expected a header that begins with '{'; this is not a safetensors file");
  BOOST_TEST(refusal(std::string(8, '\xff') + "{}") ==
             "expected a header of at most 16777216 bytes, got 18446744073709551615");
  BOOST_TEST(refusal("\0\0\0\0\0\0\0\x80{}"s) ==
             "expected a header of at most 16777216 bytes, got 9223372036854775808");
  BOOST_TEST(refusal(with_length("{}"), {.max_header_bytes = 1}) ==
             "expected a header of at most 1 bytes, got 2");
  BOOST_TEST(refusal(with_length("{}"), {.max_bytes = 9}) == "expected at most 9 bytes, got 10");
  BOOST_TEST(refusal_of_header("{}", 1) == "expected 0 bytes of data, got 1");
}

BOOST_AUTO_TEST_CASE(headers_that_are_not_the_formats_json_are_refused) {
  BOOST_TEST(refusal_of_header("{") == "header: expected JSON, got '{' at byte 2");
  BOOST_TEST(refusal_of_header("{}}") == "header: expected JSON, got '{}}' at byte 3");
  BOOST_TEST(
      refusal_of_header("{\"a\xff\":1}").starts_with("header: expected JSON, got '\"a\\xff"));
  BOOST_TEST(refusal_of_header("{\"\\ud800\":1}").starts_with("header: expected JSON"));
  BOOST_TEST(refusal_of_header("{\"a\\u0000\":1}") ==
             "header: tensor 'a\\x00': a name holds a NUL");
  BOOST_TEST(refusal_of_header("{\"a\":1}") ==
             "header: tensor 'a': expected an object, got a number");
  BOOST_TEST(refusal_of_header("{\"a\":[1]}") ==
             "header: tensor 'a': expected an object, got a list");
  BOOST_TEST(refusal_of_header("{\"a\":{}}") ==
             "header: tensor 'a': expected dtype, shape and data_offsets");
  BOOST_TEST(refusal_of_header("{\"a\":{\"size\":3}}") ==
             "header: tensor 'a': expected dtype, shape or data_offsets, got 'size'");
  BOOST_TEST(refusal_of_header("{\"a\":{\"shape\":[],\"shape\":[]}}") ==
             "header: tensor 'a': shape comes twice");
  BOOST_TEST(refusal_of_header("{\"a\":{\"shape\":[[]]}}") ==
             "header: tensor 'a': expected sizes for shape, got a list");
  BOOST_TEST(refusal_of_header("{\"a\":{\"shape\":{}}}") ==
             "header: tensor 'a': expected sizes for shape, got an object");
  BOOST_TEST(refusal_of_header("{\"a\":{\"dtype\":3}}") ==
             "header: tensor 'a': expected text for dtype, got a number");
  BOOST_TEST(refusal_of_header("{\"a\":{\"dtype\":[\"F32\"]}}") ==
             "header: tensor 'a': expected text for dtype, got a list");
  BOOST_TEST(refusal_of_header("{\"a\":{\"data_offsets\":\"0,4\"}}") ==
             "header: tensor 'a': expected numbers for data_offsets, got text");
  BOOST_TEST(refusal_of_header("{\"a\":{\"data_offsets\":[1.5]}}") ==
             "header: tensor 'a': expected numbers for data_offsets, got a fraction or a number "
             "beyond 64 bits");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":{\"a\":1}}") ==
             "header: __metadata__: expected an object of texts, got a number");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":{\"a\":{}}}") ==
             "header: __metadata__: expected an object of texts, got an object");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":{\"a\":[]}}") ==
             "header: __metadata__: expected an object of texts, got a list");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}") ==
             "header: __metadata__: a metadata key comes twice");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":{},\"__metadata__\":{}}") ==
             "header: __metadata__: __metadata__ comes twice");
  BOOST_TEST(refusal_of_header("{\"__metadata__\":null}") ==
             "header: __metadata__: expected an object of texts, got null");
  const std::string a = "\"a\":" + entry("U8", "[0]", "[0,0]");
  BOOST_TEST(refusal_of_header("{" + a + "," + a + "}") == "two tensors are called 'a'");
  BOOST_TEST(refusal_of_header("{\"" + std::string(5000, 'n') + "\":1}") ==
             "header: tensor '" + std::string(60, 'n') +
                 "…': expected a name of at most 4096 bytes");
  std::string deep = "{\"a\":";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  BOOST_TEST(refusal_of_header(deep) == "header: tensor 'a': expected an object, got a list");
}

BOOST_AUTO_TEST_CASE(shapes_and_offsets_that_do_not_fit_the_bytes_are_refused) {
  const auto one = [](const std::string& dtype, const std::string& shape,
                      const std::string& offsets, std::size_t data) {
    return refusal_of_header("{\"a\":" + entry(dtype, shape, offsets) + "}", data);
  };
  BOOST_TEST(one("F32", "[2]", "[0,8]", 8) == "no error");
  BOOST_TEST(one("F8_E4M3", "[4]", "[0,4]", 4) ==
             "header: tensor 'a': expected dtype F32, F64, BF16, F16, I32, I64, U8 or BOOL, got "
             "'F8_E4M3'");
  BOOST_TEST(one("F32", "[3]", "[0,8]", 8) ==
             "header: tensor 'a': f32[3] does not take the 8 bytes of its data_offsets");
  BOOST_TEST(
      one("F32", "[4611686018427387905]", "[0,4]", 4) ==
      "header: tensor 'a': f32[4611686018427387905] does not take the 4 bytes of its data_offsets");
  BOOST_TEST(one("U8", "[4294967296,4294967296]", "[0,0]", 0) ==
             "header: tensor 'a': size 4294967296 x 4294967296 does not fit 64 bits");
  BOOST_TEST(one("U8", "[0,4294967296,4294967296]", "[0,0]", 0) ==
             "header: tensor 'a': size 4294967296 x 4294967296 does not fit 64 bits");
  BOOST_TEST(one("U8", "[-1,-1]", "[0,1]", 1) ==
             "header: tensor 'a': expected sizes for shape, got a negative number");
  BOOST_TEST(one("U8", "[9223372036854775808]", "[0,1]", 1) ==
             "header: tensor 'a': a number does not fit 64 bits");
  BOOST_TEST(one("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]", 1) ==
             "header: tensor 'a': expected at most 8 axes");
  BOOST_TEST(one("U8", "[1]", "[0]", 1) == "header: tensor 'a': expected two data_offsets, got 1");
  BOOST_TEST(one("U8", "[1]", "[0,1,2]", 1) == "header: tensor 'a': expected two data_offsets");
  BOOST_TEST(
      one("U8", "[1]", "[1,0]", 1) ==
      "header: tensor 'a': expected data_offsets from 0 on without gap or overlap, got [1, 0]");
  BOOST_TEST(
      one("U8", "[1]", "[1,2]", 2) ==
      "header: tensor 'a': expected data_offsets from 0 on without gap or overlap, got [1, 2]");
  BOOST_TEST(one("U8", "[3]", "[0,3]", 2) ==
             "header: tensor 'a': data_offsets end at 3, but the file has 2 bytes of data");
  BOOST_TEST(one("U8", "[1]", "[0,1]", 2) == "expected 1 bytes of data, got 2");
  BOOST_TEST(
      refusal_of_header(
          "{\"a\":" + entry("U8", "[2]", "[0,2]") + ",\"b\":" + entry("U8", "[2]", "[1,3]") + "}",
          3) ==
      "header: tensor 'b': expected data_offsets from 2 on without gap or overlap, got [1, 3]");
  BOOST_TEST(refusal(with_length("{\"a\":" + entry("BOOL", "[3]", "[0,3]") + "}", "\1\0\2"s)) ==
             "tensor 'a': expected bytes 0 and 1, got 2 at element 2");
}

BOOST_AUTO_TEST_CASE(names_that_no_reader_would_take_are_not_written) {
  const TemporaryFolder folder;
  write_bytes(folder / "w", "old");
  const auto write = [&](const std::string& name,
                         const std::map<std::string, std::string>& metadata = {}) {
    const std::vector<NamedTensor> tensors{{name, Tensor()}, {"b", Tensor()}};
    const std::string message =
        error_of([&] { write_safetensors(folder / "w", tensors, metadata); });
    return message.substr(std::min(message.size(), (folder / "w: ").size()));
  };
  BOOST_TEST(write("b") == "two tensors are called 'b'");
  BOOST_TEST(write("__metadata__") == "a tensor cannot be called '__metadata__'");
  BOOST_TEST(write("a\0"s) == "name 'a\\x00' holds a NUL");
  BOOST_TEST(write("a\xff") == "name 'a\\xff' is not UTF-8");
  BOOST_TEST(
      write(std::string(4097, 'a')).starts_with("expected names of at most 4096 bytes, got 'aaa"));
  BOOST_TEST(write("a", {{"k\xff", ""}}) == "metadata key 'k\\xff' is not UTF-8");
  BOOST_TEST(write("a", {{"k", "\xff"}}) == "metadata value '\\xff' is not UTF-8");
  BOOST_TEST(
      write("a", {{"k", std::string(1U << 24, 'v')}}).ends_with("expected at most 16777216"));
  BOOST_TEST(read_bytes(folder / "w") == "old");
  BOOST_TEST(folder.files() == 1);
}

BOOST_AUTO_TEST_CASE(only_regular_files_are_read) {
  const TemporaryFolder folder;
  const auto read = [](const std::string& path) {
    return error_of([&] { read_safetensors(path); });
  };
  BOOST_TEST(read(folder.path()) == folder.path() + ": expected a regular file, got a folder");
  BOOST_TEST(read(folder / "none") ==
             folder / "none" + ": cannot open it: No such file or directory");
  BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  BOOST_TEST(read(folder / "fifo") == folder / "fifo" + ": expected a regular file, got a FIFO");
  write_bytes(folder / "sparse", "");
  std::filesystem::resize_file(folder / "sparse", std::uintmax_t{3} << 40);
  BOOST_TEST(read(folder / "sparse") ==
             folder / "sparse" + ": expected at most 68719476736 bytes, got 3298534883328");
}

BOOST_AUTO_TEST_CASE(no_truncation_loads) {
  const TemporaryFolder folder;
  write_safetensors(folder / "w", sample(), {{"epoch", "3"}});
  const std::string bytes = read_bytes(folder / "w");
  for (std::size_t length = 0; length < bytes.size(); ++length)
    BOOST_TEST(refusal(bytes.substr(0, length)) != "");
  BOOST_TEST(refusal(bytes + '\0') != "");
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_of_the_header_is_refused_or_harmless) {
  const TemporaryFolder folder;
  const std::vector<NamedTensor> tensors{{"w", tensor({1.0f, 2.0f}, {2, 1})},
                                         {"b", tensor({3}, {1})}};
  write_safetensors(folder / "w", tensors, {{"epoch", "3"}});
  const std::string bytes = read_bytes(folder / "w");
  std::size_t refused = 0, loaded = 0;
  for (std::size_t bit = 0; bit < (bytes.size() - 12) * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    write_bytes(folder / "flipped", flipped);
    try {
      // Without a checksum a changed name or swapped dtypes of one size can stay; sizes and bytes
      // cannot.
      const TensorFile file = read_safetensors(folder / "flipped");
      ++loaded;
      BOOST_REQUIRE(file.tensors.size() + file.metadata.size() == 3);
      for (const NamedTensor& named : file.tensors)
        BOOST_TEST(bytes_of(named.tensor.type()) == (named.tensor.size() == 2 ? 8 : 4));
    } catch (const Error&) {
      ++refused;
    }
  }
  BOOST_TEST_MESSAGE(refused << " of " << refused + loaded << " flips refused");
  BOOST_TEST(refused > 4 * loaded);
}

BOOST_AUTO_TEST_SUITE_END()
