#include "graph/made_parts.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "graph/parts.h"

namespace blockgrad {

namespace {

constexpr std::int64_t least_part = 1024;  // bytes; less is copied in no time
constexpr std::int64_t line = 64;          // bytes at whose multiples parts and their rows begin

class Finder {
 public:
  Finder(const Graph& graph, const ValueTable<std::int32_t>& uses, bool in_any_layout,
         const std::function<bool(Value)>& may_move)
      : graph_(graph),
        uses_(uses),
        in_any_layout_(in_any_layout),
        may_move_(may_move),
        is_made_(graph, 0),
        has_parts_(graph, 0) {}

  std::vector<MadePart> run() {
    for (std::int32_t i = 0; i < size(); ++i) {
      if (const Unview* op = at(i).op.as<Unview>()) look_at_parts(i, *op);
      else if (const Map* map = at(i).op.as<Map>(); map && is_identity(*map)) look_at_source(i);
    }
    return std::move(made_);
  }

 private:
  struct Reader {
    std::int32_t node;
    int input;
  };

  const GraphNode& at(std::int32_t i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  std::int32_t size() const { return static_cast<std::int32_t>(graph_.nodes.size()); }

  void look_at_parts(std::int32_t node, const Unview& op) {
    if (!is_row_of_parts(op) && !(in_any_layout_ && are_all_places(op))) return;
    for (std::size_t p = 0; p < op.layouts.size(); ++p)
      add({at(node).inputs[p], {node, 0}, op.layouts[p]});
  }

  void look_at_source(std::int32_t node) {
    const Value seen = at(node).inputs[0], source = graph_.base(seen);
    const View* view = at(seen.node).op.as<View>();
    if (!view || !may_move_({node, 0})) return;
    if (const auto layout = place_in_copy(view->layout, graph_.type(source).shape))
      add({source, {node, 0}, *layout});
  }

  void add(const MadePart& made) {
    const GraphNode& maker = at(made.part.node);
    const TensorType& type = graph_.type(made.part);
    const auto size = static_cast<std::int64_t>(size_of(type.dtype));
    const auto is_whole = [&](std::int64_t elements) { return elements * size % line == 0; };
    if (is_leaf(maker) || maker.op.as<View>() || is_made_[made.part] || !may_move_(made.part) ||
        type.shape.size() * size < least_part || !is_whole(type.shape.size()) ||
        !is_whole(made.layout.offset))
      return;
    const Layout place{made.layout.shape, made.layout.strides, 0};
    const bool is_dense = place.is_dense();
    if (!is_dense) {
      const int last = place.shape.rank() - 1;
      const bool has_lines =
          place.strides[static_cast<std::size_t>(last)] == 1 && is_whole(place.shape[last]);
      // What lies in it lies there as in a dense value.
      if (!in_any_layout_ || has_parts_[made.part] || !has_lines ||
          !maker.op->makes(made.part.result, place) ||
          !is_read_in(made.part, place, made.whole.node))
        return;
    }
    is_made_[made.part] = has_parts_[made.whole] = 1;
    made_.push_back(made);
  }

  // Whether all that read it are nodes that take it, or what they see of it, in that layout, and
  // the one that puts it there, once.
  bool is_read_in(Value v, const Layout& layout, std::int32_t whole) {
    if (!readers_) find_readers();
    const std::vector<Reader>& readers = (*readers_)[v];
    if (static_cast<std::int32_t>(readers.size()) != uses_[v]) return false;
    bool is_put = false;
    return std::all_of(readers.begin(), readers.end(), [&](const Reader& reader) {
      const Op& op = at(reader.node).op;
      if (op.as<Unview>()) return reader.node == whole && !std::exchange(is_put, true);
      const View* view = op.as<View>();
      Layout seen;
      return view ? compose(view->layout, layout, seen) && is_read_in({reader.node, 0}, seen, whole)
                  : op->accepts(reader.input, layout);
    });
  }

  void find_readers() {
    readers_.emplace(graph_);
    for (std::int32_t i = 0; i < size(); ++i) {
      for (std::size_t n = 0; n < at(i).inputs.size(); ++n)
        (*readers_)[at(i).inputs[n]].push_back({i, static_cast<int>(n)});
    }
  }

  const Graph& graph_;
  const ValueTable<std::int32_t>& uses_;
  const bool in_any_layout_;
  const std::function<bool(Value)>& may_move_;
  ValueTable<char> is_made_, has_parts_;
  std::optional<ValueTable<std::vector<Reader>>> readers_;  // made when somebody asks
  std::vector<MadePart> made_;
};

}  // namespace

std::vector<MadePart> made_parts(const Graph& graph, const ValueTable<std::int32_t>& uses,
                                 bool in_any_layout, const std::function<bool(Value)>& may_move) {
  return Finder(graph, uses, in_any_layout, may_move).run();
}

}  // namespace blockgrad
