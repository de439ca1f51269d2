#pragma once
// Pictures of a training: loss curves of all strategies, and the graph of the model.

#include <span>
#include <string>

#include "ad_spend/training.h"

namespace ad_spend {

/// Draws the loss curves to `svg_path` and the graph beside it, and prints what was written and
/// what was not. Throws Error if a file cannot be written.
void draw_pictures(const std::string& svg_path, const Problem& problem,
                   std::span<const Outcome> outcomes);

/// The path of the graph's picture for that of the curves.
std::string graph_picture(const std::string& svg_path);

}  // namespace ad_spend
