#pragma once
// Numbers as text for tables and messages.

#include <string>

namespace examples {

/// `digits` significant digits, without trailing zeros: 1.25, 3.1e-09.
std::string number(double value, int digits = 6);
/// With this many decimals: 0.014.
std::string decimals(double value, int places);

}  // namespace examples
