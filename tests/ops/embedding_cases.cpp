// Rows of tables by number, alone and in bags.
#include "blockgrad/ops/embedding.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace test_support;
using namespace op_check;

namespace {

// Sum or mean over the last axis of the indices, without those equal to `padding`.
Array bags(const Array& table, const Array& indices, bool mean, std::int64_t padding) {
  std::vector<std::int64_t> sizes(indices.shape.sizes().begin(), indices.shape.sizes().end());
  const std::int64_t length = sizes.back();
  sizes.back() = table.shape[1];
  return make_array(Shape(sizes), [&](const Index& at) {
    double s = 0, n = 0;
    Index from = at;
    for (from.back() = 0; from.back() < length; ++from.back()) {
      const auto row = static_cast<std::int64_t>(indices.at(from));
      if (row == padding) continue;
      s += table.at({row, at.back()});
      n += 1;
    }
    return mean && n > 0 ? s / n : s;
  });
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const auto add = [&](std::string name, std::vector<std::vector<Shape>> shapes, auto op,
                       auto reference) {
    OpCase row{std::move(name), std::move(shapes), op, reference};
    row.inputs = {Draw::number(), Draw::index_of(0, 0)};
    all.push_back(std::move(row));
  };
  add(
      "embedding",
      {{{4, 3}, {5}}, {{4, 3}, {2, 3}}, {{1, 1}, {1}}, {{3}, {4}}, {{5, 2, 2}, {}}, {{3, 2}, {0}}},
      [](auto x) { return embedding(x[0], x[1]); },
      [](auto x) {
        std::vector<std::int64_t> sizes(x[1].shape.sizes().begin(), x[1].shape.sizes().end());
        const auto rank = static_cast<std::ptrdiff_t>(sizes.size());
        sizes.insert(sizes.end(), x[0].shape.sizes().begin() + 1, x[0].shape.sizes().end());
        return make_array(Shape(sizes), [&](const Index& at) {
          Index from(at.begin() + rank, at.end());
          from.insert(from.begin(),
                      static_cast<std::int64_t>(x[1].at(Index(at.begin(), at.begin() + rank))));
          return x[0].at(from);
        });
      });
  const std::vector<std::vector<Shape>> shapes = {
      {{4, 3}, {2, 5}}, {{4, 3}, {3}}, {{3, 1}, {2, 2, 4}}, {{2, 2}, {3, 0}}, {{3, 2}, {1, 1}}};
  for (const bool mean : {false, true}) {
    const std::string name = std::string("embedding_bag_") + (mean ? "mean" : "sum");
    add(
        name, shapes, [=](auto x) { return embedding_bag(x[0], x[1], {.mean = mean}); },
        [=](auto x) { return bags(x[0], x[1], mean, -1); });
    add(
        name + "_with_padding", shapes,
        [=](auto x) { return embedding_bag(x[0], x[1], {.mean = mean, .padding_index = 0}); },
        [=](auto x) { return bags(x[0], x[1], mean, 0); });
  }
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(embedding)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(padding_may_lie_outside_of_the_table_and_fills_whole_bags) {
  const Expr table = input("table", {2, 2}, DType::f64);
  const Expr i = constant(tensor({-1, -1, 1, -1}, {2, 2}));
  const Feeds feeds = {{table, tensor({1.0, 2.0, 3.0, 4.0}, {2, 2})}};
  const Expr y = embedding_bag(table, i, {.mean = true, .padding_index = -1});
  BOOST_TEST(to_string(evaluate(y, feeds)) == "[[0, 0], [3, 4]]");
  BOOST_TEST(to_string(evaluate(grad(sum(y), {table})[0], feeds)) == "[[0, 0], [1, 1]]");
}

BOOST_AUTO_TEST_CASE(bad_numbers_and_shapes_are_named) {
  const Expr table = input("table", {3, 2}), i = input("i", {2, 2}, DType::i32);
  const Feeds feeds = {{table, zeros({3, 2})}, {i, tensor({0, 1, 3, 2}, {2, 2})}};
  const auto expect = [](const std::string& text, const std::string& op, const std::string& fact) {
    BOOST_TEST(text.starts_with(op + " (embedding_cases.cpp:"), text);
    BOOST_TEST(text.ends_with("): " + fact), text);
  };
  const std::string out =
      "index 3 at position [1, 0] is out of range [0, 3); step 0 of this run updated "
      "nothing";
  expect(error_of([&] { evaluate(blockgrad::embedding(table, i), feeds); }), "embedding", out);
  expect(error_of([&] { evaluate(embedding_bag(table, i), feeds); }), "embedding_bag", out);
  expect(error_of([&] { blockgrad::embedding(table, table); }), "embedding",
         "indices must be i32 or i64, got f32");
  expect(error_of([&] { blockgrad::embedding(sum(table), i); }), "embedding",
         "wants a table of rows, got a scalar");
  expect(error_of([&] { embedding_bag(sum(table, 1), i); }), "embedding_bag",
         "wants a table [n, d], got [3]");
  expect(error_of([&] { embedding_bag(table, input("s", {}, DType::i32)); }), "embedding_bag",
         "wants indices [.., L], got a scalar");
  expect(error_of([&] { embedding_bag(i, i); }), "embedding_bag",
         "wants a floating table, got i32");
  expect(error_of([&] { embedding_bag(table, table); }), "embedding_bag",
         "indices must be i32 or i64, got f32");
}

BOOST_AUTO_TEST_SUITE_END()
