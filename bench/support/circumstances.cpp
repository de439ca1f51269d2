#include "support/circumstances.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>

#include "blockgrad/blockgrad.h"
#include "built_commit.h"

namespace bench {

namespace {

// What a command prints first, "" if it cannot be run.
std::string first_line_of(const char* command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command, "r"), ::pclose);
  std::array<char, 256> line{};
  if (!pipe || !std::fgets(line.data(), line.size(), pipe.get())) return "";
  std::string text = line.data();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

}  // namespace

nlohmann::json circumstances() {
  const std::string devices = blockgrad::device_report();
  return {
      {"commit", built_commit},
      {"date", now()},
      {"processor", first_line_of("sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null")},
      {"processors", devices.substr(0, devices.find('\n'))}};
}

}  // namespace bench
