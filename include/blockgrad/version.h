#pragma once
// The version of the headers; the build reads it here.

#include <string_view>

namespace blockgrad {

inline constexpr std::string_view version = "0.1.0";

}  // namespace blockgrad
