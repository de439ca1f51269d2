// The form of CSV files: what is read right, and the exact message for what is not.
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>

#include "blockgrad/data/readers.h"
#include "tests/data/support.h"

using namespace blockgrad;
using namespace blockgrad::data;
using namespace data_test;
using namespace std::string_literals;
using Strings = std::vector<std::string>;

namespace {

Table parse(std::string_view text, CsvOptions options = {}) {
  return parse_csv(text, "ads.csv", options);
}

std::string refusal(std::string_view text, CsvOptions options = {}) {
  return error_of([&] { parse(text, options); });
}

std::vector<double> numbers(const Tensor& tensor) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < tensor.size(); ++i) values.push_back(tensor.at(i));
  return values;
}

std::vector<double> numbers(std::string_view text) {
  const Table table = parse(text);
  return numbers(table.select(table.names(), DType::f64));
}

const std::vector<double> one_to_six{1, 2, 3, 4, 5, 6};

}  // namespace

BOOST_AUTO_TEST_SUITE(csv)

BOOST_AUTO_TEST_CASE(line_ends_marks_and_blank_lines_make_no_difference) {
  for (const auto* text :
       {"a,b,c\n1,2,3\n4,5,6\n", "a,b,c\r\n1,2,3\r\n4,5,6\r\n", "a,b,c\n1,2,3\n4,5,6",
        "\xEF\xBB\xBF"
        "a,b,c\n1,2,3\n4,5,6\n",
        "\n\r\na,b,c\n \t\n1,2,3\n\n\n4,5,6\n\n  ", "a,b,c\r\n1,2,3\n4,5,6\r",
        " a ,b\t, c\n 1,2 ,\t3 \n4,5,6\n", "\"a\",b,\"c\"\r\n\"1\",2,\"3\"\r\n4,\"5\",\"6\""}) {
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST(parse(text).names() == (Strings{"a", "b", "c"}), boost::test_tools::per_element());
      BOOST_TEST(numbers(text) == one_to_six, boost::test_tools::per_element());
      BOOST_TEST(parse(text).rows() == 2);
    }
  }
}

