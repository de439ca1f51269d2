#include <algorithm>
#include <chrono>
#include <cstdio>

#include "graph/passes/passes.h"

namespace blockgrad {

namespace {

bool names(std::span<const std::string> list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

void check_names(std::span<const std::string> asked, std::span<const Pass> passes,
                 std::string_view option) {
  for (const std::string& name : asked) {
    const auto known =
        std::find_if(passes.begin(), passes.end(), [&](const Pass& p) { return p.name == name; });
    if (known == passes.end()) {
      std::string all;
      for (const Pass& pass : passes) all += (all.empty() ? "" : ", ") + std::string(pass.name);
      fail({option, ": no pass is called '", name, "'; there are ", all});
    }
    require(option != "skip" || known->skippable, "skip: the pass '", name, "' cannot be left out");
  }
}

}  // namespace

Graph run_passes(Graph graph, std::span<const Pass> passes, std::span<const std::string> skip,
                 std::span<const std::string> print, std::vector<PassRecord>& records) {
  check_names(skip, passes, "skip");
  check_names(print, passes, "print");
  using Clock = std::chrono::steady_clock;
  std::chrono::duration<double> verifying{};
  const auto check = [&](std::string_view after) {
    const auto start = Clock::now();
    verify(graph, after);
    verifying += Clock::now() - start;
  };
  check("build");
  for (const Pass& pass : passes) {
    if (!pass.runs || names(skip, pass.name)) {
      if (names(print, pass.name)) std::printf("%s was left out\n", std::string(pass.name).c_str());
      continue;
    }
    const auto start = Clock::now();
    graph = pass.run(graph);
    const std::chrono::duration<double> seconds = Clock::now() - start;
    check(pass.name);
    records.push_back(
        {std::string(pass.name), seconds.count(), static_cast<std::int64_t>(graph.nodes.size())});
    if (names(print, pass.name))
      std::printf("after %s\n%s", std::string(pass.name).c_str(), to_text(graph).c_str());
  }
  records.push_back({"verify", verifying.count(), static_cast<std::int64_t>(graph.nodes.size())});
  return graph;
}

}  // namespace blockgrad
