// Cells as numbers: accepted spellings, rounding, range, and independence of the locale.
#include "data/number.h"

#include <boost/test/unit_test.hpp>
#include <charconv>
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>

using namespace blockgrad;
using namespace std::string_literals;
using data::detail::NumberFault;
using data::detail::parse_number;

namespace {

template <class T>
NumberFault fault(std::string_view text) {
  T value{};
  return parse_number(text, value);
}

template <class T>
T read(std::string_view text) {
  T value{};
  BOOST_TEST_CONTEXT(text) BOOST_TEST((parse_number(text, value) == NumberFault::none));
  return value;
}

template <class T>
bool has_bits(T a, T b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

// Every shortest spelling must come back, and any decimal must be what the C library makes of it.
template <class T, class Bits>
int wrong_numbers(int count, T (*reference)(const char*, char**)) {
  std::mt19937_64 random(17);
  int wrong = 0;
  char text[64];
  for (int i = 0; i < count; ++i) {
    const auto bits = static_cast<Bits>(random());
    T value;
    std::memcpy(&value, &bits, sizeof value);
    if (!std::isfinite(value)) continue;
    T back{};
    auto end = std::to_chars(text, text + sizeof text, value).ptr;
    wrong +=
        parse_number<T>({text, static_cast<std::size_t>(end - text)}, back) != NumberFault::none ||
        !has_bits(back, value);
    const int digits = std::snprintf(
        text, sizeof text, "%llu.%llue%d", static_cast<unsigned long long>(random() >> 20),
        static_cast<unsigned long long>(random()), static_cast<int>(random() % 60) - 45);
    if (!std::isfinite(reference(text, nullptr))) continue;
    wrong += parse_number<T>({text, static_cast<std::size_t>(digits)}, back) != NumberFault::none ||
             !has_bits(back, reference(text, nullptr));
  }
  return wrong;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(number)

BOOST_AUTO_TEST_CASE(decimal_spellings_are_read) {
  BOOST_TEST(read<double>("10") == 10);
  BOOST_TEST(read<double>("+5.75") == 5.75);
  BOOST_TEST(read<double>("-.5") == -0.5);
  BOOST_TEST(read<double>("+.5") == 0.5);
  BOOST_TEST(read<double>("7.") == 7);
  BOOST_TEST(read<double>("1e3") == 1000);
  BOOST_TEST(read<double>("1E+3") == 1000);
  BOOST_TEST(read<double>("0.165289256198347E-01") == 0.0165289256198347);
  BOOST_TEST(has_bits(read<double>("-0"), -0.0));
  BOOST_TEST(read<std::int64_t>("+9223372036854775807") ==
             std::numeric_limits<std::int64_t>::max());
  BOOST_TEST(read<std::int32_t>("-2147483648") == std::numeric_limits<std::int32_t>::min());
  BOOST_TEST(read<std::uint8_t>("255") == 255);
  BOOST_TEST(read<bool>("1"));
  BOOST_TEST(!read<bool>("0"));
}

BOOST_AUTO_TEST_CASE(what_is_more_or_less_than_a_number_is_refused) {
  for (const auto* text :
       {"",   "+",   "-",    ".",     "e5",  "1e",    "1e+", "++1", "+-1",  "-+1", "1 ",
        " 1", "1,5", "0x10", "1_000", "1d3", "1.2.3", "1f",  "?",   "+inf", "+nan"}) {
    BOOST_TEST_CONTEXT(text) {
      BOOST_TEST((fault<double>(text) == NumberFault::not_a_number));
      BOOST_TEST((fault<float>(text) == NumberFault::not_a_number));
      BOOST_TEST((fault<std::int64_t>(text) == NumberFault::not_a_number));
      BOOST_TEST((fault<bool>(text) == NumberFault::not_a_number));
    }
  }
  for (const auto* text : {"nan", "-NaN", "inf", "-Infinity", "nan(1)"})
    BOOST_TEST((fault<double>(text) == NumberFault::not_finite));
  for (const auto* text : {"1.0", "1e3", "nan"})
    BOOST_TEST((fault<std::int32_t>(text) == NumberFault::not_a_number));
  for (const auto* text : {"00", "+1", "true"})
    BOOST_TEST((fault<bool>(text) == NumberFault::not_a_number));
}

BOOST_AUTO_TEST_CASE(what_is_too_large_is_refused) {
  for (const auto* text : {"1e400", "-1e309", "1e99999999999999999999", "1.8e308", "0.001e312"}) {
    BOOST_TEST((fault<double>(text) == NumberFault::out_of_range));
    BOOST_TEST((fault<float>(text) == NumberFault::out_of_range));
  }
  const std::string nines(400, '9');
  BOOST_TEST((fault<double>(nines) == NumberFault::out_of_range));
  BOOST_TEST((fault<float>("3.5e38") == NumberFault::out_of_range));
  BOOST_TEST((fault<std::int32_t>("2147483648") == NumberFault::out_of_range));
  BOOST_TEST((fault<std::int64_t>("-9223372036854775809") == NumberFault::out_of_range));
  BOOST_TEST((fault<std::uint8_t>("256") == NumberFault::out_of_range));
  BOOST_TEST(read<double>("1.7976931348623157e308") == std::numeric_limits<double>::max());
}

BOOST_AUTO_TEST_CASE(what_is_too_small_is_zero_of_its_sign) {
  const std::string zeros = "0." + std::string(400, '0') + "1";
  for (const std::string& text :
       {"1e-400"s, "0.1e-330"s, "1e-99999999999999999999"s, "123456e-500"s, zeros}) {
    BOOST_TEST(has_bits(read<double>(text), 0.0));
    BOOST_TEST(has_bits(read<double>("-" + text), -0.0));
    BOOST_TEST(has_bits(read<float>(text), 0.0f));
  }
  BOOST_TEST(has_bits(read<float>("-1e-50"), -0.0f));
  BOOST_TEST(read<double>("5e-324") == std::numeric_limits<double>::denorm_min());
  BOOST_TEST(read<float>("1e-45") == std::numeric_limits<float>::denorm_min());
  BOOST_TEST(read<double>("0e999") == 0);
  BOOST_TEST(read<double>("0e99999999999999999999") == 0);
}

BOOST_AUTO_TEST_CASE(every_number_is_rounded_to_the_nearest) {
  BOOST_TEST((wrong_numbers<double, std::uint64_t>(200'000, std::strtod)) == 0);
  BOOST_TEST((wrong_numbers<float, std::uint32_t>(200'000, std::strtof)) == 0);
}

BOOST_AUTO_TEST_CASE(the_locale_does_not_matter) {
  const char* changed = nullptr;
  for (const auto* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE"})
    if ((changed = std::setlocale(LC_ALL, name))) break;
  if (!changed)
    BOOST_TEST_MESSAGE("no locale with a decimal comma here: only the C locale is checked");
  BOOST_TEST(read<double>("1.5") == 1.5);
  BOOST_TEST((fault<double>("1,5") == NumberFault::not_a_number));
  std::setlocale(LC_ALL, "C");
}

BOOST_AUTO_TEST_SUITE_END()
