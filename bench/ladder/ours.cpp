#include "ladder/ours.h"

#include <chrono>
#include <utility>

namespace bench {

namespace bg = blockgrad;

Ours::Ours(const std::function<Model()>& make, const Options& options)
    : training_(training_of(make(), options.guard_finite)),
      program_(bg::compile({training_.model.loss}, training_.updates, options.device,
                           {.threads = options.threads, .isa = options.isa, .math = options.math})),
      feeds_{training_.model.batch},
      threads_(options.threads),
      guards_finite_(options.guard_finite) {
  loss_ = program_.run_many(loss_steps + 1, feeds_).number(0);
}

Contestant Ours::contestant(const std::string& name) {
  const auto seconds = [this](std::int64_t steps) {
    const auto start = std::chrono::steady_clock::now();
    program_.run_many(steps, feeds_).number(0);  // a device has done the steps then
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  return {name, threads_, seconds, 0, loss_};
}

void write_model(const Model& model, const std::string& path) {
  std::vector<bg::data::NamedTensor> tensors;
  std::string parameters, batch;
  for (const bg::Expr& parameter : model.parameters) {
    tensors.push_back({bg::leaf_name(parameter), parameter.value()});
    parameters += (parameters.empty() ? "" : " ") + bg::leaf_name(parameter);
  }
  for (const bg::Feed& feed : model.batch) {
    tensors.push_back({bg::leaf_name(feed.leaf), feed.value});
    batch += (batch.empty() ? "" : " ") + bg::leaf_name(feed.leaf);
  }
  std::map<std::string, std::string> metadata{
      {"model", model.family},
      {"optimizer", to_string(model.recipe)},
      {"learning_rate", std::to_string(model.learning_rate)},
      {"parameters", parameters},
      {"batch", batch}};
  for (const auto& [name, size] : model.sizes) metadata[name] = std::to_string(size);
  bg::data::write_safetensors(path, tensors, metadata);
}

std::uint64_t bits_after(const std::function<Model()>& make, std::int64_t steps,
                         const Ours::Options& options) {
  const Training training = training_of(make(), options.guard_finite);
  bg::Program program =
      bg::compile({training.model.loss}, training.updates, options.device,
                  {.threads = options.threads, .isa = options.isa, .math = options.math});
  program.run_many(steps, {training.model.batch});
  // FNV-1a (Fowler, Noll, Vo).
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const bg::Expr& parameter : training.model.parameters) {
    const bg::Tensor value = parameter.value();
    for (std::int64_t i = 0; i < bg::bytes_of(value.type()); ++i)
      hash = (hash ^ static_cast<std::uint64_t>(value.bytes()[i])) * 0x100000001b3;
  }
  return hash;
}

std::vector<double> losses(const Training& training, std::int64_t steps) {
  bg::Program program = bg::compile({training.model.loss}, training.updates);
  std::vector<double> values;
  for (std::int64_t i = 0; i <= steps; ++i) {
    values.push_back(program.run(training.model.batch).number(0));
  }
  return values;
}

}  // namespace bench
