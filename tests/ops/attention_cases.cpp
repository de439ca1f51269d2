// Attention against its definition, query by query; masks, causality, rows that see nothing.
#include "blockgrad/ops/attention.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

using Score = std::function<double(const Index& query, std::int64_t key, double score)>;

// sum_j softmax_j(score(q_i . k_j)) v_j; leading axes of size 1 repeat.
Array attended(std::span<const Array> x, double scale, const Score& score) {
  const Array &q = x[0], &k = x[1], &v = x[2];
  const auto batch = [](const Array& a) {
    return Shape(a.shape.sizes().first(static_cast<std::size_t>(a.shape.rank() - 2)));
  };
  const Shape both = broadcast(broadcast(batch(q), batch(k)), batch(v));
  const auto element = [](const Array& a, const Index& outer, std::int64_t row, std::int64_t col) {
    Index own(outer.end() - (a.shape.rank() - 2), outer.end());
    for (int d = 0; d + 2 < a.shape.rank(); ++d) {
      if (a.shape[d] == 1) own[static_cast<std::size_t>(d)] = 0;
    }
    own.push_back(row);
    own.push_back(col);
    return a.at(own);
  };
  std::vector<std::int64_t> sizes(both.sizes().begin(), both.sizes().end());
  sizes.push_back(q.shape[q.shape.rank() - 2]);
  sizes.push_back(v.shape[v.shape.rank() - 1]);
  const std::int64_t keys = k.shape[k.shape.rank() - 2], d = q.shape[q.shape.rank() - 1];
  return make_array(Shape(sizes), [&](const Index& at) {
    const Index outer(at.begin(), at.end() - 2), query(at.begin(), at.end() - 1);
    double total = 0, y = 0;
    for (std::int64_t j = 0; j < keys; ++j) {
      double s = 0;
      for (std::int64_t p = 0; p < d; ++p)
        s += element(q, outer, query.back(), p) * element(k, outer, j, p);
      const double weight = std::exp(score(query, j, s * scale));
      total += weight;
      y += weight * element(v, outer, j, at.back());
    }
    return total == 0 ? 0 : y / total;
  });
}

