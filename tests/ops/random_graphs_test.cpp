// Random graphs: the engine agrees with plain loops, and a mistake that is planted is found and cut
// out.
#include <boost/test/unit_test.hpp>

#include "blockgrad/graph/op.h"
#include "blockgrad/ops/elementwise.h"
#include "tests/support/random_forms.h"
#include "tests/support/random_graph.h"
#include "tests/support/sanitizers.h"

using namespace blockgrad;
using namespace random_graph;

namespace {

// x, with a mistake in the value or in the gradient.
struct Wrong {
  static constexpr std::string_view name = "wrong";
  bool is_value = false;
  bool operator==(const Wrong&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {is_value ? b.dy() : -b.dy()}; }
  Expr expand(std::span<const Expr> in) const { return is_value ? in[0] + 1e-6 : in[0] * 1.0; }
};

// Sanitizers look at memory, which a few graphs show as well; others than x86-64 run in an
// emulator.
#if defined(BG_SANITIZED) || !defined(__x86_64__)
constexpr std::uint64_t graphs = 200;
#else
constexpr std::uint64_t graphs = 2000;
#endif

Array unchanged(const Step&, std::span<const Array> x) { return x[0]; }

const Form wrong_forms[] = {
    {"wrong gradient", 0, nullptr, unchanged,
     [](const Step&, std::span<const Expr> x) { return make(Wrong{false}, {x[0]}); }},
    {"wrong value", 0, nullptr, unchanged,
     [](const Step&, std::span<const Expr> x) { return make(Wrong{true}, {x[0]}); }}};

// The recipe with a wrong step behind step `at`, read by all that read that one.
Recipe with_mistake(const Recipe& recipe, std::size_t at, const Form& form) {
  Recipe planted;
  const auto moved = [&](int step) { return step + (step >= static_cast<int>(at) ? 1 : 0); };
  for (std::size_t i = 0; i < recipe.steps.size(); ++i) {
    planted.steps.push_back(recipe.steps[i]);
    for (int& in : planted.steps.back().inputs) in = moved(in);
    if (i == at)
      planted.steps.push_back({&form, {static_cast<int>(at)}, {}, recipe.steps[i].shape, {}});
  }
  for (const int output : recipe.outputs) planted.outputs.push_back(moved(output));
  return planted;
}

std::string smallest_failure(const Recipe& recipe) {
  const Recipe small = reduced(recipe, [](const Recipe& r) { return !problem_of(r).empty(); });
  return problem_of(small) + "\n" + to_string(small);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(random_graphs)

BOOST_AUTO_TEST_CASE(values_gradients_and_bits_without_passes_agree_with_plain_loops) {
  for (std::uint64_t seed = 0; seed < graphs; ++seed) {
    const Recipe recipe = generate(seed);
    const bool agrees = problem_of(recipe).empty();
    const std::string failure = agrees ? "" : smallest_failure(recipe);
    BOOST_TEST_REQUIRE(agrees, "seed " << seed << ": " << failure);
  }
}

BOOST_AUTO_TEST_CASE(graphs_have_5_to_60_nodes_and_the_same_seed_gives_the_same_one) {
  int fewest = 1000, most = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Recipe recipe = generate(seed);
    fewest = std::min(fewest, size_of(recipe));
    most = std::max(most, size_of(recipe));
    BOOST_TEST_REQUIRE(to_string(generate(seed)) == to_string(recipe));
  }
  BOOST_TEST(fewest >= 5);
  BOOST_TEST(fewest < 10);
  BOOST_TEST(most > 50);
  BOOST_TEST(most <= 60);
}

BOOST_AUTO_TEST_CASE(a_planted_mistake_is_found_and_cut_out) {
  for (const Form& form : wrong_forms) {
    int found = 0;
    for (std::uint64_t seed = 0; seed < 10; ++seed) {
      const Recipe recipe = generate(seed);
      const Recipe planted = with_mistake(recipe, recipe.steps.size() / 2, form);
      if (problem_of(planted).empty()) continue;  // what follows is flat there
      ++found;
      const Recipe small = reduced(planted, [](const Recipe& r) { return !problem_of(r).empty(); });
      BOOST_TEST(size_of(small) == 1, to_string(small));
      BOOST_TEST(small.steps[1].form == &form);
    }
    BOOST_TEST(found >= 8, form.name << " was found " << found << " times");
  }
}

BOOST_AUTO_TEST_SUITE_END()
