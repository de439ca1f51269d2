// IDX arrays: what is read from raw and packed files, and the exact message for what is refused.
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <numeric>

#include "blockgrad/data/readers.h"
#include "tests/data/support.h"
#if BLOCKGRAD_HAS_ZLIB
#include <zlib.h>
#endif

using namespace blockgrad;
using namespace blockgrad::data;
using namespace data_test;
using namespace std::string_literals;

namespace {

std::string big_endian(std::uint64_t bits, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i)
    text += static_cast<char>(static_cast<unsigned char>(bits >> (8 * i)));
  return text;
}

std::string header(int type, const std::vector<std::uint32_t>& sizes) {
  std::string text =
      "\0\0"s + static_cast<char>(type) + static_cast<char>(static_cast<int>(sizes.size()));
  for (const std::uint32_t size : sizes) text += big_endian(size, 4);
  return text;
}

std::string small_file() { return header(8, {2, 3}) + "\0\1\2\3\4\xff"s; }

std::string refusal(const std::string& bytes, IdxOptions options = {}) {
  return error_of([&] { parse_idx(bytes, "x", options); });
}

bool same(const Tensor& a, const Tensor& b) {
  return a.type() == b.type() &&
         std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

#if BLOCKGRAD_HAS_ZLIB
std::string packed(const std::string& bytes) {
  z_stream stream{};
  BOOST_REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&stream, bytes.size()) + 64, '\0');
  std::string in = bytes;
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  BOOST_REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}
#endif

}  // namespace

BOOST_AUTO_TEST_SUITE(idx)

BOOST_AUTO_TEST_CASE(every_type_is_read_in_row_major_order) {
  BOOST_TEST(
      same(parse_idx(small_file()), tensor({std::uint8_t{0}, std::uint8_t{1}, std::uint8_t{2},
                                            std::uint8_t{3}, std::uint8_t{4}, std::uint8_t{255}},
                                           {2, 3})));
  BOOST_TEST(same(parse_idx(header(9, {3}) + "\x7f\x80\xff"s), tensor({127, -128, -1}, {3})));
  BOOST_TEST(same(parse_idx(header(11, {2}) + "\x01\x02\x80\x00"s), tensor({258, -32768}, {2})));
  BOOST_TEST(same(parse_idx(header(12, {1, 2, 1}) + "\x7f\xff\xff\xff\xff\xff\xff\xfe"s),
                  tensor({std::numeric_limits<std::int32_t>::max(), -2}, {1, 2, 1})));
  BOOST_TEST(same(parse_idx(header(13, {2}) + "\x3f\xc0\0\0\xff\x80\0\0"s),
                  tensor({1.5F, -std::numeric_limits<float>::infinity()}, {2})));
  BOOST_TEST(same(parse_idx(header(14, {1}) + "\xc0\x04\0\0\0\0\0\0"s), tensor({-2.5}, {1})));
}

BOOST_AUTO_TEST_CASE(more_elements_than_one_block_keep_their_order) {
  const std::uint32_t count = 200'001;
  std::string bytes = header(12, {count});
  for (std::uint32_t i = 0; i < count; ++i) bytes += big_endian(i, 4);
  std::vector<std::int32_t> expected(count);
  std::iota(expected.begin(), expected.end(), 0);
  BOOST_TEST(same(parse_idx(bytes), tensor(std::span<const std::int32_t>(expected), {count})));
}

BOOST_AUTO_TEST_CASE(a_file_is_named_in_messages) {
  const TemporaryFolder folder;
  write_bytes(folder / "a", small_file());
  BOOST_TEST(same(read_idx(folder / "a"), parse_idx(small_file())));
  write_bytes(folder / "a", "PNG\n");
  BOOST_TEST(error_of([&] { read_idx(folder / "a"); }) ==
             folder / "a" +
                 ": expected an IDX file, which begins with two zero bytes, got 80 and 78");
  BOOST_TEST(error_of([&] { read_idx(folder.path()); }) ==
             folder.path() + ": expected a regular file, got a folder");
  BOOST_TEST(error_of([&] { read_idx(folder / "none"); }) ==
             folder / "none" + ": cannot open it: No such file or directory");
}

BOOST_AUTO_TEST_CASE(headers_that_are_none_are_refused) {
  BOOST_TEST(refusal("") == "x: the data ends after 0 bytes");
  BOOST_TEST(refusal("\0\1\x08\x01"s) ==
             "x: expected an IDX file, which begins with two zero bytes, got 0 and 1");
  for (const int type : {0, 7, 10, 15, 255}) {
    BOOST_TEST(refusal(header(type, {1}) + "1") ==
               "x: expected elements of type 8, 9, 11, 12, 13 or 14, got type " +
                   std::to_string(type));
  }
  BOOST_TEST(refusal(header(8, {})) == "x: expected 1 to 8 axes, got 0");
  BOOST_TEST(refusal(header(8, std::vector<std::uint32_t>(9, 1)) + "1") ==
             "x: expected 1 to 8 axes, got 9");
  BOOST_TEST(refusal("\0\0\x08\xff"s) == "x: expected 1 to 8 axes, got 255");
  BOOST_TEST(refusal(header(8, {3, 0})) == "x: axis 1 has size 0; expected at least 1");
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_the_bytes_are_refused_before_memory_is_taken) {
  BOOST_TEST(refusal(header(8, {4}) + "abc") ==
             "x: [4] elements take 4 bytes, but at most 3 can follow the header");
  BOOST_TEST(refusal(header(8, {2}) + "abc") == "x: the data goes on after 10 bytes");
  BOOST_TEST(refusal(header(14, {0xffffffff}) + "abc") ==
             "x: expected at most 17179869184 bytes of values, got 34359738360 for [4294967295]");
  BOOST_TEST(refusal(header(8, {0xffffffff, 0xffffffff, 2}))
                 .starts_with("x: "));  // 2^65 elements: the shape itself is refused
  BOOST_TEST(refusal(header(9, {3}) + "abc", {.max_bytes = 11}) ==
             "x: expected at most 11 bytes of values, got 12 for [3]");
  BOOST_TEST(refusal(small_file(), {.max_bytes = 6}) == "no error");
  const TemporaryFolder folder;
  write_bytes(folder / "a", small_file());
  BOOST_TEST(error_of([&] { read_idx(folder / "a", {.max_bytes = 17}); }) ==
             folder / "a" + ": expected at most 17 bytes, got 18");
}

