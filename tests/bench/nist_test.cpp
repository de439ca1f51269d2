#include "support/nist.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "tests/data/support.h"

using namespace bench;
using data_test::error_of;

namespace {

// A file in the form of the sets: y = 1 + 2 x + 3 x^2 at x = 1, 2, 3.
std::string small(const std::string& parameters, const std::string& data) {
  const std::string text =
      "NIST/ITL StRD\nDataset Name:  Small (Small.dat)\n\nFile Format: ASCII\n"
      "  Certified Values  (lines 8 to 13)\n  Data              (lines 15 to 17)\n\n";
  return text + parameters + "\n     Residual\n     Standard Deviation   0.25\n\n     y  x\n" +
         data;
}

const std::string quadratic = "  B0   1.0   0.1\n  B1   0.2E+01   0.2\n  B2   3   0.3";

}  // namespace

BOOST_AUTO_TEST_SUITE(nist)

BOOST_AUTO_TEST_CASE(one_predictor_with_more_parameters_is_a_polynomial) {
  const data_test::TemporaryFolder folder;
  data_test::write_bytes(folder / "Small.dat", small(quadratic, "6 1\n17 2\n34 3\n"));
  const NistSet set = read_nist(folder / "Small.dat");
  BOOST_TEST(set.name == "Small");
  BOOST_TEST(set.has_intercept);
  BOOST_TEST(set.parameters.size() == 3);
  BOOST_TEST(set.parameters[1].name == "B1");
  BOOST_TEST(set.parameters[1].certified == 2);
  BOOST_TEST(set.parameters[2].deviation == 0.3);
  BOOST_TEST(set.residual_deviation == 0.25);
  BOOST_TEST(set.y == (std::vector<double>{6, 17, 34}), boost::test_tools::per_element());
  BOOST_TEST(set.columns.size() == 2);
  BOOST_TEST(set.columns[1] == (std::vector<double>{1, 4, 9}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_file_of_another_form_is_refused_with_its_line) {
  const data_test::TemporaryFolder folder;
  const std::string path = folder / "Small.dat";
  const auto refusal = [&](const std::string& text) {
    data_test::write_bytes(path, text);
    return error_of([&] { read_nist(path); });
  };
  BOOST_TEST(refusal(small(quadratic, "6 1\n17 x\n34 3\n")) ==
             path + ":16: expected a number, got 'x'");
  BOOST_TEST(refusal(small(quadratic, "6 1\n17 2 3\n34 3\n")) ==
             path + ":16: expected 2 numbers, got 3");
  BOOST_TEST(refusal(small(quadratic, "6 1\n17 2\n")).find(":6: expected a range of lines") !=
             std::string::npos);
  BOOST_TEST(refusal("\nDataset\n") == path + ":2: expected 'Dataset Name:'");
  BOOST_TEST(refusal("") == path + ": expected a line 2, the file has 0");
  BOOST_TEST(error_of([&] { read_nist(folder / "none"); }) == folder / "none" + ": cannot open it");
}

BOOST_AUTO_TEST_CASE(digits_count_the_relative_error) {
  BOOST_TEST(correct_digits(1.001, 1) == 3, boost::test_tools::tolerance(1e-9));
  BOOST_TEST(correct_digits(-5, -5) == 15);
  BOOST_TEST(correct_digits(9, 1) == 0);
  BOOST_TEST(correct_digits(std::nan(""), 1) == 0);
  BOOST_TEST(correct_digits(1e-4, 0) == 4, boost::test_tools::tolerance(1e-9));
}

// The residuals of the certified coefficients must have the certified deviation: this ties data,
// columns and parameters together.
BOOST_AUTO_TEST_CASE(certified_coefficients_reproduce_the_certified_residuals) {
  for (const auto* name : {"NoInt1", "NoInt2", "Norris", "Pontius", "Longley", "Wampler1",
                           "Wampler2", "Wampler3", "Wampler4", "Wampler5", "Filip"}) {
    const auto path = data_test::data_set(std::string("nist-strd/linear/") + name + ".dat");
    if (!path) return;
    const NistSet set = read_nist(*path);
    BOOST_TEST(set.name == name);
    const std::size_t first = set.has_intercept ? 1 : 0;
    double squares = 0;
    for (std::size_t i = 0; i < set.y.size(); ++i) {
      long double rest = set.y[i];
      if (set.has_intercept) rest -= set.parameters[0].certified;
      for (std::size_t j = 0; j < set.columns.size(); ++j)
        rest -= static_cast<long double>(set.parameters[first + j].certified) * set.columns[j][i];
      squares += static_cast<double>(rest * rest);
    }
    const double deviation =
        std::sqrt(squares / static_cast<double>(set.y.size() - set.parameters.size()));
    // Filip's powers reach 1e9, so 15 digits of its coefficients leave 1e-6 of a residual.
    BOOST_TEST_CONTEXT(name << ": " << deviation << " against " << set.residual_deviation)
    BOOST_TEST(
        (std::abs(deviation - set.residual_deviation) < 1e-4 * set.residual_deviation + 1e-8));
  }
}

BOOST_AUTO_TEST_SUITE_END()
