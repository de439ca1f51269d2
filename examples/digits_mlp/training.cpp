#include "digits_mlp/training.h"

#include <algorithm>
#include <cmath>

#include "blockgrad/blockgrad.h"
#include "support/number.h"
#include "support/progress.h"

namespace digits_mlp {

using namespace blockgrad;

namespace {

double accuracy_of(const train::Averages& averages) { return averages.metrics.at(0).second; }

Point point_of(const train::Record& record) {
  const train::Averages& test = record.validation.at(0);
  return {record.epoch, record.seconds,   record.training.loss, accuracy_of(record.training),
          test.loss,    accuracy_of(test)};
}

std::vector<Guess> guess(const Mlp& mlp, const data::Dataset& test, const CompileOptions& compile) {
  const Tensor& images = test["image"];
  const Expr pixels = input("image", images.shape(), DType::u8);
  const Tensor chances =
      evaluate(softmax(mlp.logits(pixels)), {{pixels, images}}, compile);  // [n, 10]
  const auto p = chances.span<float>();
  const auto labels = test["label"].span<std::int32_t>();
  std::vector<Guess> guesses;
  for (std::int64_t i = 0; i < test.rows(); ++i) {
    const auto row = p.subspan(static_cast<std::size_t>(i) * 10, 10);
    const int label = labels[static_cast<std::size_t>(i)];
    const auto said = static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
    guesses.push_back({i, label, said, row[static_cast<std::size_t>(label)]});
  }
  std::stable_sort(guesses.begin(), guesses.end(),
                   [](const Guess& a, const Guess& b) { return a.right < b.right; });
  return guesses;
}

}  // namespace

Results train(const Mlp& mlp, const Digits& digits, const Options& options, const Device& device,
              const StopToken& stop) {
  CompileOptions compile;
  compile.threads = options.threads;
  compile.math = math_mode(options.math);
  const std::int64_t rows = digits.training.rows();
  const std::int64_t batches = (rows + options.batch_size - 1) / options.batch_size;
  const double updates = static_cast<double>(batches * std::max<std::int64_t>(1, options.epochs));

  Results results;
  const train::Averages before = train::evaluate(mlp, digits.test, 0, device, compile);
  results.curve.push_back({0, 0, std::nan(""), std::nan(""), before.loss, accuracy_of(before)});
  if (options.epochs > 0) {
    examples::ProgressLine bar("training");
    const train::FitResult fit =
        train::fit(mlp, digits.training, Adam{.learning_rate = options.learning_rate},
                   {.epochs = options.epochs,
                    .batch_size = options.batch_size,
                    .seed = options.seed,
                    .device = device,
                    .compile = compile,
                    .validation = &digits.test,
                    .stop = &stop,
                    .on_progress = [&](const train::Progress& progress) {
                      std::string note = "epoch " + std::to_string(progress.epoch) + " of " +
                                         std::to_string(progress.epochs);
                      if (std::isfinite(progress.loss))
                        note += ", loss " + examples::number(progress.loss, 4);
                      bar.show(static_cast<double>(progress.updates) / updates, note);
                    }});
    for (const train::Record& record : fit.history) results.curve.push_back(point_of(record));
    results.was_stopped = fit.end == train::FitEnd::stopped;
    results.updates = fit.updates;
  }
  results.guesses = guess(mlp, digits.test, compile);
  return results;
}

}  // namespace digits_mlp