double root(const Array& q) { return 1 / std::sqrt(double(q.shape[q.shape.rank() - 1])); }
double as_it_is(const Index&, std::int64_t, double s) { return s; }
double causal(const Index& query, std::int64_t key, double s) {
  return key <= query.back() ? s : -inf;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  const std::vector<std::vector<Shape>> shapes = {
      {{3, 4}, {2, 4}, {2, 5}},          {{2, 2}, {2, 2}, {2, 2}},
      {{2, 3, 2}, {2, 3, 2}, {2, 3, 2}}, {{2, 2, 3, 2}, {1, 4, 2}, {2, 1, 4, 3}},
      {{1, 1}, {1, 1}, {1, 1}},          {{0, 2}, {3, 2}, {3, 2}},
      {{2, 2}, {0, 2}, {0, 3}}};
  all.push_back({"attention", shapes, [](auto x) { return attention(x[0], x[1], x[2]); },
                 [](auto x) { return attended(x, root(x[0]), as_it_is); }});
  all.back().refuses = {
      {{{2, 3}, {2, 4}, {2, 3}},
       "attention (here): queries and keys differ in their last axis: [2, 3] and [2, 4]"},
      {{{2, 3}, {4, 3}, {5, 3}},
       "attention (here): keys and values differ in number: [4, 3] and [5, 3]"},
      {{{2, 2, 3}, {3, 4, 3}, {4, 3}}, "attention (here): shapes do not broadcast: [2] and [3]"},
      {{{3}, {4, 3}, {4, 3}}, "attention (here): wants [.., T, d], got [3]"},
      {{{2, 3}, {4, 3}, {4, 3}}, "attention (here): wants f32 or f64, got i32", DType::i32}};
  all.push_back({"attention_causal", shapes,
                 [](auto x) { return attention(x[0], x[1], x[2], {.causal = true}); },
                 [](auto x) { return attended(x, root(x[0]), causal); }});
  all.push_back({"attention_scaled", shapes,
                 [](auto x) { return attention(x[0], x[1], x[2], {.scale = 0.3}); },
                 [](auto x) { return attended(x, 0.3, as_it_is); }});
  all.push_back({"attention_with_a_mask_that_is_added",
                 {{{2, 3, 2}, {2, 4, 2}, {2, 4, 3}, {3, 4}},
                  {{3, 2}, {4, 2}, {4, 3}, {1, 4}},
                  {{2, 2}, {2, 2}, {2, 2}, {2, 2}}},
                 [](auto x) { return attention(x[0], x[1], x[2], {.mask = x[3]}); },
                 [](auto x) {
                   const Array& mask = x[3];
                   return attended(x, root(x[0]),
                                   [&](const Index& query, std::int64_t j, double s) {
                                     return s + mask.at({mask.shape[0] == 1 ? 0 : query.back(), j});
                                   });
                 }});
  all.push_back({"attention_with_a_mask_of_bools",
                 {{{2, 3, 2}, {2, 4, 2}, {2, 4, 3}, {2, 3, 4}}, {{3, 2}, {4, 2}, {4, 3}, {3, 4}}},
                 [](auto x) { return attention(x[0], x[1], x[2], {.causal = true, .mask = x[3]}); },
                 [](auto x) {
                   const Array& mask = x[3];
                   return attended(x, root(x[0]),
                                   [&](const Index& query, std::int64_t j, double s) {
                                     Index at = query;
                                     at.push_back(j);
                                     return mask.at(at) != 0 ? causal(query, j, s) : -inf;
                                   });
                 }});
  all.back().inputs = {Draw::number(), Draw::number(), Draw::number(), Draw::boolean()};
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(a_query_that_sees_no_key_gives_zero_and_sends_no_gradient) {
  const Expr q = input("q", {2, 2}, DType::f64), k = input("k", {2, 2}, DType::f64);
  const Expr v = input("v", {2, 2}, DType::f64);
  const Feeds feeds = {{q, tensor({1.0, 2.0, 3.0, 4.0}, {2, 2})},
                       {k, tensor({1.0, -1.0, 2.0, 1.0}, {2, 2})},
                       {v, tensor({5.0, 6.0, 7.0, 8.0}, {2, 2})}};
  const Expr bools = constant(tensor({false, false, true, true}, {2, 2}));
  const Expr numbers = constant(tensor({-inf, -inf, 0.0, 0.0}, {2, 2}));
  for (const Expr& mask : {bools, numbers}) {
    const Expr y = blockgrad::attention(q, k, v, {.mask = mask});
    const Tensor value = evaluate(y, feeds);
    BOOST_TEST(value.at(0) == 0);
    BOOST_TEST(value.at(1) == 0);
    BOOST_TEST(value.at(2) > 5);
    const std::vector<Expr> g = grad(sum(y), {q, k, v});
    const Tensor dq = evaluate(g[0], feeds);
    BOOST_TEST(dq.at(0) == 0);
    BOOST_TEST(dq.at(1) == 0);
    for (const Expr& e : g) {
      for (std::int64_t i = 0; i < 4; ++i) BOOST_TEST(std::isfinite(evaluate(e, feeds).at(i)));
    }
  }
}

BOOST_AUTO_TEST_CASE(scores_of_ten_thousand_stay_finite) {
  const Expr q = input("q", {1, 1}), k = input("k", {2, 1}), v = input("v", {2, 1});
  const Feeds feeds = {{q, tensor({100.f}, {1, 1})},
                       {k, tensor({100.f, -100.f}, {2, 1})},
                       {v, tensor({2.f, 3.f}, {2, 1})}};
  const Expr y = blockgrad::attention(q, k, v);
  BOOST_TEST(evaluate(y, feeds).at(0) == 2);
  BOOST_TEST(evaluate(grad(sum(y), {q})[0], feeds).at(0) == 0);
}

BOOST_AUTO_TEST_CASE(two_byte_numbers_are_attended_to_in_f32) {
  const Expr q = input("q", {2, 4}), k = input("k", {3, 4}), v = input("v", {3, 2});
  const auto values = [](const Shape& shape, int seed) {
    std::vector<float> all;
    for (std::int64_t i = 0; i < shape.size(); ++i)
      all.push_back(static_cast<float>((i * 7 + seed) % 5) * 0.5f - 1.f);  // exact in two bytes
    return tensor(std::span<const float>(all), shape);
  };
  const Feeds feeds = {{q, values({2, 4}, 1)}, {k, values({3, 4}, 2)}, {v, values({3, 2}, 3)}};
  const auto half = [](const Expr& e) { return astype(e, DType::bf16); };
  const Expr y = blockgrad::attention(half(q), half(k), half(v), {.causal = true});
  BOOST_TEST((y.dtype() == DType::bf16));
  const Tensor exact = evaluate(half(blockgrad::attention(q, k, v, {.causal = true})), feeds);
  BOOST_TEST(same_bits(evaluate(y, feeds), exact));

  const auto wide = [](const Expr& e) { return astype(e, DType::f32); };
  const std::vector<Expr> in = {half(q), half(k), half(v)};
  const Expr of_halves = blockgrad::attention(in[0], in[1], in[2]);
  const Expr of_wide = half(blockgrad::attention(wide(in[0]), wide(in[1]), wide(in[2])));
  const Expr weights = constant(values({2, 2}, 4));
  const std::vector<Expr> got = grad(sum(wide(of_halves) * weights), in);
  const std::vector<Expr> expected = grad(sum(wide(of_wide) * weights), in);
  for (std::size_t i = 0; i < in.size(); ++i) {
    BOOST_TEST((got[i].dtype() == DType::bf16));
    BOOST_TEST(same_bits(evaluate(got[i], feeds), evaluate(expected[i], feeds)));
  }
}

BOOST_AUTO_TEST_CASE(masks_that_do_not_fit_are_named) {
  const Expr q = input("q", {2, 3}), k = input("k", {4, 3}), v = input("v", {4, 3});
  const auto text = [&](const Expr& mask) -> std::string {
    try {
      blockgrad::attention(q, k, v, {.mask = mask});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  const std::string shape = text(input("m", {3, 4}));
  BOOST_TEST(shape.starts_with("attention (attention_cases.cpp:"), shape);
  BOOST_TEST(shape.ends_with("): mask [3, 4] does not broadcast to the scores [2, 4]"), shape);
  const std::string dtype = text(input("m", {2, 4}, DType::i32));
  BOOST_TEST(dtype.ends_with("): the mask must be bool or f32, got i32"), dtype);
}

BOOST_AUTO_TEST_SUITE_END()
