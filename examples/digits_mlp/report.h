#pragma once
// The results: as tables for people, as JSON for programs, and as pictures.

#include <string>

#include "digits_mlp/training.h"

namespace digits_mlp {

void print_results(const Results& results);

/// One object: the curve by epoch, the test accuracy, and how often each digit was taken for which.
std::string report_text(const Digits& digits, const Options& options, const Results& results);

/// Error rates and losses by epoch.
void draw_curves(const std::string& svg_path, const Digits& digits, const Results& results);

/// The test digits that the network finds hardest, each with its label, what was said instead, and
/// the probability that the label got. Self-contained SVG.
std::string digits_svg(const Digits& digits, const Results& results);

}  // namespace digits_mlp
