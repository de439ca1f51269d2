#include "backends/line_sums.h"

#include <algorithm>

#include "blockgrad/graph/reduce.h"
#include "blockgrad/graph/view.h"
#include "graph/row_program.h"

namespace blockgrad {

namespace {

constexpr std::int64_t longest_line = 511;    // of programs that have many at a time
constexpr std::int64_t most_elements = 2048;  // of lines that are added up: a block of a program

class Fusion {
 public:
  explicit Fusion(const Graph& graph)
      : graph_(graph), uses_(use_counts(graph)), sum_of_(graph, -1) {}

  Graph run() {
    const auto size = static_cast<std::int32_t>(graph_.nodes.size());
    std::vector<char> is_gone(graph_.nodes.size(), 0);
    for (std::int32_t i = 0; i < size; ++i) {
      const Value lines = added_lines(i);
      if (!lines) continue;
      sum_of_[lines] = i;
      is_gone[static_cast<std::size_t>(i)] = 1;
    }
    Rewrite rewrite(graph_);
    for (std::int32_t i = 0; i < size; ++i) {
      const std::span<const std::int32_t> sums = std::as_const(sum_of_).of(i);
      if (is_gone[static_cast<std::size_t>(i)]) continue;
      rewrite.keep(i);
      if (std::any_of(sums.begin(), sums.end(), [](auto sum) { return sum >= 0; }))
        emit(rewrite, i);
    }
    return rewrite.finish();
  }

 private:
  // The result of a row program whose lines this Reduce adds up, if they may be added up there.
  Value added_lines(std::int32_t i) const {
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
    const Reduce* reduce = node.op.as<Reduce>();
    if (!reduce || reduce->kind != ReduceKind::sum) return {};
    const Value in = node.inputs[0], lines = graph_.base(in);
    const RowProgram* program = graph_.node(lines).op.as<RowProgram>();
    const View* view = graph_.node(in).op.as<View>();
    if (!program || uses_[in] != 1 || uses_[lines] != 1 ||
        (view && !(view->layout.is_dense() &&
                   view->layout.shape.size() == graph_.type(lines).shape.size())))
      return {};
    const RowProgram::Result& result = program->results[static_cast<std::size_t>(lines.result)];
    const std::optional<RowSpace> added = space_of(*reduce, graph_.type(in).shape);
    const RowSpace& space = program->space;
    const bool is_floating =
        graph_.type(in).dtype == DType::f32 || graph_.type(in).dtype == DType::f64;
    const bool fits = added && is_floating && result.value.step >= 0 &&
                      !program->steps[static_cast<std::size_t>(result.value.step)].by_line &&
                      space.inner == 1 && space.tail == 1 && added->tail == 1 &&
                      added->inner == space.n && added->outer * added->n == space.outer &&
                      added->n > 1 && space.n <= longest_line &&
                      added->n * space.n <= most_elements && is_alone(i, lines.node);
    return fits ? lines : Value{};
  }

  // Whether all sums of the program at `node` are of as many lines, and none can take the memory of
  // an operand, whose lines would be elsewhere.
  bool is_alone(std::int32_t reduce, std::int32_t node) const {
    const std::int64_t made = graph_.nodes[static_cast<std::size_t>(reduce)].types[0].shape.size();
    for (const std::int32_t sum : std::as_const(sum_of_).of(node)) {
      if (sum >= 0 && graph_.nodes[static_cast<std::size_t>(sum)].types[0].shape.size() != made)
        return false;
    }
    const std::vector<Value>& inputs = graph_.nodes[static_cast<std::size_t>(node)].inputs;
    return std::none_of(inputs.begin(), inputs.end(),
                        [&](Value in) { return graph_.type(in).shape.size() == made; });
  }

  // Once more, with sums: nothing reads the node as it was.
  void emit(Rewrite& rewrite, std::int32_t i) const {
    const GraphNode& node = graph_.nodes[static_cast<std::size_t>(i)];
    RowProgram program = *node.op.as<RowProgram>();
    GraphNode made{node.op, {}, node.types, node.origin, node.is_repeat};
    for (const Value in : node.inputs) made.inputs.push_back(rewrite.renamed(in));
    const std::span<const std::int32_t> sums = std::as_const(sum_of_).of(i);
    for (std::size_t r = 0; r < sums.size(); ++r) {
      if (sums[r] < 0) continue;
      const TensorType& type = graph_.nodes[static_cast<std::size_t>(sums[r])].types[0];
      program.results[r].shape = type.shape;
      program.results[r].over = program.space.elements() / type.shape.size();
      made.types[r] = type;
    }
    made.op = std::move(program);
    const std::int32_t added = rewrite.add(std::move(made));
    for (std::int32_t r = 0; r < static_cast<std::int32_t>(sums.size()); ++r) {
      const std::int32_t sum = sums[static_cast<std::size_t>(r)];
      rewrite.rename(sum < 0 ? Value{i, r} : Value{sum, 0}, {added, r});
    }
  }

  const Graph& graph_;
  ValueTable<std::int32_t> uses_;
  ValueTable<std::int32_t> sum_of_;  // the Reduce that a result of a program becomes, or -1
};

}  // namespace

Graph fuse_line_sums(const Graph& graph) { return Fusion(graph).run(); }

}  // namespace blockgrad
