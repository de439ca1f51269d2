#include "support/run_main.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace bench {

int run_main(int (*run)(int, char**), int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

std::vector<int> numbers_of(int argc, char** argv, const std::string& usage,
                            std::vector<int> usual) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    if (text == "--help" || text == "-h") {
      std::printf("usage: %s\n", usage.c_str());
      std::exit(0);
    }
    const auto place = static_cast<std::size_t>(i - 1);
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (place >= usual.size() || error != std::errc() || end != text.data() + text.size() ||
        number < 1) {
      throw std::invalid_argument("usage: " + usage + "; got " + std::string(text));
    }
    usual[place] = number;
  }
  return usual;
}

}  // namespace bench
