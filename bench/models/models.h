#pragma once
// The models of the ladder. Sizes that are not given are those of the ladder's rows.

#include <cstdint>
#include <vector>

#include "models/model.h"

namespace bench {

struct RegressionSizes {
  std::int64_t batch = 5;
};
Model regression(const RegressionSizes& sizes);

struct MlpSizes {
  std::int64_t batch = 64;
  std::vector<std::int64_t> widths{784, 128, 10};
  Recipe recipe = Recipe::sgd;
  double learning_rate = 0.01;
};
Model mlp(const MlpSizes& sizes);

struct LenetSizes {
  std::int64_t batch = 64;
  std::int64_t image = 28;
  std::vector<std::int64_t> channels{16, 32};
};
Model lenet(const LenetSizes& sizes);

struct ResnetSizes {
  std::int64_t batch = 64;
  std::int64_t image = 32;
  std::vector<std::int64_t> channels{16, 32, 64};
};
Model resnet(const ResnetSizes& sizes);

struct LstmSizes {
  std::int64_t batch = 32;
  std::int64_t steps = 64;
  std::int64_t width = 256;
};
Model lstm(const LstmSizes& sizes);

struct GptSizes {
  std::int64_t batch = 12;
  std::int64_t context = 64;
  std::int64_t layers = 4;
  std::int64_t width = 128;
  std::int64_t heads = 4;
  std::int64_t vocabulary = 65;
};
Model gpt(const GptSizes& sizes);

struct SkipGramSizes {
  std::int64_t batch = 1024;
  std::int64_t vocabulary = 20000;
  std::int64_t width = 128;
  std::int64_t negatives = 5;
};
Model skip_gram(const SkipGramSizes& sizes);

}  // namespace bench
