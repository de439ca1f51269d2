#pragma once
// Repeated measurements and what to say of them.

#include <vector>

namespace bench {

/// Median and quartiles, between two values by a straight line (type 7 of Hyndman and Fan 1996).
struct Spread {
  double median = 0, low = 0, high = 0;
};

/// Throws blockgrad::Error without values.
Spread spread_of(std::vector<double> values);

/// "1.234 ms": three or four digits in s, ms, us or ns.
const char* unit_of(double seconds);
double in_unit(double seconds);

}  // namespace bench
