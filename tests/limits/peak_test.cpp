// The arena of a training step is hardly larger than what is live at once.
#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <string>

#include "support/models.h"

using namespace blockgrad;

namespace {

struct Row {
  std::string name;
  Feeds feeds;
  Program step;
};

template <class Recipe>
Row row(const std::string& name, const models::Task& task, const Recipe& recipe, Context& context) {
  Optimizer optimizer(recipe);
  const Updates updates = minimize(optimizer, task.loss) + context.updates();
  return {name, task.feeds, compile({task.loss}, updates, cpu(), {.threads = 2})};
}

std::vector<Row> rows() {
  Context context;
  std::vector<Row> all;
  all.push_back(row("small MLP", models::mlp(64, 784, {128, 10}), Sgd{}, context));
  all.push_back(
      row("deep MLP", models::mlp(256, 64, {64, 64, 64, 64, 64, 64, 10}), Adam{}, context));
  all.push_back(row("conv net", models::conv_net(16, 28, 8), Sgd{.momentum = 0.9}, context));
  all.push_back(row("GPT",
                    models::gpt({.layers = 2, .width = 64, .length = 32, .batch = 8}, context),
                    AdamW{}, context));
  all.push_back(row(
      "GPT with dropout",
      models::gpt({.layers = 2, .width = 32, .length = 16, .batch = 4, .dropout = 0.1}, context),
      AdamW{}, context));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(peak)

BOOST_AUTO_TEST_CASE(the_arena_is_at_most_a_tenth_above_what_is_live) {
  for (const Row& r : rows()) {
    const auto arena = static_cast<double>(r.step.report().arena_bytes),
               live = static_cast<double>(r.step.report().live_bytes);
    std::printf("%-16s arena %8.0f bytes, live %8.0f, %.2f %% above\n", r.name.c_str(), arena, live,
                100 * (arena / live - 1));
    BOOST_TEST(live > 0);
    BOOST_TEST(arena >= live, r.name);
    BOOST_TEST(arena <= 1.1 * live, r.name);
    BOOST_TEST(r.step.explain().find(" % above the most bytes live at once") != std::string::npos);
  }
}

BOOST_AUTO_TEST_SUITE_END()
