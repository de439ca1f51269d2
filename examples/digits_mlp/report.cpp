#include "digits_mlp/report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "support/number.h"
#include "support/picture.h"
#include "support/table.h"

namespace digits_mlp {

using namespace blockgrad;
using Json = nlohmann::ordered_json;

namespace {

std::string percent(double fraction) {
  return std::isfinite(fraction) ? examples::decimals(100 * fraction, 2) + " %" : "";
}

std::string loss(double value) { return std::isfinite(value) ? examples::decimals(value, 4) : ""; }

/// JSON has no NaN and no infinity.
Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

using Counts = std::array<std::array<int, 10>, 10>;  // [label][said]

Counts count(const std::vector<Guess>& guesses) {
  Counts counts{};
  for (const Guess& guess : guesses)
    ++counts[static_cast<std::size_t>(guess.label)][static_cast<std::size_t>(guess.said)];
  return counts;
}

}  // namespace

void print_results(const Results& results) {
  examples::Table table(
      {"epoch", "seconds", "training loss", "accuracy", "test loss", "test accuracy"});
  for (const Point& point : results.curve) {
    table.add({std::to_string(point.epoch), examples::decimals(point.seconds, 2),
               loss(point.training_loss), percent(point.training_accuracy), loss(point.test_loss),
               percent(point.test_accuracy)});
  }
  std::printf("%s\n", table.to_string().c_str());
  const auto wrong = std::count_if(results.guesses.begin(), results.guesses.end(),
                                   [](const Guess& guess) { return guess.said != guess.label; });
  std::printf("%lld of %zu test digits were read wrong: test accuracy %s\n",
              static_cast<long long>(wrong), results.guesses.size(),
              percent(results.curve.back().test_accuracy).c_str());
  const Counts counts = count(results.guesses);
  std::vector<std::array<int, 3>> mixed_up;  // how often, label, said
  for (int label = 0; label < 10; ++label) {
    for (int said = 0; said < 10; ++said) {
      const int times = counts[static_cast<std::size_t>(label)][static_cast<std::size_t>(said)];
      if (said != label && times > 0) mixed_up.push_back({times, label, said});
    }
  }
  std::stable_sort(mixed_up.begin(), mixed_up.end(),
                   [](const auto& a, const auto& b) { return a[0] > b[0]; });
  if (mixed_up.size() > 5) mixed_up.resize(5);
  for (std::size_t i = 0; i < mixed_up.size(); ++i) {
    std::printf("%s%d taken for %d %dx", i == 0 ? "Most often: " : ", ", mixed_up[i][1],
                mixed_up[i][2], mixed_up[i][0]);
  }
  std::printf(mixed_up.empty() ? "\n" : "\n\n");
}

std::string report_text(const Digits& digits, const Options& options, const Results& results) {
  Json curve = Json::array();
  for (const Point& point : results.curve) {
    curve.push_back({{"epoch", point.epoch},
                     {"seconds", point.seconds},
                     {"training_loss", finite(point.training_loss)},
                     {"training_accuracy", finite(point.training_accuracy)},
                     {"test_loss", finite(point.test_loss)},
                     {"test_accuracy", finite(point.test_accuracy)}});
  }
  const Json report{{"data", digits.name},
                    {"training_rows", digits.training.rows()},
                    {"test_rows", digits.test.rows()},
                    {"hidden", options.hidden},
                    {"batch_size", options.batch_size},
                    {"learning_rate", options.learning_rate},
                    {"seed", options.seed},
                    {"math", options.math},
                    {"ended", results.was_stopped ? "stopped" : "all epochs"},
                    {"test_accuracy", finite(results.curve.back().test_accuracy)},
                    {"said_by_label", count(results.guesses)},
                    {"curve", curve}};
  return report.dump(2) + "\n";
}

void draw_curves(const std::string& svg_path, const Digits& digits, const Results& results) {
  examples::Plot plot{.title = "Reading digits (" + digits.name + ")",
                      .x_label = "epochs (passes over the training digits)",
                      .y_label = "wrong digits (share), loss (cross-entropy)",
                      .log_y = true,
                      .curves = {{"training loss", {}, {}},
                                 {"test loss", {}, {}},
                                 {"training: share of wrong digits", {}, {}},
                                 {"test: share of wrong digits", {}, {}}}};
  const auto add = [&](std::size_t curve, const Point& point, double value) {
    if (!std::isfinite(value)) return;
    plot.curves[curve].x.push_back(static_cast<double>(point.epoch));
    plot.curves[curve].y.push_back(value);
  };
  for (const Point& point : results.curve) {
    add(0, point, point.training_loss);
    add(1, point, point.test_loss);
    add(2, point, 1 - point.training_accuracy);
    add(3, point, 1 - point.test_accuracy);
  }
  const examples::Picture picture = examples::draw(plot, svg_path);
  for (const std::string& file : picture.files) std::printf("  wrote %s\n", file.c_str());
  if (!picture.note.empty()) std::printf("  %s\n", picture.note.c_str());
}

}  // namespace digits_mlp
