// What the engine makes of a recipe, against the loops in double; and the smallest recipe that
// still disagrees.
#include <algorithm>
#include <cmath>
#include <sstream>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"
#include "tests/support/random_forms.h"
#include "tests/support/random_graph.h"
#include "tests/support/variants.h"

namespace random_graph {

using namespace blockgrad;
using op_check::array_of;
using op_check::same_bits;
using op_check::tensor_of;
using op_check::variants;

namespace {

struct Built {
  std::vector<Expr> outputs;  // then the gradients by the leaves
  std::size_t gradients = 0;  // the first of them
  Feeds feeds;
};

Built build(const Recipe& recipe) {
  Built built;
  std::vector<Expr> steps, leaves;
  for (const Step& step : recipe.steps) {
    if (!step.form) {
      steps.push_back(input("x" + std::to_string(leaves.size()), step.shape, DType::f64));
      leaves.push_back(steps.back());
      built.feeds.push_back({steps.back(), tensor_of(step.value, DType::f64)});
      continue;
    }
    std::vector<Expr> inputs;
    for (const int in : step.inputs) inputs.push_back(steps[static_cast<std::size_t>(in)]);
    steps.push_back(step.form->build(step, inputs));
    require(steps.back().shape() == step.shape, "step ", steps.size() - 1, " has shape ",
            steps.back().shape(), ", expected ", step.shape);
  }
  Expr total;
  for (std::size_t o = 0; o < recipe.outputs.size(); ++o) {
    const Expr& y = steps[static_cast<std::size_t>(recipe.outputs[o])];
    Array weights{y.shape(), {}};
    for (std::int64_t e = 0; e < y.shape().size(); ++e)
      weights.values.push_back(weight_of(o, static_cast<std::size_t>(e)));
    const Expr part = sum(y * constant(tensor_of(weights, DType::f64)));
    total = total ? total + part : part;
    built.outputs.push_back(y);
  }
  built.gradients = built.outputs.size();
  const std::vector<Expr> found = grad(total, leaves);
  built.outputs.insert(built.outputs.end(), found.begin(), found.end());
  return built;
}

std::string value_problem(const Recipe& recipe, const std::vector<Tensor>& got) {
  constexpr double tolerance = 1e-9;
  const std::vector<Array> expected = interpret(recipe, leaves_of(recipe));
  for (std::size_t o = 0; o < recipe.outputs.size(); ++o) {
    const Array& y = expected[static_cast<std::size_t>(recipe.outputs[o])];
    for (std::size_t e = 0; e < y.values.size(); ++e) {
      const double have = got[o].at(static_cast<std::int64_t>(e)), want = y.values[e];
      if (std::abs(have - want) <= tolerance * std::max(1.0, std::abs(want))) continue;
      std::ostringstream text;
      text.precision(17);
      text << "element " << e << " of %" << recipe.outputs[o] << " is " << have
           << ", the loops give " << want;
      return text.str();
    }
  }
  return "";
}

std::string gradient_problem(const Recipe& recipe, std::span<const Tensor> gradients) {
  constexpr double tolerance = 1e-6;
  const Slopes slopes = slopes_of(recipe);
  if (!slopes.is_smooth) return "";
  for (std::size_t d = 0; d < slopes.along.size(); ++d) {
    double along = 0;
    for (std::size_t l = 0; l < gradients.size(); ++l) {
      const auto g = gradients[l].span<double>();
      for (std::size_t e = 0; e < g.size(); ++e) along += g[e] * slopes.directions[d][l].values[e];
    }
    const double want = slopes.along[d];
    if (std::abs(along - want) <= tolerance * std::max(1.0, std::abs(want))) continue;
    std::ostringstream text;
    text.precision(17);
    text << "along direction " << d << " the gradient gives " << along << ", differences " << want;
    return text.str();
  }
  return "";
}

// In the least memory, which an Error names: no byte more, and equal bits.
std::string limit_problem(const Built& built, const std::vector<Tensor>& got) {
  CompileOptions options;
  options.memory_limit = 1;
  const std::string named = "the least that would do is ";
  const std::vector<Output> outputs(built.outputs.begin(), built.outputs.end());
  const std::string text = test_support::error_of([&] { compile(outputs, {}, cpu(), options); });
  const std::size_t at = text.find(named);
  if (at == std::string::npos) return "";  // one byte is enough
  options.memory_limit = std::stoll(text.substr(at + named.size()));
  Program program = compile(outputs, {}, cpu(), options);
  const std::int64_t peak = program.report().peak_bytes;
  if (peak > options.memory_limit)
    return "needs " + std::to_string(peak) + " bytes, limit " +
           std::to_string(options.memory_limit);
  const Results results = program.run(built.feeds);
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!same_bits(results.tensor(static_cast<int>(i)), got[i]))
      return "result " + std::to_string(i) + " has other bits in the least memory";
  }
  return "";
}

