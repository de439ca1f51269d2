#include "data/number.h"

#include <charconv>
#include <cmath>
#include <string>

#include "data/message.h"

namespace blockgrad::data::detail {

namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Whether the magnitude of a decimal number is below 1. from_chars says only that it is out of
// range.
bool is_below_one(std::string_view text) {
  std::int64_t magnitude =
      0;  // decimal digits before the point, counted from the first that is not 0
  bool leading = true, fraction = false;
  std::size_t i = 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') fraction = true;
    if (!is_digit(text[i])) continue;
    if (text[i] != '0') leading = false;
    if (fraction && leading) --magnitude;
    if (!fraction && !leading) ++magnitude;
  }
  if (i == text.size()) return magnitude <= 0;
  ++i;
  const bool negative = i < text.size() && text[i] == '-';
  if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
  std::int64_t exponent = 0;
  const auto read = std::from_chars(text.data() + i, text.data() + text.size(), exponent);
  if (read.ec == std::errc::result_out_of_range) return negative;
  return magnitude + (negative ? -exponent : exponent) <= 0;
}

}  // namespace

template <class T>
NumberFault parse_number(std::string_view text, T& value) {
  const std::string_view whole = text;
  if (text.size() > 1 && text[0] == '+' && (is_digit(text[1]) || text[1] == '.'))
    text.remove_prefix(1);
  const char* end = text.data() + text.size();
  if constexpr (std::is_same_v<T, bool>) {
    if (whole != "0" && whole != "1") return NumberFault::not_a_number;
    value = whole == "1";
  } else if constexpr (std::is_class_v<T>) {
    double wide = 0;
    const NumberFault fault = parse_number(whole, wide);
    value = T(wide);
    if (fault == NumberFault::none && !std::isfinite(static_cast<float>(value)))
      return NumberFault::out_of_range;
    return fault;
  } else {
    const auto read = std::from_chars(text.data(), end, value);
    if (read.ec == std::errc::invalid_argument || read.ptr != end) return NumberFault::not_a_number;
    if (read.ec == std::errc::result_out_of_range) {
      if (!std::is_floating_point_v<T> || !is_below_one(text)) return NumberFault::out_of_range;
      value = text[0] == '-' ? static_cast<T>(-0.0) : T{};
    }
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) return NumberFault::not_finite;
    }
  }
  return NumberFault::none;
}

template NumberFault parse_number(std::string_view, float&);
template NumberFault parse_number(std::string_view, double&);
template NumberFault parse_number(std::string_view, bf16&);
template NumberFault parse_number(std::string_view, f16&);
template NumberFault parse_number(std::string_view, std::int32_t&);
template NumberFault parse_number(std::string_view, std::int64_t&);
template NumberFault parse_number(std::string_view, std::uint8_t&);
template NumberFault parse_number(std::string_view, bool&);

std::string expected_number(NumberFault fault, DType dtype, std::string_view text) {
  std::string expected = is_floating(dtype)  ? "a number"
                         : is_integer(dtype) ? "an integer"
                                             : "0 or 1";
  if (fault == NumberFault::not_finite) expected = "a finite number";
  if (fault == NumberFault::out_of_range)
    expected += " in the range of " + std::string(name(dtype));
  return expected + ", got " + (text.empty() ? "an empty cell" : in_quotes(text));
}

}  // namespace blockgrad::data::detail
