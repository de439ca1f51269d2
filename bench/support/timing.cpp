#include "support/timing.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "blockgrad/graph/error.h"

namespace bench {

namespace {

struct Unit {
  const char* name;
  double seconds;
};
constexpr std::array units{Unit{"s", 1}, Unit{"ms", 1e-3}, Unit{"us", 1e-6}, Unit{"ns", 1e-9}};

const Unit& unit(double seconds) {
  for (const Unit& u : units) {
    if (seconds >= u.seconds) return u;
  }
  return units.back();
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  blockgrad::require(!values.empty(), "no measurements");
  std::sort(values.begin(), values.end());
  const auto at = [&](double fraction) {
    const double place = fraction * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.5), at(0.25), at(0.75)};
}

const char* unit_of(double seconds) { return unit(seconds).name; }
double in_unit(double seconds) { return seconds / unit(seconds).seconds; }

}  // namespace bench