BOOST_AUTO_TEST_CASE(quoted_cells_hold_separators_quotes_blanks_and_line_ends) {
  const Table table = parse(
      "name,x\n\"a,b\",1\n\"say \"\"hi\"\"\",2\n\"two\r\nlines\",3\n\" "
      "Male\",4\n\"\"\"\",5\n\"\",6\n");
  BOOST_TEST(
      table.text("name") == (Strings{"a,b", "say \"hi\"", "two\r\nlines", " Male", "\"", ""}),
      boost::test_tools::per_element());
  BOOST_TEST(numbers(table.select({"x"})) == one_to_six, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_column_that_is_not_selected_may_hold_anything) {
  const Table table = parse(",x,x,horsepower\na,1,2,?\n\"b\",,nan,3\n");
  BOOST_TEST(table.names() == (Strings{"", "x", "x", "horsepower"}),
             boost::test_tools::per_element());
  BOOST_TEST(table.text("") == (Strings{"a", "b"}), boost::test_tools::per_element());
  BOOST_TEST(table.text("horsepower") == (Strings{"?", "3"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(without_a_header_columns_are_called_by_their_number) {
  const Table table = parse("1;2\n3;4\n", {.header = false, .separator = ';'});
  BOOST_TEST(table.names() == (Strings{"0", "1"}), boost::test_tools::per_element());
  BOOST_TEST(table.rows() == 2);
  BOOST_TEST(numbers(table.select({"1", "0"})) == (std::vector<double>{2, 1, 4, 3}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_tab_as_separator_makes_empty_cells_and_no_blank_lines) {
  const Table table = parse("a\tb\n1\t\n\t\n", {.separator = '\t'});
  BOOST_TEST(table.text("a") == (Strings{"1", ""}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(columns_come_in_the_order_of_the_selection) {
  const Table table = parse("a,b,c\n1,2,3\n4,5,6\n");
  const Tensor picked = table.select({"c", "a"}, DType::f64);
  BOOST_TEST((picked.type() == TensorType{DType::f64, {2, 2}}));
  BOOST_TEST(numbers(picked) == (std::vector<double>{3, 1, 6, 4}),
             boost::test_tools::per_element());
  const Strings names{"b"};
  BOOST_TEST(numbers(table.select(names)) == (std::vector<double>{2, 5}),
             boost::test_tools::per_element());
  BOOST_TEST((table.select(names).dtype() == DType::f32));
}

BOOST_AUTO_TEST_CASE(what_is_no_table_is_refused_with_its_line) {
  BOOST_TEST(refusal("") == "ads.csv: the file is empty; expected a line of names");
  BOOST_TEST(refusal("\xEF\xBB\xBF\n \r\n") ==
             "ads.csv: the file is empty; expected a line of names");
  BOOST_TEST(refusal("", {.header = false}) == "ads.csv: the file is empty; expected rows");
  BOOST_TEST(refusal("a,b\n\n") == "ads.csv: expected rows below the line of names, got none");
  BOOST_TEST(refusal("a,b\n1,2\n\n3\n") == "ads.csv:4: expected 2 cells, got 1");
  BOOST_TEST(refusal("a,b\n\"1\n\n\",2\n3,4,5\n") == "ads.csv:5: expected 2 cells, got 3");
  BOOST_TEST(refusal("a\n1\n2,\n") == "ads.csv:3: expected 1 cell, got 2");
  BOOST_TEST(refusal("a,b\n1,\"2\n3,4\n") ==
             "ads.csv:2: the quote that opens a cell here is never closed");
  BOOST_TEST(
      refusal("a\n\"1\"2\n") ==
      "ads.csv:2: expected a separator or the end of the line after a closing quote, got '2'");
  BOOST_TEST(refusal("a\n1\0\n"s) == "ads.csv:2: expected text, got a NUL byte");
  BOOST_TEST(refusal("a\n\"1\n\0\"\n"s) == "ads.csv:3: expected text, got a NUL byte");
  BOOST_TEST(refusal("a\n1\r2\n") == "ads.csv:2: expected a line feed after a carriage return");
  BOOST_TEST(refusal("\xFF\xFE"
                     "a\0"s) == "ads.csv: expected UTF-8 text, got UTF-16");
  BOOST_TEST(refusal("a\n1\n", {.max_bytes = 3}) == "ads.csv: expected at most 3 bytes, got 4");
  BOOST_TEST(refusal("a\n1\n", {.separator = '.'}) == "ads.csv: '.' cannot separate cells");
  BOOST_TEST(refusal("a\n1\n", {.separator = '\0'}) == "ads.csv: '\\x00' cannot separate cells");
}

BOOST_AUTO_TEST_CASE(endless_cells_records_and_column_lists_are_refused) {
  const std::string million(1U << 20, '1');
  BOOST_TEST(refusal("a\n" + million + "\n") == "no error");
  BOOST_TEST(refusal("a\n" + million + "1\n") ==
             "ads.csv:2: expected a cell of at most 1048576 bytes");
  BOOST_TEST(refusal("a\n\"" + million + "\"\n") == "no error");
  BOOST_TEST(refusal("a\n\"" + million + "1\"\n") ==
             "ads.csv:2: expected a cell of at most 1048576 bytes; the quote that opens it here "
             "may not be closed");
  std::string wide = "a\n";
  for (int i = 0; i < 17; ++i) wide += million + ",";
  BOOST_TEST(refusal(wide) == "ads.csv:2: expected a record of at most 16777216 bytes");
  BOOST_TEST(refusal(std::string(65535, ',') + "\n" + std::string(65535, ',')) == "no error");
  BOOST_TEST(refusal(std::string(65536, ',')) == "ads.csv:1: expected at most 65536 cells");
}

BOOST_AUTO_TEST_CASE(a_bad_cell_is_named_by_line_and_column) {
  const auto select = [](std::string_view cell, DType dtype = DType::f64) {
    return error_of([&] {
      parse("social,google\n1,2\n\n3," + std::string(cell) + "\n").select({"google"}, dtype);
    });
  };
  BOOST_TEST(select("abc") == "ads.csv:4: column 'google': expected a number, got 'abc'");
  BOOST_TEST(select("") == "ads.csv:4: column 'google': expected a number, got an empty cell");
  BOOST_TEST(select("nan") == "ads.csv:4: column 'google': expected a finite number, got 'nan'");
  BOOST_TEST(select("-inf") == "ads.csv:4: column 'google': expected a finite number, got '-inf'");
  BOOST_TEST(select("1e400") ==
             "ads.csv:4: column 'google': expected a number in the range of f64, got '1e400'");
  BOOST_TEST(select("1e39", DType::f32) ==
             "ads.csv:4: column 'google': expected a number in the range of f32, got '1e39'");
  BOOST_TEST(select("1.5", DType::i32) ==
             "ads.csv:4: column 'google': expected an integer, got '1.5'");
  BOOST_TEST(select("256", DType::u8) ==
             "ads.csv:4: column 'google': expected an integer in the range of u8, got '256'");
  BOOST_TEST(select("-1", DType::u8) ==
             "ads.csv:4: column 'google': expected an integer, got '-1'");
  BOOST_TEST(error_of([] { parse("on\n1\n0\n2\n").select({"on"}, DType::boolean); }) ==
             "ads.csv:4: column 'on': expected 0 or 1, got '2'");
  BOOST_TEST(select("\x1b[2J\xff" + std::string(300, 'x')) ==
             "ads.csv:4: column 'google': expected a number, got '\\x1b[2J\\xff" +
                 std::string(49, 'x') + "…'");
}

BOOST_AUTO_TEST_CASE(a_cell_behind_a_line_end_in_quotes_has_its_own_line) {
  BOOST_TEST(error_of([] { parse("a,b\n\"x\ny\",z\n").select({"b"}); }) ==
             "ads.csv:3: column 'b': expected a number, got 'z'");
}

BOOST_AUTO_TEST_CASE(names_that_are_missing_or_ambiguous_are_refused) {
  const Table table = parse("TV,x,x\n1,2,3\n");
  BOOST_TEST(error_of([&] { table.select({"tv"}); }) ==
             "ads.csv: no column 'tv'; the columns are 'TV', 'x', 'x'");
  BOOST_TEST(error_of([&] { table.select({"TV", "x"}); }) ==
             "ads.csv: two columns are called 'x': 2 and 3");
  BOOST_TEST(error_of([&] { table.text("y"); }) ==
             "ads.csv: no column 'y'; the columns are 'TV', 'x', 'x'");
  BOOST_TEST(error_of([&] { table.select(std::span<const std::string>()); }) ==
             "ads.csv: expected the names of columns to select, got none");
  std::string many = "c0";
  for (int i = 1; i < 32; ++i) many += ",c" + std::to_string(i);
  BOOST_TEST(error_of([&] {
               parse(many + "\n" + std::string(31, ',')).select({"y"});
             }).ends_with("'c18', 'c19' and 12 more"));
}

BOOST_AUTO_TEST_CASE(only_regular_files_are_read) {
  const TemporaryFolder folder;
  const auto read = [](const std::string& path) { return error_of([&] { read_csv(path); }); };
  BOOST_TEST(read(folder / "none.csv") ==
             folder / "none.csv" + ": cannot open it: No such file or directory");
  BOOST_TEST(read(folder.path()) == folder.path() + ": expected a regular file, got a folder");
  BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  BOOST_TEST(read(folder / "fifo") == folder / "fifo" + ": expected a regular file, got a FIFO");
  BOOST_TEST(read("/dev/zero") == "/dev/zero: expected a regular file, got a device");
  BOOST_TEST(read("") == "expected the path of a file, got an empty one");
  BOOST_TEST(read("a\0b"s) == "a\\x00b: a path cannot hold a NUL byte");
  write_bytes(folder / "secret.csv", "a\n1\n");
  BOOST_REQUIRE(::chmod((folder / "secret.csv").c_str(), 0) == 0);
  if (::geteuid() == 0)
    BOOST_TEST_MESSAGE("root reads every file: the case without rights is skipped");
  else
    BOOST_TEST(read(folder / "secret.csv") ==
               folder / "secret.csv" + ": cannot open it: Permission denied");
  std::filesystem::resize_file(folder / "secret.csv", std::uintmax_t{3} << 40);
  BOOST_REQUIRE(::chmod((folder / "secret.csv").c_str(), 0600) == 0);
  BOOST_TEST(read(folder / "secret.csv") ==
             folder / "secret.csv" + ": expected at most 1073741824 bytes, got 3298534883328");
}

BOOST_AUTO_TEST_CASE(every_prefix_of_a_file_is_read_or_refused) {
  const std::string text = "\xEF\xBB\xBFname,\"x\"\r\n\"a \"\"b\"\",\n\",1.5\r\n\r\nc,-2e-3\r\n";
  int good = 0;
  for (std::size_t length = 0; length <= text.size(); ++length) {
    good += error_of([&] { parse(text.substr(0, length)).select({"x"}); }) == "no error";
  }
  BOOST_TEST(good > 5);
  BOOST_TEST(good < 30);
}

BOOST_AUTO_TEST_CASE(copies_of_a_table_outlive_it) {
  auto table = std::make_unique<Table>(parse("a\n1\n"));
  const Table copy = *table;
  table.reset();
  BOOST_TEST(copy.select({"a"}).at(0) == 1);
}

BOOST_AUTO_TEST_CASE(the_three_forms_of_the_advertising_file_hold_the_same_numbers) {
  const auto plain = data_set("islr/Advertising.csv");
  const auto crlf = data_set("islr/Advertising_lowercase_crlf.csv");
  const auto with_quotes = data_set("islr/Advertising_quoted_crlf.csv");
  if (!plain || !crlf || !with_quotes) return;
  const auto a =
      numbers(read_csv(*plain).select({"TV", "Radio", "Newspaper", "Sales"}, DType::f64));
  BOOST_TEST(a.size() == 800);
  BOOST_TEST(a[0] == 230.1);
  BOOST_TEST(a[799] == 13.4);
  const auto b = numbers(read_csv(*crlf).select({"TV", "radio", "newspaper", "sales"}, DType::f64));
  const auto c =
      numbers(read_csv(*with_quotes).select({"TV", "Radio", "Newspaper", "Sales"}, DType::f64));
  BOOST_TEST(a == b);
  BOOST_TEST(a == c);
}

BOOST_AUTO_TEST_CASE(missing_values_and_text_columns_of_real_files_are_met) {
  const auto cars = data_set("islr/Auto.csv");
  const auto credit = data_set("islr/Credit.csv");
  if (!cars || !credit) return;
  const Table table = read_csv(*cars);
  BOOST_TEST(table.rows() == 397);
  BOOST_TEST(table.select({"mpg", "weight"}).shape()[0] == 397);
  BOOST_TEST(error_of([&] { table.select({"horsepower"}); }) ==
             *cars + ":34: column 'horsepower': expected a number, got '?'");
  BOOST_TEST(read_csv(*credit).text("Gender")[0] == " Male");
}

BOOST_AUTO_TEST_SUITE_END()
