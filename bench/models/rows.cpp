#include "models/rows.h"

#include <algorithm>

#include "blockgrad/graph/error.h"
#include "models/models.h"

namespace bench {

std::vector<Row> ladder_rows() {
  return {
      {"regression5", "linear regression 2-1, batch 5, SGD", [] { return regression({}); },
       [] { return regression({}); }},
      {"regression1024", "linear regression 2-1, batch 1024, SGD",
       [] { return regression({.batch = 1024}); }, [] { return regression({.batch = 33}); }},
      {"mlp_small", "MLP 784-128-10, batch 64, SGD", [] { return mlp({}); },
       [] { return mlp({.batch = 6, .widths = {20, 9, 4}, .learning_rate = 0.1}); }},
      {"mlp_big", "MLP 784-1024-1024-10, batch 256, Adam",
       [] { return mlp({256, {784, 1024, 1024, 10}, Recipe::adam, 1e-3}); },
       [] { return mlp({7, {19, 18, 17, 4}, Recipe::adam, 1e-3}); }},
      {"lenet", "LeNet, batch 64, SGD", [] { return lenet({}); },
       [] { return lenet({.batch = 3, .image = 8, .channels = {3, 5}}); }},
      {"resnet", "ResNet 16-32-64, batch 64, momentum", [] { return resnet({}); },
       [] { return resnet({.batch = 3, .image = 8, .channels = {4, 6, 8}}); }},
      {"lstm", "LSTM 256, 64 steps, batch 32, Adam", [] { return lstm({}); },
       [] { return lstm({.batch = 3, .steps = 4, .width = 6}); }},
      {"gpt", "GPT 4 x 128, context 64, batch 12, AdamW", [] { return gpt({}); },
       [] {
         return gpt(
             {.batch = 2, .context = 5, .layers = 2, .width = 8, .heads = 2, .vocabulary = 11});
       },
       12 * 64},
      {"skip_gram", "skip-gram 20000 x 128, batch 1024, Adagrad", [] { return skip_gram({}); },
       [] { return skip_gram({.batch = 4, .vocabulary = 40, .width = 6, .negatives = 3}); }},
  };
}

std::vector<Row> growth_rows() {
  std::vector<Row> rows;
  for (const std::int64_t batch : {1, 4, 16, 64, 256, 1024, 4096}) {
    rows.push_back({"mlp_batch" + std::to_string(batch),
                    "MLP 784-128-10, batch " + std::to_string(batch) + ", SGD",
                    [batch] { return mlp({.batch = batch}); },
                    {}});
  }
  for (const std::int64_t width : {16, 64, 256, 1024, 2048}) {
    rows.push_back({"mlp_width" + std::to_string(width),
                    "MLP 784-" + std::to_string(width) + "-10, batch 64, SGD",
                    [width] { return mlp({.widths = {784, width, 10}}); },
                    {}});
  }
  for (const std::int64_t width : {32, 64, 256}) {
    rows.push_back({"gpt_width" + std::to_string(width),
                    "GPT 4 x " + std::to_string(width) + ", context 64, batch 12, AdamW",
                    [width] { return gpt({.width = width}); },
                    {}});
  }
  return rows;
}

std::vector<Row> gpu_rows() {
  std::vector<Row> rows;
  for (const std::int64_t batch : {4, 16, 64}) {
    const GptSizes sizes{.batch = batch,
                         .context = 1024,
                         .layers = 12,
                         .width = 768,
                         .heads = 12,
                         .vocabulary = 50257};
    const GptSizes tiny{
        .batch = batch / 4, .context = 6, .layers = 2, .width = 12, .heads = 3, .vocabulary = 13};
    rows.push_back({"gpt2_batch" + std::to_string(batch),
                    "GPT-2 124M, context 1024, batch " + std::to_string(batch) + ", AdamW",
                    [sizes] { return gpt(sizes); }, [tiny] { return gpt(tiny); },
                    batch * sizes.context});
  }
  return rows;
}

std::string title_of(const Row& row, bool is_tiny) { return row.title + (is_tiny ? ", tiny" : ""); }

std::vector<Row> chosen(const std::vector<Row>& rows, const std::vector<std::string>& names) {
  if (names.empty()) return rows;
  std::string known;
  for (const Row& row : rows) known += " " + row.name;
  std::vector<Row> found;
  for (const std::string& name : names) {
    const auto at =
        std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
    blockgrad::require(at != rows.end(), "no row '", name, "'; there are:", known);
    found.push_back(*at);
  }
  return found;
}

}  // namespace bench
