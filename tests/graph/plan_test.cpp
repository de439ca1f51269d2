// Memory plans: no two live values share bytes, and what dies is used again.
#include "graph/plan.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "blockgrad/blockgrad.h"
#include "blockgrad/graph/leaf.h"
#include "blockgrad/graph/put_rows.h"
#include "graph/memory_peak.h"
#include "graph/parts.h"
#include "graph/passes/passes.h"

using namespace blockgrad;

namespace {

Graph graph_of(std::vector<Expr> outputs, const Updates& updates = {}) {
  const auto keeps = [](const Op& op) { return !op->has_expand(); };
  return insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps))));
}

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

// Walks the steps with the owner of every byte range: a value that is read must still be there.
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
      const Map* map = node.op.as<Map>();
      if (map && is_identity(*map) && is_copied_to_itself(step.inputs[0], step.outputs[0]))
        written = {};
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

// Writes any layout, reads dense values.
struct Doubled {
  static constexpr std::string_view name = "doubled";
  bool operator==(const Doubled&) const = default;
  TensorType infer(Types in) const { return in[0]; }
  std::vector<Expr> vjp(const Backward& b) const { return {b.dy() * 2.0}; }
  bool makes(int, const Layout&) const { return true; }
};
Expr doubled(const Expr& x) { return make(Doubled{}, {x}); }

// Of each step of such an op, what it reads and writes.
template <class T>
std::vector<PlanStep> steps_of(const Graph& graph, const Plan& plan) {
  std::vector<PlanStep> found;
  for (const PlanStep& step : plan.steps) {
    if (graph.nodes[static_cast<std::size_t>(step.node)].op.as<T>()) found.push_back(step);
  }
  return found;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(plan)

// [2, 4, 16, 32] and, with axes 1 and 2 exchanged and the last two joined, [2, 16, 128].
BOOST_AUTO_TEST_CASE(what_a_copy_reads_in_another_order_is_made_there) {
  const Expr x = input("x", {2, 4, 16, 32});
  const auto joined = [](const Expr& e) {
    return reshape(permute_dims(e, {{0, 2, 1, 3}}), {2, 16, 128});
  };
  const auto is_made_in_copy = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes);
    check_plan(graph, make_plan(graph, false));
    check_plan(graph, make_plan(graph, true, false));
    const std::vector<PlanStep> steps = steps_of<Doubled>(graph, plan);
    return !steps.at(0).outputs[0].layout.is_dense();
  };
  const Expr y = doubled(x);
  BOOST_TEST(is_made_in_copy({joined(y)}));
  BOOST_TEST(is_made_in_copy({joined(y), exp(y)}));  // Maps read it there
  BOOST_TEST(is_made_in_copy({joined(y), exp(permute_dims(y, {{3, 2, 1, 0}}))}));
  BOOST_TEST(!is_made_in_copy({joined(y), doubled(y)}));  // which reads dense values only
  BOOST_TEST(!is_made_in_copy({joined(y), y}));           // the user's
  // No whole lines of 64 bytes change places.
  BOOST_TEST(!is_made_in_copy({reshape(permute_dims(y, {{0, 1, 3, 2}}), {2, 4, 512})}));
  const Expr narrow = doubled(input("narrow", {8, 32, 8}));
  BOOST_TEST(!is_made_in_copy({reshape(permute_dims(narrow, {{1, 0, 2}}), {32, 64})}));
  // Half of it.
  const Expr half = permute_dims(slice(y, 2, 0, 8), {{0, 2, 1, 3}});
  BOOST_TEST(!is_made_in_copy({reshape(half, {2, 8, 128})}));
}

