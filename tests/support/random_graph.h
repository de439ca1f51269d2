#pragma once
// Random graphs: a Recipe says how a graph is made, step by step. It is built twice, as Exprs for
// the engine and as plain loops in double that know nothing of the engine, and both must agree in
// values, in gradients along random directions, and in bits however the graph is compiled.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/backends/program.h"
#include "tests/support/array.h"

namespace random_graph {

using blockgrad::Expr;
using blockgrad::Shape;
using op_check::Array;
using op_check::Index;

struct Form;

struct Step {
  const Form* form = nullptr;         // null: a leaf
  std::vector<int> inputs;            // numbers of earlier steps
  std::vector<std::int64_t> numbers;  // what the form chose: axes, sizes, which function
  Shape shape;
  Array value;  // of a leaf
};

struct Recipe {
  std::vector<Step> steps;
  std::vector<int> outputs;  // what is compared, and summed up to be differentiated
};

/// Steps that are not leaves.
int size_of(const Recipe& recipe);
/// One line per step, leaves with their values.
std::string to_string(const Recipe& recipe);

/// A graph of 5 to 60 nodes, leaves apart, with finite values and away from kinks. The same for the
/// same seed.
Recipe generate(std::uint64_t seed);

/// The values of all steps, computed by the loops in double, with `leaves` in place of the recipe's
/// own.
std::vector<Array> interpret(const Recipe& recipe, std::span<const Array> leaves);
std::vector<Array> leaves_of(const Recipe& recipe);

/// The slopes of the weighted sum of all outputs along fixed directions, by differences of the
/// loops in double.
struct Slopes {
  std::vector<std::vector<Array>> directions;  // of the leaves
  std::vector<double> along;
  bool is_smooth = true;  // two steps of the differences agree
};
Slopes slopes_of(const Recipe& recipe);
/// The weight of an element of an output in that sum.
double weight_of(std::size_t output, std::size_t element);

/// What disagrees, or "" if nothing does.
std::string problem_of(const Recipe& recipe);

/// The same of values and gradients alone, on another device.
std::string problem_on(const Recipe& recipe, const blockgrad::Device& device);
/// Compiles the program that problem_on runs.
blockgrad::Program compile_on(const Recipe& recipe, const blockgrad::Device& device);

/// The smallest recipe that still fails to which replacing steps by leaves of their values and
/// leaving out outputs leads (delta debugging; Zeller and Hildebrandt 2002).
Recipe reduced(Recipe recipe, const std::function<bool(const Recipe&)>& fails);

}  // namespace random_graph
