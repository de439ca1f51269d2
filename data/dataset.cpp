#include "blockgrad/data/dataset.h"

#include <utility>

#include "data/message.h"

namespace blockgrad::data {

namespace {

const Column* find(std::span<const Column> columns, std::string_view name) {
  for (const Column& column : columns)
    if (column.name == name) return &column;
  return nullptr;
}

std::string described(const Column& column) {
  return join({detail::in_quotes(column.name), " has ", column.tensor.shape()[0]});
}

}  // namespace

Dataset::Dataset(std::initializer_list<Column> columns) : Dataset(std::vector<Column>(columns)) {}

Dataset::Dataset(std::vector<Column> columns) : columns_(std::move(columns)) {
  require(!columns_.empty(), "a dataset needs at least one column");
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const Column& column = columns_[i];
    require(!column.name.empty(), "column ", i, " of a dataset has no name");
    require(column.tensor.shape().rank() > 0, "column ", detail::in_quotes(column.name),
            " of a dataset needs rows, got a scalar");
    require(find(std::span(columns_).first(i), column.name) == nullptr,
            "two columns of a dataset are called ", detail::in_quotes(column.name));
    require(column.tensor.shape()[0] == rows(),
            "columns of a dataset need the same number of rows: ", described(columns_[0]), ", ",
            described(column));
  }
}

Dataset Dataset::rows(std::int64_t first, std::int64_t last) const {
  require(0 <= first && first <= last && last <= rows(), "rows [", first, ", ", last,
          ") do not fit a dataset of ", rows());
  std::vector<Column> parts;
  for (const Column& column : columns_)
    parts.push_back({column.name, column.tensor.rows(first, last)});
  return Dataset(std::move(parts));
}

std::vector<std::string> Dataset::names() const {
  std::vector<std::string> names;
  for (const Column& column : columns_) names.push_back(column.name);
  return names;
}

bool Dataset::contains(std::string_view name) const { return find(columns_, name) != nullptr; }

const Tensor& Dataset::operator[](std::string_view name) const {
  const Column* found = find(columns_, name);
  require(
      found != nullptr, "no column ", detail::in_quotes(name), " in the dataset; the columns are ",
      detail::list(columns_, [](const Column& column) { return std::string_view(column.name); }));
  return found->tensor;
}

}  // namespace blockgrad::data
