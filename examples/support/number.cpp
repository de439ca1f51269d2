#include "support/number.h"

#include <cstdio>

namespace examples {

namespace {

std::string print(const char* format, int precision, double value) {
  char text[512];
  std::snprintf(text, sizeof text, format, precision, value);
  return text;
}

}  // namespace

std::string number(double value, int digits) { return print("%.*g", digits, value); }

std::string decimals(double value, int places) { return print("%.*f", places, value); }

}  // namespace examples