BOOST_AUTO_TEST_CASE(parts_in_another_order_are_made_in_their_whole) {
  const auto part = [](int i) { return input("x" + std::to_string(i), {2, 4, 16, 32}); };
  const auto layout = [](std::int64_t first) {
    Layout made = Layout::dense({2, 4, 16, 32});
    made.strides[0] = 16 * 3 * 128, made.strides[1] = 32, made.strides[2] = 3 * 128;
    made.strides[3] = 1, made.offset = first;
    return made;
  };
  const auto whole = [&](const std::vector<Expr>& parts) {
    Unview op{{layout(0), layout(128), layout(256)}, {2, 16, 384}, Number(0.0)};
    return make(op, parts);
  };
  const auto made = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    std::vector<int> there;
    for (const PlanStep& step : steps_of<Unview>(graph, plan)) {
      for (const Operand& in : step.inputs) there.push_back(!in.layout.is_dense());
    }
    return there;
  };
  using Parts = std::vector<int>;
  const Expr a = doubled(part(0)), b = doubled(part(1)), c = doubled(part(2));
  BOOST_TEST((made({whole({a, b, c})}) == Parts{1, 1, 1}));
  BOOST_TEST((made({whole({a, exp(b), part(2)})}) == Parts{1, 0, 0}));  // Maps write even rows
  BOOST_TEST((made({whole({a, b, b})}) == Parts{1, 0, 0}));
  BOOST_TEST((made({whole({a, b, c}), whole({c, doubled(a), a})}) == Parts{0, 1, 0, 0, 1, 0}));
}

// Three Maps side by side, and whether each is made there.
BOOST_AUTO_TEST_CASE(maps_write_the_columns_that_are_joined) {
  const Expr x = input("x", {8, 64}), w = input("w", {64, 128});
  const Expr product = matmul(x, w);
  const auto made_in_place = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    check_plan(graph, make_plan(graph, false));
    std::vector<int> there;
    for (const PlanStep& step : plan.steps) {
      const Unview* op = graph.nodes[static_cast<std::size_t>(step.node)].op.as<Unview>();
      for (std::size_t p = 0; op && p < op->layouts.size(); ++p) {
        const std::int64_t at = step.outputs[0].at + op->layouts[p].offset * 4;
        there.push_back(step.inputs[p].place == Place::arena && step.inputs[p].at == at);
      }
    }
    return there;
  };
  using Parts = std::vector<int>;
  const auto joined = [](const std::vector<Expr>& parts) { return concat(parts, 1); };
  BOOST_TEST((made_in_place({joined({exp(x), sin(product), x + 1.0f})}) == Parts{1, 1, 1}));
  BOOST_TEST((made_in_place({joined({exp(x), product})}) == Parts{1, 0}));  // only Maps can
  BOOST_TEST((made_in_place({joined({exp(x), x})}) == Parts{1, 0}));        // x is not made
  const Expr e = exp(x);
  BOOST_TEST((made_in_place({joined({e, sin(x)}), e}) == Parts{0, 1}));  // others read it
  BOOST_TEST((made_in_place({joined({e, e})}) == Parts{0, 0}));
  const Expr thin = input("thin", {64, 8});  // of short rows
  BOOST_TEST((made_in_place({joined({exp(thin), sin(thin)})}) == Parts{0, 0}));
}

BOOST_AUTO_TEST_CASE(maps_take_over_what_they_read_in_another_shape) {
  const Expr p = matmul(input("x", {8, 64}), input("w", {64, 64}));
  const auto in_place = [](const std::vector<Expr>& outputs) {
    const Graph graph = graph_of(outputs);
    const Plan plan = make_plan(graph, true);
    check_plan(graph, plan);
    BOOST_TEST(make_plan(graph, true, false).in_place == 0);
    return plan.in_place;
  };
  const Expr y = reshape(p, {2, 4, 64});
  BOOST_TEST(in_place({exp(y)}) == 1);
  BOOST_TEST(in_place({exp(y), sin(reshape(p, {4, 2, 64}))}) == 1);  // the last one
  BOOST_TEST(in_place({exp(y), p}) == 0);
  BOOST_TEST(in_place({exp(transpose(p))}) == 0);
  BOOST_TEST(in_place({reshape(p, {64, 8}) + transpose(p)}) == 0);
}

