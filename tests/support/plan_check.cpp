#include "tests/support/plan_check.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/put_rows.h"
#include "blockgrad/graph/view.h"
#include "graph/passes/passes.h"
#include "graph/step_cost.h"

using namespace blockgrad;

namespace test_support {

namespace {

bool overlap(std::int64_t a, std::int64_t a_bytes, std::int64_t b, std::int64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

struct Range {
  std::int64_t at, bytes;
  Value owner;
};

// The bytes of an operand: one range if it is dense, else those of each row.
std::vector<Range> ranges_of(const Operand& o, Value owner) {
  const auto size = static_cast<std::int64_t>(size_of(o.dtype));
  const int last = o.layout.shape.rank() - 1;
  if (o.layout.is_dense()) return {{o.at, o.layout.shape.size() * size, owner}};
  std::vector<Range> rows;
  const std::int64_t count = o.layout.shape.size() / o.layout.shape[last];
  for (std::int64_t r = 0; r < count; ++r) {
    std::int64_t at = 0, rest = r;
    for (int a = last - 1; a >= 0; --a) {
      at += rest % o.layout.shape[a] * o.layout.strides[static_cast<std::size_t>(a)];
      rest /= o.layout.shape[a];
    }
    rows.push_back({o.at + at * size, o.layout.shape[last] * size, owner});
  }
  return rows;
}

// What an Unview writes: all of its result, unless parts of it lie there already.
std::vector<Range> copied_parts(const Graph& graph, const PlanStep& step, const Unview& op) {
  const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
  const Operand& out = step.outputs[0];
  const auto size = static_cast<std::int64_t>(size_of(out.dtype));
  std::vector<Range> copied;
  std::size_t parts = 0;
  for (std::size_t p = 0; p < op.layouts.size(); ++p) {
    const std::int64_t at = out.at + op.layouts[p].offset * size;
    if (step.inputs[p].place == Place::arena && step.inputs[p].at == at) continue;
    Layout layout = op.layouts[p];
    layout.offset = 0;
    ++parts;
    for (const Range& r : ranges_of({Place::arena, at, out.dtype, layout}, {})) copied.push_back(r);
  }
  if (parts == op.layouts.size()) return {{out.at, bytes_of(node.types[0]), {}}};
  return copied;
}

}  // namespace

Graph graph_of(std::vector<Expr> outputs, const Updates& updates) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  return insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps))));
}

void check_plan(const Graph& graph, const Plan& plan) {
  BOOST_TEST(plan.arena_bytes >= plan.live_bytes);
  std::vector<Range> live;
  const auto base = [&](Value v) {
    return graph.node(v).op.as<View>() ? graph.node(v).inputs[0] : v;
  };
  const auto present = [&](Value v, const Operand& o) {
    if (o.place != Place::arena || graph.type(base(v)).shape.size() == 0) return;
    const bool is_view = base(v) != v;
    const std::vector<Range> wanted =
        is_view ? std::vector<Range>{{o.at, 0, base(v)}} : ranges_of(o, v);
    for (const Range& range : wanted) {
      bool found = false;
      for (const Range& r : live) found = found || (r.owner == range.owner && r.at == range.at);
      BOOST_TEST_REQUIRE(found, "a value was overwritten before its last use");
    }
  };
  for (const auto* phase : {&plan.steps, &plan.updates}) {
    for (const PlanStep& step : *phase) {
      const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
      for (std::size_t i = 0; i < node.inputs.size(); ++i) present(node.inputs[i], step.inputs[i]);
      std::vector<Range> made;
      for (std::size_t r = 0; r < node.types.size(); ++r) {
        const Operand& o = step.outputs[r];
        if (o.place != Place::arena) continue;
        BOOST_TEST_REQUIRE(o.at % 64 == 0);
        BOOST_TEST_REQUIRE(node.op->makes(static_cast<int>(r), o.layout));
        const auto own = ranges_of(o, {step.node, static_cast<std::int32_t>(r)});
        for (const Range& range : own) {
          BOOST_TEST_REQUIRE(range.at + range.bytes <= plan.arena_bytes);
          for (const Range& other : made)
            BOOST_TEST_REQUIRE(!overlap(range.at, range.bytes, other.at, other.bytes));
        }
        // Only Map and PutRows may write over an input, and then over exactly its bytes; what an
        // Unview joins may lie in it, where nothing is copied to.
        for (std::size_t i = 0; i < node.inputs.size(); ++i) {
          const Operand& in = step.inputs[i];
          const std::int64_t bytes = bytes_of(graph.type(base(node.inputs[i])));
          const Range& range = own[0];
          if (node.op.as<Unview>() || in.place != Place::arena) continue;
          const bool is_over = std::any_of(own.begin(), own.end(), [&](const Range& mine) {
            return overlap(mine.at, mine.bytes, in.at, bytes);
          });
          if (!is_over) continue;
          const bool may_write = node.op.as<Map>() || (node.op.as<PutRows>() && i == 0);
          BOOST_TEST_REQUIRE((may_write && in.at == o.at && bytes == range.bytes));
        }
        made.insert(made.end(), own.begin(), own.end());
      }
      std::vector<Range> written = made;
      if (const Unview* op = node.op.as<Unview>()) written = copied_parts(graph, step, *op);
      if (is_copied_already(node, step)) written = {};
      for (const Range& range : written) {
        for (std::size_t i = 0; i < node.inputs.size() && node.op.as<Unview>(); ++i) {
          if (step.inputs[i].place != Place::arena) continue;
          if (base(node.inputs[i]) != node.inputs[i]) {
            const std::int64_t bytes = bytes_of(graph.type(base(node.inputs[i])));
            BOOST_TEST_REQUIRE(!overlap(range.at, range.bytes, step.inputs[i].at, bytes));
            continue;
          }
          for (const Range& r : ranges_of(step.inputs[i], {}))
            BOOST_TEST_REQUIRE(!overlap(range.at, range.bytes, r.at, r.bytes));
        }
        std::erase_if(live, [&](const Range& other) {
          return overlap(range.at, range.bytes, other.at, other.bytes);
        });
      }
      live.insert(live.end(), made.begin(), made.end());
    }
  }
  for (std::size_t i = 0; i < graph.outputs.size(); ++i) present(graph.outputs[i], plan.outputs[i]);
  std::size_t commit = 0;
  for (const GraphUpdate& u : graph.updates) {
    const bool in_place = std::any_of(plan.updates.begin(), plan.updates.end(),
                                      [&](const PlanStep& s) { return s.node == u.value.node; });
    if (!in_place) present(u.value, plan.commits[commit++].source);
  }
  BOOST_TEST(commit == plan.commits.size());
}

}  // namespace test_support
