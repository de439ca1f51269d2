// Edits that break gradient rules: what is found to break, and how.
#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "tests/mutants/edits.h"

using mutants::Edit;

namespace {

std::vector<std::string> results(const std::vector<Edit>& edits) {
  std::vector<std::string> all;
  for (const Edit& edit : edits) all.push_back(edit.after);
  return all;
}

bool contains(const std::vector<Edit>& edits, const std::string& after) {
  const std::vector<std::string> all = results(edits);
  return std::find(all.begin(), all.end(), after) != all.end();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(mutants)

BOOST_AUTO_TEST_CASE(a_line_is_broken_in_every_way_that_fits) {
  const auto edits =
      ::mutants::edits_of_line("    return {y * (b.dy() - sum(b.dy() * y, axis, true))};");
  for (const char* after : {"    return {y * (b.dy() + sum(b.dy() * y, axis, true))};",
                            "    return {y / (b.dy() - sum(b.dy() * y, axis, true))};",
                            "    return {y * ((b.dy() * 2.0) - sum(b.dy() * y, axis, true))};",
                            "    return {y * (b.dy() - sum(b.dy(), axis, true))};",
                            "    return {y * (b.dy() - sum(b.dy() * y, {}, true))};",
                            "    return {y * (b.dy() - sum(b.dy() * y, axis, false))};"})
    BOOST_TEST(contains(edits, after), after);
}

BOOST_AUTO_TEST_CASE(comments_and_checks_are_left_alone) {
  BOOST_TEST(::mutants::edits_of_line("  // dx = y * (dy - sum(dy * y))").empty());
  BOOST_TEST(::mutants::edits_of_line("    require(a < b, \"wrong\");").empty());
  BOOST_TEST(::mutants::edits_of_line("  }").empty());
}

BOOST_AUTO_TEST_CASE(a_row_of_the_table_is_broken_only_where_it_sends_back) {
  const auto edits = ::mutants::edits_of_row("BG_BINARY(divide, F, a / b, d / b, -(d * y / b))");
  BOOST_TEST(contains(edits, "BG_BINARY(divide, F, a / b, d * b, -(d * y / b))"));
  BOOST_TEST(contains(edits, "BG_BINARY(divide, F, a / b, d / b, (d * y / b))"));
  BOOST_TEST(contains(edits, "BG_BINARY(divide, F, a / b, T(0), -(d * y / b))"));
  BOOST_TEST(!contains(edits, "BG_BINARY(divide, F, a * b, d / b, -(d * y / b))"));
  BOOST_TEST(::mutants::edits_of_row("BG_COMPARE(less, a < b)").empty());
}

BOOST_AUTO_TEST_CASE(gradient_rules_are_found_with_the_op_they_belong_to) {
  const auto regions = ::mutants::gradient_rules({
      "struct Softmax {",
      "  static constexpr std::string_view name = \"softmax\";",
      "  std::vector<Expr> vjp(const Backward& b) const {",
      "    return {b.dy()};",
      "  }",
      "};",
      "std::vector<Expr> ScatterAdd::vjp(const Backward& b) const {",
      "  return {b.dy()};",
      "}",
  });
  BOOST_TEST_REQUIRE(regions.size() == 2u);
  BOOST_TEST(regions[0].op == "softmax");
  BOOST_TEST(regions[0].first == 4);
  BOOST_TEST(regions[0].last == 5);
  BOOST_TEST(regions[1].op == "scatter_add");
  BOOST_TEST(regions[1].first == 8);
}

BOOST_AUTO_TEST_CASE(the_tree_has_hundreds_of_edits_and_a_seed_fixes_their_order) {
  const auto edits = ::mutants::all_edits(BG_SOURCE_DIR);
  BOOST_TEST(edits.size() > 300u);
  BOOST_TEST((results(::mutants::shuffled(edits, 7)) == results(::mutants::shuffled(edits, 7))));
  BOOST_TEST((results(::mutants::shuffled(edits, 7)) != results(::mutants::shuffled(edits, 8))));
}

BOOST_AUTO_TEST_SUITE_END()
