#pragma once
// SHA-256 (FIPS 180-4): names texts and notices damaged files.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace blockgrad {

using Sha256 = std::array<std::uint8_t, 32>;

Sha256 sha256(std::string_view bytes);
/// 64 hexadecimal digits.
std::string to_string(const Sha256& hash);

}  // namespace blockgrad
