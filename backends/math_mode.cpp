#include "blockgrad/backends/program.h"

namespace blockgrad {

namespace {

constexpr MathMode all_modes[] = {MathMode::exact, MathMode::tf32, MathMode::bf16, MathMode::f16};

}  // namespace

std::string_view name(MathMode mode) {
  switch (mode) {
    case MathMode::exact: return "exact";
    case MathMode::tf32: return "tf32";
    case MathMode::bf16: return "bf16";
    case MathMode::f16: return "f16";
  }
  return "?";
}

MathMode math_mode(std::string_view asked) {
  std::string known;
  for (const MathMode mode : all_modes) {
    if (name(mode) == asked) return mode;
    known += (known.empty() ? "" : ", ") + std::string(name(mode));
  }
  fail({"math: expected one of ", known, ", got '", asked, "'"});
}

}  // namespace blockgrad
