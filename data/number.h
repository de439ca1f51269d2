#pragma once
// A whole cell as a number, in every locale.

#include <string_view>

#include "blockgrad/graph/dtype.h"

namespace blockgrad::data::detail {

enum class NumberFault { none, not_a_number, not_finite, out_of_range };

/// The number that all of `text` spells, rounded to the nearest T (bf16 and f16: to the nearest
/// double first); what is too small for T gives 0 of its sign. An optional sign, no blanks. T:
/// float, double, bf16, f16, std::int32_t, std::int64_t, std::uint8_t, or bool (0 and 1).
template <class T>
NumberFault parse_number(std::string_view text, T& value);

/// "a number, got 'abc'", "an integer in the range of i32, got '1e9'": the end of a message.
std::string expected_number(NumberFault fault, DType dtype, std::string_view text);

}  // namespace blockgrad::data::detail
