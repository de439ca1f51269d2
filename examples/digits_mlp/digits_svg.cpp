#include <array>

#include "digits_mlp/report.h"
#include "support/number.h"

namespace digits_mlp {

using namespace blockgrad;

namespace {

constexpr int columns = 8, rows = 3;
constexpr int shades = 8;  // pixels of one shade are one path
constexpr int pixel = 4, caption = 22, gap = 12;

/// The pixels of a digit, one path for each shade: "M3 4h1v1h-1z" is the pixel in column 3, row 4.
std::string paths(std::span<const std::uint8_t> image, std::int64_t width) {
  std::array<std::string, shades> shade;
  for (std::size_t i = 0; i < image.size(); ++i) {
    const int level = image[i] * shades / 256;
    if (level == 0) continue;
    const auto at = static_cast<std::int64_t>(i);
    shade[static_cast<std::size_t>(level)] +=
        "M" + std::to_string(at % width) + " " + std::to_string(at / width) + "h1v1h-1z";
  }
  std::string text;
  for (int level = 1; level < shades; ++level) {
    const std::string& d = shade[static_cast<std::size_t>(level)];
    if (d.empty()) continue;
    text += "<path fill-opacity=\"" + examples::number((level + 1.0) / shades, 3) + "\" d=\"" + d +
            "\"/>";
  }
  return text;
}

}  // namespace

std::string digits_svg(const Digits& digits, const Results& results) {
  const Tensor& images = digits.test["image"];
  const std::int64_t height = images.shape()[1], width = images.shape()[2];
  const std::int64_t step_x = width * pixel + gap, step_y = height * pixel + caption + gap;
  const auto bytes = images.span<std::uint8_t>();
  const auto size = static_cast<std::size_t>(width * height);
  std::string text = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
                     std::to_string(columns * step_x + gap) + "\" height=\"" +
                     std::to_string(rows * step_y + 2 * gap) +
                     "\" font-family=\"sans-serif\" font-size=\"11\">\n"
                     "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  for (std::int64_t i = 0;
       i < columns * rows && i < static_cast<std::int64_t>(results.guesses.size()); ++i) {
    const Guess& guess = results.guesses[static_cast<std::size_t>(i)];
    const std::int64_t x = gap + i % columns * step_x, y = gap + i / columns * step_y;
    const bool is_right = guess.said == guess.label;
    text += "<rect x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" width=\"" +
            std::to_string(width * pixel) + "\" height=\"" + std::to_string(height * pixel) +
            "\" fill=\"#f4f4f4\"/>\n<g transform=\"translate(" + std::to_string(x) + " " +
            std::to_string(y) + ") scale(" + std::to_string(pixel) + ")\">";
    text += paths(bytes.subspan(static_cast<std::size_t>(guess.digit) * size, size), width);
    text += "</g>\n<text x=\"" + std::to_string(x) + "\" y=\"" +
            std::to_string(y + height * pixel + 15) + "\" fill=\"" +
            (is_right ? "#1b7837" : "#b2182b") + "\">" + std::to_string(guess.label) +
            (is_right ? " read right" : " read as " + std::to_string(guess.said)) + " (" +
            examples::decimals(100 * guess.right, 1) + " %)</text>\n";
  }
  return text + "<text x=\"" + std::to_string(gap) + "\" y=\"" +
         std::to_string(rows * step_y + gap) +
         "\" fill=\"#555555\">The digits that the network finds hardest. In brackets: how probable "
         "it takes the right answer to be.</text>\n</svg>\n";
}

}  // namespace digits_mlp
