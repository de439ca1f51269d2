#pragma once
// The results: as tables for people, as JSON for programs, and the trained parameters.

#include <span>
#include <string>

#include "ad_spend/training.h"

namespace ad_spend {

/// What is trained, and how.
void print_plans(const Problem& problem, const Options& options, std::span<const Plan> plans);
/// The results side by side, what was predicted, and which strategy fits when.
void print_results(const Problem& problem, const Options& options,
                   std::span<const Outcome> outcomes);

/// An array with one object per strategy; coefficients in the data's own units, by column name.
std::string report_text(const Problem& problem, const Options& options,
                        std::span<const Outcome> outcomes);

/// A safetensors file: parameters of all strategies, and `inputs.mean` and `inputs.scale`, which
/// the inputs were moved and divided by.
void write_weights(const std::string& path, const Problem& problem,
                   std::span<const Outcome> outcomes);

}  // namespace ad_spend
