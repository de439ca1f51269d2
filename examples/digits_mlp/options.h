#pragma once
// What the user can choose, and the defaults.

#include <cstdint>
#include <optional>
#include <string>

namespace digits_mlp {

struct Options {
  std::string data;  // folder of MNIST; "": digits that the program draws
  std::int64_t epochs = 5;
  std::int64_t batch_size = 64;
  double learning_rate = 1e-3;
  std::int64_t hidden = 128;
  std::uint64_t seed = 1;
  int threads = 0;
  std::string device = "cpu", math = "exact";
  std::string report;  // "": none
  std::string plot;    // of the curves; the digits go beside it
  std::string save, load;
};

/// Reads the command line; a value if the program is to end at once with it.
std::optional<int> read_options(int argc, const char* const* argv, Options& options);

/// The picture of digits for that of the curves.
std::string digits_picture(const std::string& svg_path);

}  // namespace digits_mlp
