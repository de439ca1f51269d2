#pragma once
// Random graphs: a Recipe says how a graph is made, step by step. It is built twice, as Exprs for
// the engine and as plain loops in double that know nothing of the engine, and both must agree in
// values, in gradients along random directions, and in bits however the graph is compiled.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "blockgrad/graph/expr.h"
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

/// A graph of 5 to 60 nodes, leaves apart, with finite values and away from kinks. The same for the
/// same seed.
Recipe generate(std::uint64_t seed);

/// What disagrees, or "" if nothing does.
std::string problem_of(const Recipe& recipe);

/// The smallest recipe that still fails which replacing steps by leaves of their values, and
/// leaving out outputs, leads to (delta debugging; Zeller and Hildebrandt 2002).
Recipe reduced(Recipe recipe, const std::function<bool(const Recipe&)>& fails);

/// One line per step, leaves with their values.
std::string to_string(const Recipe& recipe);

/// Steps that are not leaves.
int size_of(const Recipe& recipe);

/// Values of all steps by the loops in double, for given values of the leaves.
std::vector<Array> interpret(const Recipe& recipe, std::span<const Array> leaves);
std::vector<Array> leaves_of(const Recipe& recipe);

}  // namespace random_graph