BOOST_AUTO_TEST_CASE(every_prefix_is_refused) {
  const std::string file = small_file();
  for (std::size_t size = 0; size < file.size(); ++size) {
    BOOST_TEST_CONTEXT(size) { BOOST_TEST(refusal(file.substr(0, size)) != ""); }
  }
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_of_the_header_is_refused_or_is_another_type_of_the_same_size) {
  const std::string file = small_file();
  const std::size_t header_bits = 12 * 8;
  for (std::size_t bit = 0; bit < header_bits; ++bit) {
    BOOST_TEST_CONTEXT(bit) {
      std::string damaged = file;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      const bool is_signed = bit == 16;  // type 8 becomes 9
      BOOST_TEST((refusal(damaged) == "no error") == is_signed);
    }
  }
}

#if BLOCKGRAD_HAS_ZLIB

BOOST_AUTO_TEST_CASE(packed_files_give_what_raw_ones_give) {
  const TemporaryFolder folder;
  write_bytes(folder / "a.gz", packed(small_file()));
  BOOST_TEST(same(read_idx(folder / "a.gz"), parse_idx(small_file())));
  std::string large = header(8, {1000, 1000});
  for (std::int64_t i = 0; i < 1'000'000; ++i) large += static_cast<char>(i * i % 251);
  BOOST_TEST(same(parse_idx(packed(large)), parse_idx(large)));
}

BOOST_AUTO_TEST_CASE(a_packed_file_unpacks_to_what_its_header_announces_or_is_refused) {
  BOOST_TEST(refusal(packed(small_file() + "7")) == "x: the data goes on after 18 bytes");
  BOOST_TEST(refusal(packed(header(8, {2}) + std::string(50'000'000, 'a'))) ==
             "x: the data goes on after 10 bytes");
  BOOST_TEST(refusal(packed(header(8, {200}) + "abc")) == "x: the data ends after 11 bytes");
  const std::string announces_much = packed(header(8, {1'000'000, 1000}));
  BOOST_TEST(refusal(announces_much) ==
             "x: [1000000, 1000] elements take 1000000000 bytes, but at most " +
                 std::to_string(1032 * announces_much.size()) + " can follow the header");
  BOOST_TEST(refusal(packed("")) == "x: the data ends after 0 bytes");
  BOOST_TEST(refusal(packed(small_file()) + "ab") == "x: 2 bytes follow the packed data");
  const std::string start = "\x1f\x8b\x08\0\0\0\0\0\0\3"s;
  BOOST_TEST(refusal(start + "\7\7\7") == "x: the packed data is damaged: invalid block type");
  BOOST_TEST(refusal("\x1f\x8b\x07" + start) ==
             "x: the packed data is damaged: unknown compression method");
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_packed_file_is_refused) {
  const std::string file = packed(small_file());
  for (std::size_t size = 0; size < file.size(); ++size) {
    BOOST_TEST_CONTEXT(size) { BOOST_TEST(refusal(file.substr(0, size)) != ""); }
  }
  BOOST_TEST(refusal(file.substr(0, file.size() - 1)) == "x: the packed data is cut off");
}

BOOST_AUTO_TEST_CASE(a_flipped_bit_of_a_packed_file_changes_no_value) {
  const std::string file = packed(small_file());
  const Tensor expected = parse_idx(small_file());
  int refused = 0;
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    BOOST_TEST_CONTEXT(bit) {
      std::string damaged = file;
      damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
      try {
        BOOST_TEST(same(parse_idx(damaged), expected));  // time, system: no part of the data
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  BOOST_TEST(refused > static_cast<int>(8 * (file.size() - 8)));
}

BOOST_AUTO_TEST_CASE(mnist_is_read_as_it_is_published) {
  const auto images = data_set("mnist/t10k-images-idx3-ubyte.gz");
  const auto labels = data_set("mnist/t10k-labels-idx1-ubyte.gz");
  if (!images || !labels) return;
  const Tensor pixels = read_idx(*images), digits = read_idx(*labels);
  BOOST_TEST((pixels.type() == TensorType{DType::u8, {10000, 28, 28}}));
  BOOST_TEST((digits.type() == TensorType{DType::u8, {10000}}));
  const auto first = digits.span<std::uint8_t>().first(5);
  BOOST_TEST((std::vector<int>(first.begin(), first.end()) == std::vector<int>{7, 2, 1, 0, 4}));
  const auto bytes = pixels.span<std::uint8_t>();
  BOOST_TEST(std::accumulate(bytes.begin(), bytes.end(), std::int64_t{0}) == 264'923'200);
}

#else

BOOST_AUTO_TEST_CASE(without_zlib_a_packed_file_names_the_package) {
  BOOST_TEST(refusal("\x1f\x8b\x08"s) ==
             "x: is packed by gzip, and this build has no zlib; unpack it with gunzip, or install "
             "zlib1g-dev (Debian's name) and build again");
}

#endif

BOOST_AUTO_TEST_SUITE_END()
