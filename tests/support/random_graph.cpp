#include "tests/support/random_graph.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "tests/support/random_forms.h"

namespace random_graph {

using namespace blockgrad;

namespace {

// Larger values would make rounding show.
constexpr double largest = 30;
constexpr std::int64_t most_elements = 48;
constexpr int least_nodes = 5, most_nodes = 60;

std::vector<const Form*> weighted_forms() {
  std::vector<const Form*> all;
  for (const std::span<const Form> family : {map_forms(), view_forms(), line_forms()}) {
    for (const Form& form : family)
      all.insert(all.end(), static_cast<std::size_t>(form.weight), &form);
  }
  return all;
}

Recipe grown(std::uint64_t seed) {
  static const std::vector<const Form*> forms = weighted_forms();
  Maker maker(seed);
  const auto nodes = least_nodes + static_cast<int>(maker.below(most_nodes - least_nodes + 1));
  for (std::int64_t i = 1 + maker.below(3); i > 0; --i) maker.leaf(maker.small_shape());
  for (int made = 0, tried = 0; made < nodes && tried < 40 * nodes; ++tried) {
    Step step;
    step.form = forms[static_cast<std::size_t>(maker.below(std::ssize(forms)))];
    if (step.form->propose(maker, step) && maker.append(std::move(step))) ++made;
  }
  Recipe recipe = std::move(maker.recipe);
  // What nothing reads is an output, and now and then another step.
  std::vector<char> is_read(recipe.steps.size(), 0);
  for (const Step& step : recipe.steps) {
    for (const int in : step.inputs) is_read[static_cast<std::size_t>(in)] = 1;
  }
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
    const bool is_node = recipe.steps[i].form != nullptr;
    if (!is_read[i] || (is_node && maker.chance(5))) recipe.outputs.push_back(static_cast<int>(i));
  }
  return recipe;
}

}  // namespace

int Maker::pick(const std::function<bool(int)>& fits) {
  for (int tries = 0; tries < 20; ++tries) {
    const auto a = static_cast<int>(below(count())), b = static_cast<int>(below(count()));
    if (const int step = std::max(a, b); fits(step)) return step;
  }
  return -1;
}

int Maker::of_shape(const Shape& wanted) {
  const int old = chance(50) ? pick([&](int i) { return shape(i) == wanted; }) : -1;
  return old >= 0 ? old : leaf(wanted);
}

int Maker::leaf(const Shape& shape) {
  Step step;
  step.shape = shape;
  step.value.shape = shape;
  for (std::int64_t i = 0; i < shape.size(); ++i) step.value.values.push_back(number(-1.5, 1.5));
  values_.push_back(step.value);
  recipe.steps.push_back(std::move(step));
  return count() - 1;
}

Shape Maker::small_shape() {
  std::vector<std::int64_t> sizes;
  for (std::int64_t axes = below(4); axes > 0; --axes) sizes.push_back(1 + below(4));
  return Shape(sizes);
}

bool Maker::append(Step step) {
  if (step.shape.size() > most_elements) return false;
  std::vector<Array> inputs;
  for (const int in : step.inputs) inputs.push_back(value(in));
  Array made = step.form->value(step, inputs);
  const bool fits = std::all_of(made.values.begin(), made.values.end(),
                                [](double v) { return std::abs(v) <= largest; });
  if (!fits) return false;
  values_.push_back(std::move(made));
  recipe.steps.push_back(std::move(step));
  return true;
}

int size_of(const Recipe& recipe) {
  return static_cast<int>(std::count_if(recipe.steps.begin(), recipe.steps.end(),
                                        [](const Step& step) { return step.form != nullptr; }));
}

std::string to_string(const Recipe& recipe) {
  std::string text;
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
    const Step& step = recipe.steps[i];
    text += "%" + std::to_string(i) + " = ";
    if (step.form) text += step.form->title ? step.form->title(step) : step.form->name;
    else text += "leaf";
    for (const int in : step.inputs) text += " %" + std::to_string(in);
    if (!step.numbers.empty()) {
      text += " {";
      for (const std::int64_t n : step.numbers)
        text += (text.back() == '{' ? "" : " ") + std::to_string(n);
      text += "}";
    }
    text += " : " + to_string(step.shape);
    for (const double v : step.value.values) {
      char digits[32];
      std::snprintf(digits, sizeof digits, " %.17g", v);
      text += digits;
    }
    text += "\n";
  }
  text += "outputs";
  for (const int output : recipe.outputs) text += " %" + std::to_string(output);
  return text + "\n";
}

Recipe generate(std::uint64_t seed) {
  constexpr std::uint64_t most_tries = 1000;
  for (std::uint64_t i = 0; i < most_tries; ++i) {
    Recipe recipe = grown(seed * most_tries + i);
    if (size_of(recipe) >= least_nodes && slopes_of(recipe).is_smooth) return recipe;
  }
  fail({"no smooth graph for seed ", static_cast<unsigned long>(seed)});
}

std::vector<Array> leaves_of(const Recipe& recipe) {
  std::vector<Array> leaves;
  for (const Step& step : recipe.steps) {
    if (!step.form) leaves.push_back(step.value);
  }
  return leaves;
}

std::vector<Array> interpret(const Recipe& recipe, std::span<const Array> leaves) {
  std::vector<Array> values;
  std::size_t leaf = 0;
  for (const Step& step : recipe.steps) {
    if (!step.form) {
      values.push_back(leaves[leaf++]);
      continue;
    }
    std::vector<Array> inputs;
    for (const int in : step.inputs) inputs.push_back(values[static_cast<std::size_t>(in)]);
    values.push_back(step.form->value(step, inputs));
  }
  return values;
}

double weight_of(std::size_t output, std::size_t element) {
  return 0.5 + double((5 * output + 7 * element) % 16) / 16;
}

Slopes slopes_of(const Recipe& recipe) {
  constexpr int directions = 3;
  constexpr double step = 1e-4, steepest = 1e4, agreement = 1e-7;
  const std::vector<Array> leaves = leaves_of(recipe);
  const auto sum_at = [&](const std::vector<Array>& direction, double t) {
    std::vector<Array> moved = leaves;
    for (std::size_t l = 0; l < moved.size(); ++l) {
      for (std::size_t e = 0; e < moved[l].values.size(); ++e)
        moved[l].values[e] += t * direction[l].values[e];
    }
    const std::vector<Array> values = interpret(recipe, moved);
    double sum = 0;
    for (std::size_t o = 0; o < recipe.outputs.size(); ++o) {
      const Array& y = values[static_cast<std::size_t>(recipe.outputs[o])];
      for (std::size_t e = 0; e < y.values.size(); ++e) sum += weight_of(o, e) * y.values[e];
    }
    return sum;
  };
  Slopes slopes;
  std::mt19937_64 random(11);
  for (int d = 0; d < directions; ++d) {
    std::vector<Array> direction = leaves;
    for (Array& leaf : direction) {
      for (double& v : leaf.values) v = double(random() >> 11) * 0x1p-52 - 1;
    }
    const auto slope = [&](double h) {
      return (sum_at(direction, h) - sum_at(direction, -h)) / (2 * h);
    };
    const double wide = slope(step), narrow = slope(step / 2);
    const double error = std::abs(wide - narrow) / std::max(1.0, std::abs(narrow));
    slopes.is_smooth = slopes.is_smooth && error <= agreement && std::abs(narrow) <= steepest;
    slopes.along.push_back((4 * narrow - wide) / 3);
    slopes.directions.push_back(std::move(direction));
  }
  return slopes;
}

}  // namespace random_graph
