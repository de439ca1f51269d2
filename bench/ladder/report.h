#pragma once
// What a contest says, as lines to read and as JSON.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "ladder/contest.h"
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

/// {"row", "work", "roofs", "contestants": [..]}: all that was measured, in seconds, bytes and
/// FLOP.
nlohmann::json to_json(const Row& row, const Work& work, const Footprint& footprint,
                       const std::vector<Contestant>& contestants, const Contest& contest);

/// A line for each contestant.
void print_header();
void print(const nlohmann::json& result);

/// Commit and date of now, the processor's name and this process' processors.
nlohmann::json circumstances();

}  // namespace bench
