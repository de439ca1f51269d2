#pragma once
// Grey images as PGM files (Netpbm): text, P2, and bytes, P5.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace examples {

/// Row by row; 0 is black, `white` is white.
struct GreyImage {
  int width = 0, height = 0;
  int white = 255;  // 1 to 65535
  std::vector<std::uint16_t> pixels;
};

/// At most this many pixels are read.
inline constexpr std::int64_t most_pixels = std::int64_t{1} << 24;

/// Throws Error, naming the file, if it is not a regular file, not a PGM, has a size of 0 or more
/// than most_pixels, a pixel brighter than white, too few pixels, or anything behind them.
GreyImage read_pgm(const std::string& path);
/// The same for a file's text; `name` stands for the file in messages.
GreyImage parse_pgm(std::string_view text, const std::string& name);

/// The text of a P5 file.
std::string pgm_text(const GreyImage& image);

}  // namespace examples
