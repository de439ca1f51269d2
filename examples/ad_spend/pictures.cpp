#include "ad_spend/pictures.h"

#include <cstdio>

#include "support/picture.h"

namespace ad_spend {

using namespace blockgrad;

namespace {

examples::Plot loss_curves(const Problem& problem, std::span<const Outcome> outcomes) {
  examples::Plot plot{.title = "Learning " + problem.target_name + ": loss by epoch",
                      .x_label = "epochs (passes over the rows)",
                      .y_label = "mean squared error, before each update",
                      .log_x = true,
                      .log_y = true,
                      .curves = {}};
  for (const Outcome& outcome : outcomes) {
    examples::Curve curve{outcome.plan.strategy, {}, {}};
    for (const train::Record& record : outcome.fit.history) {
      curve.x.push_back(static_cast<double>(record.epoch));
      curve.y.push_back(record.training.loss);
    }
    plot.curves.push_back(std::move(curve));
  }
  return plot;
}

/// The loss as the user wrote it, for the batch of this outcome.
std::string model_graph(const Problem& problem, const Outcome& outcome) {
  const std::int64_t batch = outcome.plan.batch_size;
  const auto columns = static_cast<std::int64_t>(problem.input_names.size());
  const DType dtype = problem.rows["inputs"].dtype();
  train::Inputs inputs({{"inputs", input("inputs", {batch, columns}, dtype)},
                        {"target", input("target", {batch, 1}, dtype)}},
                       batch, {.is_training = false});
  const Expr intercept = problem.has_intercept ? outcome.parameters.back() : Expr();
  const Output loss = linear_model(outcome.parameters.front(), intercept)(inputs).loss;
  return to_dot({&loss, 1});
}

void print(const examples::Picture& picture) {
  for (const std::string& file : picture.files) std::printf("  wrote %s\n", file.c_str());
  if (!picture.note.empty()) std::printf("  %s\n", picture.note.c_str());
}

}  // namespace

std::string graph_picture(const std::string& svg_path) {
  return examples::beside(svg_path, "_graph.svg");
}

void draw_pictures(const std::string& svg_path, const Problem& problem,
                   std::span<const Outcome> outcomes) {
  print(examples::draw(loss_curves(problem, outcomes), svg_path));
  print(examples::draw_graph(model_graph(problem, outcomes.back()), graph_picture(svg_path)));
}

}  // namespace ad_spend
