// The table of ops finds the functions that users call and the ones that no row checks.
#include "tests/docs/ops_table.h"

#include <boost/test/unit_test.hpp>

#include "tests/docs/public_functions.h"

namespace {

using Names = std::set<std::string>;

const docs::Row plain{"softmax_along_axis_1", "number", "f64 f32", true, true, 5, 10, 1200};

}  // namespace

BOOST_AUTO_TEST_SUITE(ops_table)

BOOST_AUTO_TEST_CASE(functions_that_give_graphs_are_found_in_a_header) {
  const char* header = R"(
namespace blockgrad {
namespace detail {
Expr hidden(Arg x);
}  // namespace detail
struct Softmax {
  Expr expand(std::span<const Expr> in) const;
};
Expr softmax(Arg x, int axis = -1);
inline Expr silu(Arg a) { return a; }
std::vector<Expr> split(Arg x, int parts);
struct TopK {
  Expr values, indices;  // [.., k]
};
TopK topk(Arg x, std::int64_t k);
struct Axes {
  std::vector<int> list;
};
Axes no_graph(Arg x);
Loss mse_loss(Arg y, Arg t);
inline Expr operator-(const Expr& a) { return negative(a); }
Tensor zeros(const Shape& shape);
)";
  BOOST_TEST(
      (docs::functions_in_header(header) == Names{"softmax", "silu", "split", "topk", "mse_loss"}));
}

BOOST_AUTO_TEST_CASE(rows_of_the_scalar_table_are_functions) {
  const char* table =
      "//   BG_UNARY(name, types, value, adjoint)\nBG_UNARY(exp, F, x, d)\n"
      "BG_LOGICAL(logical_or, a | b)\n";
  BOOST_TEST((docs::functions_in_table(table) == Names{"exp", "logical_or"}));
}

BOOST_AUTO_TEST_CASE(a_row_belongs_to_the_longest_name_it_starts_with) {
  const Names functions = {"log", "log_softmax", "sum"};
  BOOST_TEST(docs::function_of_row("log_softmax_of_a_line", functions) == "log_softmax");
  BOOST_TEST(docs::function_of_row("log_of_softmax", functions) == "log");
  BOOST_TEST(docs::function_of_row("sum", functions) == "sum");
  BOOST_TEST(docs::function_of_row("summary_of_all", functions) == "");
}

BOOST_AUTO_TEST_CASE(a_function_with_fewer_than_five_shapes_is_named) {
  docs::Row few = plain;
  few.name = "tanh";
  few.shapes = 4;
  const auto found = docs::functions_short_of_rows({"exp", "softmax", "tanh"}, {plain, few});
  BOOST_TEST((found == std::vector<std::string>{"exp (0)", "tanh (4)"}));
}

BOOST_AUTO_TEST_CASE(rows_are_read_as_they_are_written_and_added_up) {
  const auto rows = docs::parse_rows(
      "softmax_a\tnumber\tf32 f64\tyes\tyes\t2\t4\t1200\nsoftmax_b\tnumber "
      "index\tf64\tno\tno\t1\t1\t30\n");
  BOOST_TEST(rows.size() == 2u);
  const std::string page = docs::ops_page({"softmax"}, rows);
  BOOST_TEST(page.find("| `softmax` | number; number, index | f64 f32 | checked | checked | 5 | "
                       "1,230 |\n") != std::string::npos,
             page);
  BOOST_TEST(page.find("1 public functions, all with rows: 1 have a gradient") != std::string::npos,
             page);
  BOOST_CHECK_THROW(docs::parse_rows("softmax\tnumber\n"), std::runtime_error);
}

BOOST_AUTO_TEST_SUITE_END()