BOOST_AUTO_TEST_CASE(a_peak_names_what_is_there_then_not_what_takes_its_place_later) {
  const Expr p = matmul(input("x", {100, 100}), input("w", {100, 100}));
  const Expr wide = matmul(p, input("v", {100, 1000}));
  const Expr narrow = matmul(wide, input("u", {1000, 100}));
  const Graph graph = graph_of({matmul(p + narrow, input("t", {100, 100}))});
  const Plan plan = make_plan(graph, true);
  BOOST_TEST(plan.in_place == 1);
  const MemoryPeak peak = memory_peak(graph, plan);
  BOOST_TEST(peak.bytes == plan.live_bytes);
  BOOST_TEST_REQUIRE(peak.largest.size() == 3u);
  BOOST_TEST(peak.largest[0].bytes == 400000);
  for (const MemoryPeak::Live& live : peak.largest)
    BOOST_TEST(graph.node(live.value).op->name() == "matmul");
}

BOOST_AUTO_TEST_CASE(a_chain_needs_two_buffers_however_long_it_is) {
  const Expr x = input("x", {1000});
  Expr y = x;
  for (int i = 0; i < 50; ++i)
    y = sum(matmul(reshape(y, Shape{1000, 1}), constant(ones({1, 1}))), 1);
  const Graph graph = graph_of({y});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.arena_bytes <= 2 * 4032);
  const Plan apart = make_plan(graph, false);
  check_plan(graph, apart);
  BOOST_TEST(apart.arena_bytes > 40 * 4000);
  BOOST_TEST(plan.arena_bytes + plan.reused_bytes == apart.arena_bytes);
}

BOOST_AUTO_TEST_CASE(maps_work_in_place_where_an_input_dies) {
  const Expr x = input("x", {1000});
  Expr y = exp(x);
  for (int i = 0; i < 10; ++i) y = tanh(y);
  const Graph graph = graph_of({y});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.in_place == 10);
  BOOST_TEST(plan.arena_bytes == 4032);
}

BOOST_AUTO_TEST_CASE(an_update_is_in_place_only_where_nobody_else_reads_the_old_value) {
  const Expr w = parameter(ones({4}), "w"), v = parameter(ones({4}), "v");
  const Graph alone = graph_of({}, Updates().set(w, w * 0.5));
  BOOST_TEST(make_plan(alone, true).updates.size() == 1);
  BOOST_TEST(make_plan(alone, true).commits.size() == 0);
  const Graph swap = graph_of({}, Updates().set(w, v).set(v, w));
  const Plan plan = make_plan(swap, true);
  check_plan(swap, plan);
  BOOST_TEST(plan.commits.size() >= 1);
  const Graph output = graph_of({w * 0.5}, Updates().set(w, w * 0.5));
  BOOST_TEST(make_plan(output, true).commits.size() == 1);
}

BOOST_AUTO_TEST_CASE(the_bytes_live_at_once_are_those_of_the_lives_that_the_plan_shows) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    std::vector<Expr> pool = {input("a", {30, 40}), parameter(ones({30, 40}), "w")};
    const auto pick = [&] { return pool[random() % pool.size()]; };
    for (int i = 0; i < 20; ++i) {
      const Expr a = pick(), b = pick();
      if (random() % 3 == 0) pool.push_back(a * tanh(b));
      else if (random() % 2 == 0) pool.push_back(matmul(a, matmul(transpose(b), a)));
      else pool.push_back(a - broadcast_to(sum(b, 0), {30, 40}));
    }
    const Graph graph = graph_of({pool.back(), pick()}, Updates().set(pool[1], pick()));
    const Plan plan = make_plan(graph, true);
    BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes, "seed " << seed);
    BOOST_TEST(live_bytes(graph) == plan.live_bytes);
    BOOST_TEST(live_bytes(shorten_lives(graph)) <= plan.live_bytes);
  }
}

