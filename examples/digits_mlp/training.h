#pragma once
// Training, and what came of it.

#include <vector>

#include "digits_mlp/digits.h"
#include "digits_mlp/model.h"
#include "digits_mlp/options.h"

namespace digits_mlp {

struct Point {
  std::int64_t epoch = 0;
  double seconds = 0;                               // of training, tests included
  double training_loss = 0, training_accuracy = 0;  // while training, before each update
  double test_loss = 0, test_accuracy = 0;
};

/// What the network says of each test digit.
struct Guess {
  std::int64_t digit = 0;   // row of the test data
  int label = 0, said = 0;  // said: the most probable class
  double right = 0;         // probability it gives the label
};

struct Results {
  std::vector<Point> curve;  // epoch 0 first: before training, tested only
  bool was_stopped = false;
  std::int64_t updates = 0;
  std::vector<Guess> guesses;  // hardest first: smallest probability of the label
};

Results train(const Mlp& mlp, const Digits& digits, const Options& options,
              const blockgrad::Device& device, const blockgrad::StopToken& stop);

}  // namespace digits_mlp
