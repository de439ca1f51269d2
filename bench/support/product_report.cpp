#include "support/product_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <tuple>
#include <vector>

namespace bench {

namespace {

constexpr double most_others = 0.1;  // processors that others may use in a row

bool counts(const nlohmann::json& row) {
  const bool is_tiny = row["m"] == 5 && row["n"] == 1 && row["k"] == 2;
  return !is_tiny && row["others"] <= most_others;
}

}  // namespace

void print_product(const nlohmann::json& row) {
  const std::string shape = std::to_string(row["m"].get<int>()) + "x" +
                            std::to_string(row["n"].get<int>()) + "x" +
                            std::to_string(row["k"].get<int>());
  std::printf("%s %s %-15s %2d  %8.1f %6.1f %%  %8.1f  %6.3f  [%.3f %.3f]  %-8s %s\n",
              row["type"].get<std::string>().c_str(), row["layout"].get<std::string>().c_str(),
              shape.c_str(), row["threads"].get<int>(), row["gflops"].get<double>(),
              row["percent_of_peak"].get<double>(), row["peer_gflops"].get<double>(),
              row["ratio"].get<double>(), row["ratio_low"].get<double>(),
              row["ratio_high"].get<double>(), row["peer"].get<std::string>().c_str(),
              row["plan"].get<std::string>().c_str());
  if (row["others"] > most_others) {
    std::printf("    DISTURBED: others used %.1f processors\n", row["others"].get<double>());
  }
  if (row.contains("percent_of_read_bandwidth")) {
    std::printf("    %.1f %% of the read bandwidth\n",
                row["percent_of_read_bandwidth"].get<double>());
  }
  if (row["nanoseconds"].get<double>() < 1000) {
    std::printf("    %.1f ns each, %s\n", row["nanoseconds"].get<double>(),
                row["measured"].get<std::string>().c_str());
  }
  std::fflush(stdout);
}

std::string means_text(const nlohmann::json& rows) {
  std::map<std::tuple<std::string, std::string, int>, std::vector<double>> groups;
  for (const nlohmann::json& row : rows) {
    if (counts(row)) groups[{row["type"], row["peer"], row["threads"]}].push_back(row["ratio"]);
  }
  std::string text;
  for (const auto& [group, ratios] : groups) {
    const auto& [type, peer, threads] = group;
    double logs = 0;
    for (const double ratio : ratios) logs += std::log(ratio);
    const auto behind =
        std::count_if(ratios.begin(), ratios.end(), [](double ratio) { return ratio < 1; });
    char numbers[160];
    std::snprintf(numbers, sizeof numbers,
                  ", %d thread%s: geometric mean %.3f over %zu undisturbed cells, least %.3f, %lld "
                  "below 1\n",
                  threads, threads == 1 ? "" : "s",
                  std::exp(logs / static_cast<double>(ratios.size())), ratios.size(),
                  *std::min_element(ratios.begin(), ratios.end()), static_cast<long long>(behind));
    text += type + ", " + peer + numbers;
  }
  return text;
}

}  // namespace bench
