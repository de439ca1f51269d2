#include "ladder/report.h"

#include <algorithm>
#include <cstdio>
#include <map>

namespace bench {

double floor_seconds(const Work& work, const Roof& roof) {
  return work.flops / roof.flops + work.bytes / roof.bytes;
}

std::vector<Loss> losses_of(const blockgrad::Report& report) {
  constexpr std::size_t most = 4;
  std::map<std::string, Loss> by_name;
  for (const blockgrad::NodeReport& node : report.nodes) {
    const std::string name = node.node.substr(0, node.node.find(" ("));
    Loss& loss = by_name[name];
    loss.what = name;
    ++loss.count;
    loss.seconds += node.seconds;
    loss.above_floor += node.seconds * std::max(0.0, 1 - node.roof);
  }
  std::vector<Loss> losses;
  for (const auto& [name, loss] : by_name) losses.push_back(loss);
  std::stable_sort(losses.begin(), losses.end(),
                   [](const Loss& a, const Loss& b) { return a.above_floor > b.above_floor; });
  losses.resize(std::min(losses.size(), most));
  return losses;
}

nlohmann::json to_json(const Row& row, const Work& work, const Footprint& footprint,
                       const std::vector<Contestant>& contestants, const Contest& contest) {
  nlohmann::json result{{"row", row.name},
                        {"title", row.title},
                        {"flops", work.flops},
                        {"bytes", work.bytes},
                        {"peak_bytes", footprint.peak_bytes},
                        {"kernels", footprint.kernels},
                        {"made_again", contest.made_again},
                        {"disturbed", contest.disturbed},
                        {"contestants", nlohmann::json::array()}};
  for (const auto& [threads, roof] : contest.roofs) {
    result["roofs"][std::to_string(threads)] = {{"flops", roof.flops}, {"bytes", roof.bytes}};
  }
  for (std::size_t i = 0; i < contestants.size(); ++i) {
    const Contestant& contestant = contestants[i];
    const Measured& measured = contest.measured[i];
    if (!measured.failure.empty()) continue;
    const double least = floor_seconds(work, contest.roofs.at(contestant.threads));
    result["contestants"].push_back({{"name", contestant.name},
                                     {"threads", contestant.threads},
                                     {"seconds", measured.seconds.median},
                                     {"low", measured.seconds.low},
                                     {"high", measured.seconds.high},
                                     {"steps", measured.steps},
                                     {"repetitions", measured.repetitions},
                                     {"turns", measured.turns},
                                     {"floor", least},
                                     {"share_of_floor", least / measured.seconds.median},
                                     {"loss", contestant.loss}});
  }
  return result;
}

nlohmann::json to_json(const std::vector<Loss>& losses) {
  nlohmann::json list = nlohmann::json::array();
  for (const Loss& loss : losses) {
    list.push_back({{"what", loss.what},
                    {"count", loss.count},
                    {"seconds", loss.seconds},
                    {"above_floor", loss.above_floor}});
  }
  return list;
}

nlohmann::json to_json(const std::vector<LeftOut>& left_out) {
  nlohmann::json list = nlohmann::json::array();
  for (const LeftOut& peer : left_out) {
    list.push_back({{"name", peer.name}, {"threads", peer.threads}, {"why", peer.why}});
  }
  return list;
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

}  // namespace bench
