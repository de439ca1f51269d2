#pragma once
// How the values of a graph lie to each other as lines and elements: what fuse_rows asks.

#include <optional>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "graph/row_program.h"

namespace blockgrad {

/// Who reads each value; -1 stands for an output, an update or a guard.
class Readers {
 public:
  explicit Readers(std::vector<std::size_t> first_value, std::vector<std::size_t> first_reader,
                   std::vector<std::int32_t> readers)
      : first_value_(std::move(first_value)),
        first_reader_(std::move(first_reader)),
        readers_(std::move(readers)) {}

  std::span<const std::int32_t> of(Value v) const {
    const std::size_t at =
        first_value_[static_cast<std::size_t>(v.node)] + static_cast<std::size_t>(v.result);
    return std::span(readers_).subspan(first_reader_[at],
                                       first_reader_[at + 1] - first_reader_[at]);
  }

 private:
  std::vector<std::size_t> first_value_;   // per node: the number of its first result
  std::vector<std::size_t> first_reader_;  // per result, and one behind the last
  std::vector<std::int32_t> readers_;
};

Readers readers_of(const Graph& graph);

class RowLinks {
 public:
  explicit RowLinks(const Graph& graph);

  /// The base if v has its elements in the same order, else nothing.
  Value same_elements(Value v) const;
  /// Whether v is a value per line, spread over the elements of the space.
  bool is_spread(Value v, const RowSpace& space) const;

  /// The space of a Reduce whose lines fit a cache; nothing for other nodes.
  const std::optional<RowSpace>& space(std::int32_t node) const {
    return spaces_[static_cast<std::size_t>(node)];
  }
  /// Whether a Reduce's result, or what is made of it line by line, is spread over its lines again.
  bool returns(std::int32_t node) const { return returns_[static_cast<std::size_t>(node)] != 0; }

 private:
  void find_spaces();
  void find_returns();

  const Graph& graph_;
  std::vector<std::optional<RowSpace>> spaces_;
  std::vector<char> returns_;
};

}  // namespace blockgrad
