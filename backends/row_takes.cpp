#include "backends/row_takes.h"

#include "blockgrad/graph/view.h"
#include "blockgrad/ops/index.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

constexpr std::int64_t least_bytes = 128;    // of a line: shorter ones are copied at once
constexpr std::int64_t most_elements = 511;  // of one whose program has many at a time

class Fusion {
 public:
  explicit Fusion(const Graph& graph) : graph_(graph), uses_(use_counts(graph)) {}

  Graph run() const {
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < static_cast<std::int32_t>(graph_.nodes.size()); ++i) {
      const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
      if (!node.op.as<RowProgram>()) {
        rewrite.keep(i);
        continue;
      }
      RowProgram program = *node.op.as<RowProgram>();
      GraphNode made{node.op, {}, node.types, node.origin, node.is_repeat};
      std::vector<Value> numbers;
      for (const Value in : node.inputs) {
        const Value taken = taken_by(program, in);
        made.inputs.push_back(rewrite.renamed(taken ? graph_.node(taken).inputs[0] : in));
        if (!taken) continue;
        const std::size_t behind = node.inputs.size() + numbers.size();
        program.takes.push_back(
            {static_cast<std::int32_t>(made.inputs.size()) - 1, static_cast<std::int32_t>(behind)});
        numbers.push_back(rewrite.renamed(graph_.node(taken).inputs[1]));
      }
      if (numbers.empty()) {
        rewrite.keep(i);
        continue;
      }
      made.inputs.insert(made.inputs.end(), numbers.begin(), numbers.end());
      made.op = std::move(program);
      const std::int32_t added = rewrite.add(std::move(made));
      for (std::int32_t r = 0; r < static_cast<std::int32_t>(node.types.size()); ++r)
        rewrite.rename({i, r}, {added, r});
    }
    return rewrite.finish();
  }

 private:
  // The Gather behind an input of a program, if its rows may be taken there: from a leaf, whose
  // memory no result of the program gets and which is updated behind all programs.
  Value taken_by(const RowProgram& program, Value in) const {
    const Value rows = graph_.base(in);
    const GraphNode& gather = graph_.node(rows);
    if (!gather.op.as<Gather>() || uses_[in] != 1 || uses_[rows] != 1 || !is_whole(in)) return {};
    const Value table = gather.inputs[0], numbers = gather.inputs[1];
    const std::int64_t height = graph_.type(table).shape[0];
    const std::int64_t width = height == 0 ? 0 : graph_.type(table).shape.size() / height;
    const RowSpace& space = program.space;
    const bool are_lines = space.inner == 1 && space.tail == 1 && space.n == width &&
                           space.outer == graph_.type(numbers).shape.size();
    const auto element = static_cast<std::int64_t>(size_of(graph_.type(table).dtype));
    if (!are_lines || width > most_elements || width * element < least_bytes || !is_whole(numbers))
      return {};
    return is_leaf(graph_.node(table)) ? rows : Value{};
  }

  bool is_whole(Value v) const {
    const View* view = graph_.node(v).op.as<View>();
    return !view || (view->layout.is_dense() &&
                     view->layout.shape.size() == graph_.type(graph_.base(v)).shape.size());
  }

  const Graph& graph_;
  ValueTable<std::int32_t> uses_;
};

}  // namespace

Graph fuse_takes(const Graph& graph) { return Fusion(graph).run(); }

}  // namespace blockgrad
