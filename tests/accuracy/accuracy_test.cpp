// The bounds of docs/accuracy.md, on arguments spread over all bit patterns, and the same bits on
// every instruction set. The page itself is written from all 2^32 of them, by hand.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <sstream>

#include "tests/accuracy/page.h"
#include "tests/accuracy/sweep.h"

using accuracy::Function;
using accuracy::Worst;

BOOST_AUTO_TEST_SUITE(accuracy)

BOOST_AUTO_TEST_CASE(errors_are_within_the_bounds) {
  for (const Function& f : accuracy::functions()) {
    const Worst single = accuracy::sweep_floats(f, "", 4099, 40009);
    const Worst twice = accuracy::sweep_doubles(f, "", 20000);
    BOOST_TEST(single.error <= f.limit32,
               f.name << " f32: " << single.error << " ulp at " << single.at);
    BOOST_TEST(twice.error <= f.limit64,
               f.name << " f64: " << twice.error << " ulp at " << twice.at);
  }
}

BOOST_AUTO_TEST_CASE(every_instruction_set_gives_the_same_bits) {
  const std::vector<std::string> sets = accuracy::instruction_sets();
  for (const Function& f : accuracy::functions()) {
    for (const std::string& isa : sets) {
      if (isa == "portable") continue;
      const double x = accuracy::first_float_difference(f, "portable", isa, 20011);
      BOOST_TEST(std::isnan(x), f.name << " f32 differs on " << isa << " at " << x);
      const double z = accuracy::first_double_difference(f, "portable", isa, 10000);
      BOOST_TEST(std::isnan(z), f.name << " f64 differs on " << isa << " at " << z);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_page_states_the_bounds_of_the_table) {
  std::ifstream file(std::string(BG_SOURCE_DIR) + "/docs/accuracy.md");
  std::ostringstream page;
  page << file.rdbuf();
  for (const Function& f : accuracy::functions()) {
    const std::string row = accuracy::start_of_row(f);
    BOOST_TEST(
        page.str().find(row) != std::string::npos,
        "docs/accuracy.md has no row that starts with '" << row << "'; write it: ./run accuracy");
  }
}

BOOST_AUTO_TEST_SUITE_END()