// Without the steps that no output needs.
Recipe pruned(const Recipe& recipe) {
  std::vector<char> is_needed(recipe.steps.size(), 0);
  for (const int output : recipe.outputs) is_needed[static_cast<std::size_t>(output)] = 1;
  for (std::size_t i = recipe.steps.size(); i-- > 0;) {
    if (!is_needed[i]) continue;
    for (const int in : recipe.steps[i].inputs) is_needed[static_cast<std::size_t>(in)] = 1;
  }
  Recipe kept;
  std::vector<int> number(recipe.steps.size(), -1);
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
    if (!is_needed[i]) continue;
    number[i] = static_cast<int>(kept.steps.size());
    kept.steps.push_back(recipe.steps[i]);
    for (int& in : kept.steps.back().inputs) in = number[static_cast<std::size_t>(in)];
  }
  for (const int output : recipe.outputs)
    kept.outputs.push_back(number[static_cast<std::size_t>(output)]);
  return kept;
}

// The recipes one change smaller, the smallest first.
std::vector<Recipe> smaller(const Recipe& recipe) {
  std::vector<Recipe> all;
  if (recipe.outputs.size() > 1) {
    for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
      Recipe one = recipe;
      one.outputs = {static_cast<int>(i)};
      all.push_back(pruned(one));
    }
  }
  const std::vector<Array> values = interpret(recipe, leaves_of(recipe));
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
    if (!recipe.steps[i].form) continue;
    Recipe cut = recipe;
    cut.steps[i] = {nullptr, {}, {}, recipe.steps[i].shape, values[i]};
    all.push_back(pruned(cut));
    cut = recipe;
    cut.outputs = recipe.steps[i].inputs;  // in place of the last step
    if (recipe.outputs == std::vector{static_cast<int>(i)}) all.push_back(pruned(cut));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Recipe& a, const Recipe& b) { return size_of(a) < size_of(b); });
  return all;
}

}  // namespace

std::string problem_of(const Recipe& recipe) {
  try {
    const Built built = build(recipe);
    const std::vector<Tensor> got = op_check::run(built.outputs, built.feeds);
    if (std::string text = value_problem(recipe, got); !text.empty()) return text;
    const auto gradients = std::span<const Tensor>(got).subspan(built.gradients);
    if (std::string text = gradient_problem(recipe, gradients); !text.empty()) return text;
    if (recipe.steps.size() % 4 == 0) {
      if (std::string text = limit_problem(built, got); !text.empty()) return text;
    }
    const std::size_t other = 1 + recipe.steps.size() % (variants().size() - 1);
    for (const std::size_t v : {std::size_t{0}, other}) {
      const std::vector<Tensor> again =
          op_check::run(built.outputs, built.feeds, variants()[v].options);
      for (std::size_t i = 0; i < got.size(); ++i) {
        if (same_bits(again[i], got[i])) continue;
        return (i < built.gradients ? "output " + std::to_string(i)
                                    : "gradient " + std::to_string(i - built.gradients)) +
               " has other bits with " + variants()[v].name + ": " +
               blockgrad::to_string(again[i], 50) + " instead of " +
               blockgrad::to_string(got[i], 50);
      }
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

Program compile_on(const Recipe& recipe, const Device& device) {
  const Built built = build(recipe);
  return compile(std::vector<Output>(built.outputs.begin(), built.outputs.end()), {}, device);
}

std::string problem_on(const Recipe& recipe, const Device& device) {
  try {
    const Built built = build(recipe);
    Program program =
        compile(std::vector<Output>(built.outputs.begin(), built.outputs.end()), {}, device);
    const Results results = program.run(built.feeds);
    std::vector<Tensor> got;
    for (std::size_t i = 0; i < built.outputs.size(); ++i)
      got.push_back(results.tensor(static_cast<int>(i)));
    if (std::string text = value_problem(recipe, got); !text.empty()) return text;
    return gradient_problem(recipe, std::span<const Tensor>(got).subspan(built.gradients));
  } catch (const std::exception& error) {
    return error.what();
  }
}

Recipe reduced(Recipe recipe, const std::function<bool(const Recipe&)>& fails) {
  for (bool shrinks = true; shrinks;) {
    shrinks = false;
    for (Recipe& candidate : smaller(recipe)) {
      if (size_of(candidate) >= size_of(recipe) || !fails(candidate)) continue;
      recipe = std::move(candidate);
      shrinks = true;
      break;
    }
  }
  return recipe;
}

}  // namespace random_graph
