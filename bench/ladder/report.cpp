#include "ladder/report.h"

#include <array>
#include <cstdio>
#include <ctime>
#include <memory>

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

double floor_seconds(const Work& work, const Roof& roof) {
  return work.flops / roof.flops + work.bytes / roof.bytes;
}

nlohmann::json to_json(const Row& row, const Work& work, const Footprint& footprint,
                       const std::vector<Contestant>& contestants, const Contest& contest) {
  nlohmann::json result{{"row", row.name},
                        {"title", row.title},
                        {"flops", work.flops},
                        {"bytes", work.bytes},
                        {"peak_bytes", footprint.peak_bytes},
                        {"kernels", footprint.kernels},
                        {"disturbed", contest.disturbed},
                        {"contestants", nlohmann::json::array()}};
  for (const auto& [threads, roof] : contest.roofs) {
    result["roofs"][std::to_string(threads)] = {{"flops", roof.flops}, {"bytes", roof.bytes}};
  }
  for (std::size_t i = 0; i < contestants.size(); ++i) {
    const Contestant& contestant = contestants[i];
    const Measured& measured = contest.measured[i];
    const double least = floor_seconds(work, contest.roofs.at(contestant.threads));
    result["contestants"].push_back({{"name", contestant.name},
                                     {"threads", contestant.threads},
                                     {"seconds", measured.seconds.median},
                                     {"low", measured.seconds.low},
                                     {"high", measured.seconds.high},
                                     {"steps", measured.steps},
                                     {"repetitions", measured.repetitions},
                                     {"floor", least},
                                     {"share_of_floor", least / measured.seconds.median},
                                     {"loss", contestant.loss}});
  }
  return result;
}

void print_header() {
  std::printf("%-42s %-15s %7s  %12s  %-19s  %8s  %11s\n", "one step, f32", "", "threads", "median",
              "[quartiles]", "of floor", "loss after 20");
}

void print(const nlohmann::json& result) {
  std::string title = result["title"];
  for (const nlohmann::json& c : result["contestants"]) {
    const double seconds = c["seconds"];
    const double scale = in_unit(seconds) / seconds;
    std::printf("%-42s %-15s %7d  %9.2f %-2s  [%8.2f %8.2f]  %6.1f %%  %11.5f\n", title.c_str(),
                c["name"].get<std::string>().c_str(), c["threads"].get<int>(), seconds * scale,
                unit_of(seconds), c["low"].get<double>() * scale, c["high"].get<double>() * scale,
                100 * c["share_of_floor"].get<double>(), c["loss"].get<double>());
    title.clear();
  }
  std::fflush(stdout);
}

nlohmann::json circumstances() {
  return {
      {"commit", first_line_of("git -C '" BG_SOURCE_DIR "' describe --always --dirty 2>/dev/null")},
      {"date", now()},
      {"processor", first_line_of("sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null")},
      {"processors", blockgrad::device_report()}};
}

}  // namespace bench
