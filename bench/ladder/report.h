#pragma once
// What a contest says, as lines to read and as JSON.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ladder/contest.h"
#include "ladder/peers.h"
#include "models/rows.h"

namespace bench {

/// The least seconds of a step: products at the peak of multiply-adds, then its bytes at the rate
/// of the triad.
double floor_seconds(const Work& work, const Roof& roof);

/// Memory and kernels of our program, known when it is compiled.
struct Footprint {
  std::int64_t peak_bytes = 0;
  std::int64_t kernels = 0;
};

/// Kernels of one name, and the seconds that they take beyond what the machine needs for their
/// operations and bytes.
struct Loss {
  std::string what;  // "gradient of conv2d"
  int count = 0;
  double seconds = 0, above_floor = 0;
};

/// Those of a profiled program that lose most, the worst first.
std::vector<Loss> losses_of(const blockgrad::Report& report);

/// {"row", "work", "roofs", "contestants": [..]}: all that was measured, in seconds, bytes and
/// FLOP.
nlohmann::json to_json(const Row& row, const Work& work, const Footprint& footprint,
                       const std::vector<Contestant>& contestants, const Contest& contest);
nlohmann::json to_json(const std::vector<Loss>& losses);
nlohmann::json to_json(const std::vector<LeftOut>& left_out);

/// A line for each contestant.
void print_header();
void print(const nlohmann::json& result);

}  // namespace bench
