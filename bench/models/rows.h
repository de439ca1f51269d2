#pragma once
// The rows of the ladder by name, and the rows that show how cost grows.

#include <functional>
#include <string>
#include <vector>

#include "models/model.h"

namespace bench {

struct Row {
  std::string name, title;
  std::function<Model()> make;
  std::function<Model()> make_tiny;  // the same model, small enough for a test
  std::int64_t tokens = 0;           // of a step of a language model
};

/// The eight models, the regression at two batches.
std::vector<Row> ladder_rows();

/// The MLP at several batches and widths, the GPT at widths beside its 128; make_tiny is empty.
std::vector<Row> growth_rows();

/// Those that take a GPU: GPT-2 124M at several batches.
std::vector<Row> gpu_rows();

/// Its title; of the tiny model it says so.
std::string title_of(const Row& row, bool is_tiny);

/// Those of `rows` by name, in this order; all if there are no names. Throws blockgrad::Error at a
/// name that none has.
std::vector<Row> chosen(const std::vector<Row>& rows, const std::vector<std::string>& names);

}  // namespace bench
