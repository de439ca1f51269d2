#include "support/pgm.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "blockgrad/graph/error.h"

namespace examples {

using blockgrad::require;

namespace {

constexpr std::int64_t most_bytes = 16 * most_pixels;  // a pixel of P2 takes up to six
constexpr int brightest = 65535;

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

class Reader {
 public:
  Reader(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  GreyImage read() {
    require(text_.starts_with("P2") || text_.starts_with("P5"), name_,
            ": expected a PGM image, which begins with P2 or P5");
    const bool is_text = text_[1] == '2';
    at_ = 2;
    GreyImage image;
    image.width = number("the width", 1, static_cast<int>(most_pixels));
    image.height = number("the height", 1, static_cast<int>(most_pixels));
    image.white = number("the value of white", 1, brightest);
    const std::int64_t count = std::int64_t{image.width} * image.height;
    require(count <= most_pixels, name_, ": expected at most ", most_pixels, " pixels, got ",
            image.width, " x ", image.height);
    if (is_text) read_numbers(image, count);
    else read_bytes(image, count);
    return image;
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && (is_blank(text_[at_]) || text_[at_] == '#')) {
      if (text_[at_] == '#') at_ = std::min(text_.find('\n', at_), text_.size());
      else ++at_;
    }
  }

  int number(const char* what, int least, int most) {
    skip_blanks();
    int value = 0;
    const char* const end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    const bool is_whole = stop == end || is_blank(*stop) || *stop == '#';
    require(error == std::errc() && is_whole && value >= least && value <= most, name_,
            ": expected ", what, " at byte ", at_, ", a whole number from ", least, " to ", most);
    at_ = static_cast<std::size_t>(stop - text_.data());
    return value;
  }

  void read_numbers(GreyImage& image, std::int64_t count) {
    require(count <= static_cast<std::int64_t>(text_.size() - at_), name_, ": ", image.width, " x ",
            image.height, " pixels do not fit the file's ", text_.size(), " bytes");
    for (std::int64_t i = 0; i < count; ++i)
      image.pixels.push_back(static_cast<std::uint16_t>(number("a pixel", 0, image.white)));
    skip_blanks();
    require(at_ == text_.size(), name_, ": something follows the last pixel, at byte ", at_);
  }

  void read_bytes(GreyImage& image, std::int64_t count) {
    require(at_ < text_.size() && is_blank(text_[at_]), name_, ": expected a blank at byte ", at_);
    ++at_;
    const std::size_t wide = image.white > 255 ? 2 : 1;
    const std::size_t bytes = static_cast<std::size_t>(count) * wide;
    require(text_.size() - at_ == bytes, name_, ": ", image.width, " x ", image.height,
            " pixels take ", bytes, " bytes, got ", text_.size() - at_);
    const auto* const p = reinterpret_cast<const unsigned char*>(text_.data() + at_);
    for (std::size_t i = 0; i < bytes; i += wide) {
      const int value = wide == 1 ? p[i] : p[i] * 256 + p[i + 1];
      require(value <= image.white, name_, ": pixel ", i / wide, " is ", value,
              ", brighter than white, which is ", image.white);
      image.pixels.push_back(static_cast<std::uint16_t>(value));
    }
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
};

}  // namespace

GreyImage parse_pgm(std::string_view text, const std::string& name) {
  return Reader(text, name).read();
}

GreyImage read_pgm(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code reason;
  const fs::file_status status = fs::status(path, reason);
  require(fs::exists(status), path, ": cannot open it: ", reason.message());
  require(fs::is_regular_file(status), path, ": expected a regular file");
  const auto bytes = static_cast<std::int64_t>(fs::file_size(path, reason));
  require(!reason && bytes <= most_bytes, path, ": expected at most ", most_bytes, " bytes");
  std::ifstream file(path, std::ios::binary);
  require(file.is_open(), path, ": cannot open it");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return parse_pgm(text, path);
}

std::string pgm_text(const GreyImage& image) {
  std::string text = "P5\n" + std::to_string(image.width) + " " + std::to_string(image.height) +
                     "\n" + std::to_string(image.white) + "\n";
  for (const std::uint16_t pixel : image.pixels) {
    if (image.white > 255) text += static_cast<char>(static_cast<unsigned char>(pixel >> 8));
    text += static_cast<char>(static_cast<unsigned char>(pixel & 0xff));
  }
  return text;
}

}  // namespace examples
