// fuse_epilogues: which Maps run on a product's elements, and why others do not.
#include <boost/test/unit_test.hpp>

#include "backends/product_space.h"
#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "graph/plan.h"
#include "graph/product_map.h"

using namespace blockgrad;

namespace {

struct Fused {
  Graph graph;
  FusionLog log;

  Fused(const std::vector<Expr>& outputs, const Updates& updates = {}, bool is_in_place = false) {
    const auto keeps = [](const Op& op) {
      return op.as<MatMul>() || op.as<Conv2d>() || op.as<Conv2dInput>();
    };
    const Graph before =
        fuse_maps(insert_copies(merge_equal(simplify(build_graph(outputs, updates, keeps)))));
    graph = fuse_epilogues(before, {product_space, is_in_place}, &log);
    verify(graph, "fuse_epilogues");
  }

  std::size_t count() const {
    std::size_t all = 0;
    for (const GraphNode& node : graph.nodes) all += node.op.as<ProductMap>() != nullptr;
    return all;
  }
  const GraphNode& only() const {
    BOOST_TEST_REQUIRE(count() == 1u);
    std::size_t i = 0;
    while (!graph.nodes[i].op.as<ProductMap>()) ++i;
    return graph.nodes[i];
  }
  /// Why nothing was fused.
  std::string_view why() const {
    BOOST_TEST(count() == 0u);
    BOOST_TEST_REQUIRE(log.refusals.size() == 1u);
    return log.refusals[0].why;
  }
};

Expr x(const Shape& shape, const char* name = "x") { return input(name, shape); }

const Shape six{6, 6};
Expr product(const char* name = "a") { return matmul(x(six, name), x(six, "w")); }

}  // namespace

BOOST_AUTO_TEST_SUITE(fuse_epilogues_pass)

BOOST_AUTO_TEST_CASE(a_formula_behind_a_product_joins_it) {
  const Fused fused({relu(product() + x({6}, "bias")) * x(six, "r")});
  BOOST_TEST(fused.only().inputs.size() == 4u);
  BOOST_TEST(fused.only().types.size() == 1u);
  for (const GraphNode& node : fused.graph.nodes)
    BOOST_TEST((!node.op.as<Map>() && !node.op.as<MatMul>()));
  BOOST_TEST(fused.log.groups.size() == 1u);
}

BOOST_AUTO_TEST_CASE(what_others_read_is_a_result_too) {
  const Expr c = product();
  const Fused fused({relu(c), sum(c, 0)});
  BOOST_TEST(fused.only().types.size() == 2u);
  const Fused output({relu(c), c});
  BOOST_TEST(output.only().types.size() == 2u);
}

BOOST_AUTO_TEST_CASE(a_renamed_product_joins_too_and_keeps_its_other_readers) {
  const Expr wide = matmul(x({2, 3, 6}), x(six, "w"));
  BOOST_TEST(Fused({relu(wide)}).only().types.size() == 1u);
  const Fused both({relu(wide), sum(wide, 1)});
  BOOST_TEST((both.only().types[0].shape == Shape{2, 3, 6}));
  BOOST_TEST((both.only().types[1].shape == six));
}

BOOST_AUTO_TEST_CASE(a_product_that_is_read_twice_is_one_value) {
  const Expr c = product();
  BOOST_TEST(Fused({c * c + c}).only().inputs.size() == 2u);
}

BOOST_AUTO_TEST_CASE(one_formula_a_product_and_the_last_product_of_a_formula) {
  const Fused fused({sigmoid(product("a")) * product("b")});
  BOOST_TEST(fused.only().inputs.size() == 3u);
  // The transposed product is another Map's.
  const Expr c = product();
  BOOST_TEST(Fused({relu(c), exp(reshape(c, {36}))}).count() == 1u);
}

BOOST_AUTO_TEST_CASE(convolutions_without_strides_between_products_join) {
  const Expr image = x({2, 4, 5, 5}), kernel = x({6, 4, 3, 3}, "k");
  BOOST_TEST(Fused({relu(conv2d(image, kernel, {.stride = 2}, x({6}, "bias")))}).count() == 1u);
  const auto back = [&](std::int64_t stride) {
    const Expr y = conv2d(image, kernel, {.stride = stride});
    return tanh(grad(sum(y * y), {image})[0]);
  };
  BOOST_TEST(Fused({back(1)}).count() == 2u);
  BOOST_TEST(Fused({back(2)}).count() == 1u);
}