// Of [16, 16] values, most of them parts of something larger.
Graph random_joins(unsigned seed) {
  std::mt19937 random(seed);
  std::vector<Expr> pool = {input("a", {16, 16}), parameter(ones({16, 16}), "w")};
  const auto pick = [&] { return pool[random() % pool.size()]; };
  for (int i = 0; i < 16; ++i) {
    switch (random() % 4) {
      case 0: pool.push_back(tanh(pick()) + pick()); break;
      case 1: pool.push_back(matmul(pick(), pick())); break;
      case 2: {
        const Expr all = concat({pick(), pick(), pick()}, 0);
        pool.push_back(slice(all, 0, 8, 24) * 2.0);
        break;
      }
      default:
        pool.push_back(matmul(transpose(concat({pick(), pick()}, 0)), concat({pick(), pick()}, 0)));
    }
  }
  const Expr last = concat({pool.back(), pick()}, 0);
  return graph_of({last, concat({last, last}, 0)}, Updates().set(pool[1], pick()));
}

BOOST_AUTO_TEST_CASE(parts_are_made_where_an_unview_puts_them_unless_that_needs_more_memory) {
  std::int64_t joined = 0;
  for (unsigned seed = 0; seed < 100; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const Graph graph = shorten_lives(random_joins(seed));
      const Plan plan = make_plan(graph, true);
      check_plan(graph, plan);
      check_plan(graph, make_plan(graph, false));
      BOOST_TEST(memory_peak(graph, plan).bytes == plan.live_bytes);
      for (const PlanStep& step : plan.steps) {
        const GraphNode& node = graph.nodes[static_cast<std::size_t>(step.node)];
        if (!node.op.as<Unview>()) continue;
        for (const Operand& in : step.inputs) {
          joined += in.place == Place::arena && in.at >= step.outputs[0].at &&
                    in.at < step.outputs[0].at + bytes_of(node.types[0]);
        }
      }
    }
  }
  BOOST_TEST(joined > 50);
}

BOOST_AUTO_TEST_CASE(what_is_stacked_needs_no_memory_of_its_own) {
  const Expr x = input("x", {16, 16});
  std::vector<Expr> all{tanh(x)};
  for (int i = 0; i < 7; ++i) all.push_back(matmul(all.back(), x));
  const Graph graph = graph_of({sum(concat(std::span<const Expr>(all), 0))});
  const Plan plan = make_plan(graph, true);
  check_plan(graph, plan);
  BOOST_TEST(plan.live_bytes == 8 * 1024 + 64);
}

BOOST_AUTO_TEST_CASE(plans_of_random_graphs_keep_every_value_to_its_last_use) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    std::vector<Expr> pool = {input("a", {3, 4}), parameter(ones({3, 4}), "w"),
                              state(ones({3, 4}), "s")};
    const auto pick = [&] { return pool[random() % pool.size()]; };
    for (int i = 0; i < 25; ++i) {
      switch (random() % 5) {
        case 0: pool.push_back(pick() * pick()); break;
        case 1: pool.push_back(tanh(pick()) + pick()); break;
        case 2: pool.push_back(reshape(transpose(pick()), Shape{3, 4})); break;
        case 3: pool.push_back(pick() - broadcast_to(sum(pick(), 0), {3, 4})); break;
        default: pool.push_back(matmul(pick(), matmul(transpose(pick()), pick()))); break;
      }
    }
    const Graph graph =
        graph_of({pick(), pool.back()}, Updates().set(pool[1], pick()).set(pool[2], pick()));
    BOOST_TEST_CONTEXT("seed " << seed) {
      check_plan(graph, make_plan(graph, true));
      check_plan(graph, make_plan(graph, false));
      const Graph fused = fuse_maps(graph);
      check_plan(fused, make_plan(fused, true));
      const Graph ordered = shorten_lives(fused);
      verify(ordered, "shorten_lives");
      check_plan(ordered, make_plan(ordered, true));
      BOOST_TEST(ordered.nodes.size() == fused.nodes.size());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