BOOST_AUTO_TEST_CASE(refusals_say_why) {
  const Expr c = product();
  // The transposed product is known when all of it is.
  BOOST_TEST(Fused({c + transpose(c)}).why() == "something between them needs the product");
  BOOST_TEST(Fused({exp(c - sum(c))}).why() == "something between them needs the product");
  BOOST_TEST(Fused({matmul(x({2, 3, 6}), x(six, "w")) * x({2, 1, 1}, "s")}).why() ==
             "it reads a value whose rows are not the product's");
  Expr much = c;
  for (const char* name : {"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"})
    much = much + x(six, name);
  BOOST_TEST(Fused({much}).why() == "it reads too many values at once");
  BOOST_TEST(Fused({exp(c), sin(c), cos(c), tanh(c), c}).why() ==
             "it would write too many values at once");
  Expr long_one = c;
  for (int i = 0; i < 130; ++i) long_one = sin(long_one);
  BOOST_TEST(Fused({long_one}).why() == "the formula is too long");
  // Of no elements there is no product.
  BOOST_TEST(Fused({relu(matmul(x({0, 6}), x(six, "w")))}).count() == 0u);
}

BOOST_AUTO_TEST_CASE(in_place_the_formula_has_one_result_where_the_product_was) {
  const auto in_place = [](const std::vector<Expr>& outputs) { return Fused(outputs, {}, true); };
  const Expr c = product();
  BOOST_TEST(in_place({relu(c + x({6}, "bias"))}).only().types.size() == 1u);
  BOOST_TEST(in_place({c * c + c}).count() == 1u);
  const std::string_view refusal = "its result does not take the product's place";
  BOOST_TEST(in_place({relu(c), c}).why() == refusal);
  BOOST_TEST(in_place({relu(c), sum(c, 0)}).why() == refusal);
  BOOST_TEST(in_place({exp(c), sin(c)}).why() == refusal);
  BOOST_TEST(in_place({cast(c, DType::f64)}).why() == refusal);
  BOOST_TEST(in_place({c > 0.0}).why() == refusal);
}

BOOST_AUTO_TEST_CASE(updates_stay_behind_and_in_place) {
  const Expr w = parameter(zeros(six), "w");
  Updates updates;
  updates.set(w, w - 0.1 * product());
  const Fused fused({}, updates);
  BOOST_TEST(fused.why() == "it is an update, which runs last and in place");
  BOOST_TEST(make_plan(fused.graph, true).updates.size() == 1u);
}

BOOST_AUTO_TEST_CASE(products_do_not_wait_for_each_other_in_a_circle) {
  // Either formula could join either product; both at once would be a circle of two nodes.
  const Expr a = product("a"), b = product("b");
  const Expr first = relu(a) + reshape(sum(b, 0), {6}), second = relu(b) + reshape(sum(a, 0), {6});
  BOOST_TEST(Fused({first, second}).count() == 1u);
}

BOOST_AUTO_TEST_CASE(the_node_expands_to_what_it_was) {
  const Expr wide = matmul(x({2, 3, 6}), x(six, "w"));
  const Fused fused({relu(wide + x({6}, "bias")), sum(wide, 1)});
  const GraphNode& node = fused.only();
  std::vector<Expr> inputs;
  std::vector<TensorType> types;
  for (const Value v : node.inputs) {
    inputs.push_back(x(fused.graph.type(v).shape, "v"));
    types.push_back(fused.graph.type(v));
  }
  const std::vector<Expr> parts = node.op->expand(inputs);
  BOOST_TEST_REQUIRE(parts.size() == node.types.size());
  for (std::size_t r = 0; r < parts.size(); ++r) BOOST_TEST((parts[r].type() == node.types[r]));
  // 2 m n k of the product, a sum and a maximum for each element.
  BOOST_TEST(node.op->cost(types, node.types).flops == 2 * 6 * 6 * 6 + 2 * 36);
  BOOST_TEST(node.op->print().find("matmul, then") == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
