// Attention by blocks against its composition: sizes at and beside the edges of blocks, masks,
// views, threads and instruction sets, and memory that grows with the sequence alone.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <random>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

Tensor drawn(const Shape& shape, DType dtype, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, 1);
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& v : values) v = normal(generator);
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

struct Case {
  std::int64_t batch, queries, keys, depth, columns;
  bool causal = false;
};

// Value and gradients, made by the kernels or by `expand`, which knows nothing of them.
struct Both {
  std::vector<Expr> in;
  Feeds feeds;
  Expr weights;
  double scale = 0.4;

  Both(const Case& c, DType dtype) {
    const Shape shapes[] = {
        {c.batch, c.queries, c.depth}, {c.batch, c.keys, c.depth}, {c.batch, c.keys, c.columns}};
    for (unsigned i = 0; i < 3; ++i) {
      in.push_back(input("x" + std::to_string(i), shapes[i], dtype));
      feeds.push_back({in.back(), drawn(shapes[i], DType::f64, i).astype(dtype)});
    }
    weights = constant(drawn({c.batch, c.queries, c.columns}, DType::f64, 7).astype(dtype));
  }

  std::vector<Expr> outputs(const Case& c, const Expr& mask, bool composed) const {
    std::vector<Expr> all = in;
    if (mask) all.push_back(mask);
    const Attention op{c.causal, scale};
    const Expr y = composed ? op.expand(all)[0] : make_all(op, all)[0];
    std::vector<Expr> result{y};
    for (const Expr& g : grad(sum(y * weights), in)) result.push_back(g);
    return result;
  }

  std::vector<Tensor> run(const std::vector<Expr>& outputs, const CompileOptions& options = {}) {
    Program program =
        compile(std::vector<Output>(outputs.begin(), outputs.end()), {}, cpu(), options);
    const Results results = program.run(feeds);
    std::vector<Tensor> all;
    for (int i = 0; i < static_cast<int>(outputs.size()); ++i) all.push_back(results.tensor(i));
    return all;
  }
};

double largest_error(const Tensor& got, const Tensor& expected) {
  BOOST_TEST_REQUIRE((got.shape() == expected.shape()));
  double worst = 0;
  for (std::int64_t i = 0; i < got.size(); ++i) {
    const double error =
        std::abs(got.at(i) - expected.at(i)) / std::max(1.0, std::abs(expected.at(i)));
    if (!(error <= worst)) worst = std::isnan(error) ? inf : error;
  }
  return worst;
}

std::string text_of(const Case& c) {
  return std::to_string(c.batch) + " x " + std::to_string(c.queries) + " queries, " +
         std::to_string(c.keys) + " keys of " + std::to_string(c.depth) +
         (c.causal ? ", causal" : "");
}

const Case cases[] = {{2, 1, 1, 3, 2},
                      {2, 15, 17, 5, 3},
                      {2, 16, 16, 8, 16},
                      {3, 33, 31, 4, 17},
                      {3, 33, 31, 4, 17, true},
                      {1, 31, 65, 4, 5, true},
                      {2, 64, 64, 32, 32, true},
                      {5, 65, 129, 3, 2},
                      {1, 70, 513, 2, 3},
                      {1, 200, 700, 3, 2, true},
                      {1, 700, 200, 3, 2, true},
                      {1, 520, 1030, 2, 1},
                      {1, 1030, 1030, 2, 2, true},
                      {2, 0, 3, 2, 2},
                      {2, 3, 0, 2, 2},
                      {0, 3, 3, 2, 2},
                      {2, 3, 3, 0, 2},
                      {2, 3, 3, 2, 0, true}};

}  // namespace

BOOST_AUTO_TEST_SUITE(attention_kernel)

BOOST_AUTO_TEST_CASE(blocks_give_what_the_whole_matrix_gives) {
  for (const Case& c : cases) {
    Both both(c, DType::f64);
    const std::vector<Tensor> got = both.run(both.outputs(c, {}, false));
    const std::vector<Tensor> expected = both.run(both.outputs(c, {}, true));
    for (std::size_t i = 0; i < got.size(); ++i)
      BOOST_TEST(largest_error(got[i], expected[i]) < 1e-13, text_of(c) << ": result " << i);
  }
}

// Each weight is right within the rounding of its score, |s| * 2^-24 a few times over.
BOOST_AUTO_TEST_CASE(f32_is_near_f64_at_the_same_point) {
  for (const Case& c : cases) {
    if (c.queries > 600) continue;
    Both narrow(c, DType::f32), wide(c, DType::f64);
    for (std::size_t i = 0; i < 3; ++i)
      wide.feeds[i].value = narrow.feeds[i].value.astype(DType::f64);
    wide.weights = astype(narrow.weights, DType::f64);
    const std::vector<Tensor> got = narrow.run(narrow.outputs(c, {}, false));
    const std::vector<Tensor> exact = wide.run(wide.outputs(c, {}, true));
    for (std::size_t i = 0; i < got.size(); ++i)
      BOOST_TEST(largest_error(got[i], exact[i]) < (i == 0 ? 2e-6 : 2e-5), text_of(c) << ": " << i);
  }
}

BOOST_AUTO_TEST_CASE(masks_of_every_form_are_applied_block_by_block) {
  const Case shapes[] = {{4, 40, 70, 3, 2}, {4, 70, 530, 3, 2, true}};
  for (const Case& c : shapes) {
    Both both(c, DType::f64);
    std::vector<Expr> masks;
    for (const Shape& shape : {Shape{c.batch, c.queries, c.keys}, Shape{c.queries, c.keys},
                               Shape{c.batch, 1, c.keys}, Shape{c.queries, 1}, Shape{1, c.keys}}) {
      const Expr numbers = constant(drawn(shape, DType::f64, 11));
      const Expr seen = numbers > -0.5;
      masks.push_back(broadcast_to(numbers, {c.batch, c.queries, c.keys}));
      masks.push_back(broadcast_to(seen, {c.batch, c.queries, c.keys}));
      masks.push_back(broadcast_to(where(seen, numbers, -inf), {c.batch, c.queries, c.keys}));
    }
    for (std::size_t m = 0; m < masks.size(); ++m) {
      const std::vector<Tensor> got = both.run(both.outputs(c, masks[m], false));
      const std::vector<Tensor> expected = both.run(both.outputs(c, masks[m], true));
      for (std::size_t i = 0; i < got.size(); ++i)
        BOOST_TEST(largest_error(got[i], expected[i]) < 1e-13, text_of(c) << ": mask " << m);
    }
  }
}

BOOST_AUTO_TEST_CASE(whole_blocks_of_hidden_keys_change_nothing) {
  const Case all{1, 5, 1200, 4, 3}, rest{1, 5, 200, 4, 3};
  Both hidden(all, DType::f64), shown(rest, DType::f64);
  const Expr mask = broadcast_to(coordinate({1200}, 0) >= 1000, {1, 5, 1200});
  shown.feeds[0].value = hidden.feeds[0].value;
  for (const std::size_t i : {1u, 2u})
    shown.feeds[i].value = evaluate(slice(constant(hidden.feeds[i].value), 1, 1000, 1200));
  const std::vector<Tensor> got = hidden.run(hidden.outputs(all, mask, false));
  const std::vector<Tensor> expected = shown.run(shown.outputs(rest, {}, false));
  BOOST_TEST(largest_error(got[0], expected[0]) < 1e-14);
  BOOST_TEST(largest_error(got[1], expected[1]) < 1e-14);
  for (const std::size_t i : {2u, 3u}) {
    const Tensor tail = evaluate(slice(constant(got[i]), 1, 1000, 1200));
    BOOST_TEST(largest_error(tail, expected[i]) < 1e-14);
    BOOST_TEST(evaluate(sum(abs(slice(constant(got[i]), 1, 0, 1000)))).at(0) == 0);
  }
}

BOOST_AUTO_TEST_CASE(a_nan_in_a_query_stays_in_its_row) {
  const Case c{1, 40, 600, 2, 2};
  Both both(c, DType::f64);
  std::vector<double> q(80, 0.5);
  q[2 * 33] = std::nan("");
  both.feeds[0].value = tensor(std::span<const double>(q), {1, 40, 2});
  const Tensor y = both.run({both.outputs(c, {}, false)[0]})[0];
  for (std::int64_t i = 0; i < y.size(); ++i) BOOST_TEST(std::isnan(y.at(i)) == (i / 2 == 33));
}

BOOST_AUTO_TEST_CASE(a_nan_in_a_key_reaches_the_queries_that_see_it) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Case c{1, 70, 70, 3, 2, true};
    Both both(c, dtype);
    std::vector<double> k(210, 0.25);
    k[3 * 37 + 1] = std::nan("");
    both.feeds[1].value = tensor(std::span<const double>(k), {1, 70, 3}).astype(dtype);
    const Tensor y = both.run({both.outputs(c, {}, false)[0]})[0];
    for (std::int64_t i = 0; i < y.size(); ++i) BOOST_TEST(std::isnan(y.at(i)) == (i / 2 >= 37));
  }
}

// Every query sees the first key, so that no maximum is far out itself.
BOOST_AUTO_TEST_CASE(scores_too_far_below_the_highest_weigh_nothing) {
  const Case c{2, 33, 70, 3, 5, true};
  const Shape scores{c.batch, c.queries, c.keys};
  for (const DType dtype : {DType::f32, DType::f64}) {
    Both both(c, dtype);
    const Expr numbers = constant(drawn(scores, DType::f64, 3));
    const Expr seen = where(equal(coordinate(scores, -1), 0), -1.0, numbers) < 0.3;
    const Expr far = astype(where(seen, 0.0, -1e9), dtype);
    const std::vector<Tensor> got = both.run(both.outputs(c, far, false));
    const std::vector<Tensor> expected = both.run(both.outputs(c, seen, false));
    for (std::size_t i = 0; i < got.size(); ++i) BOOST_TEST(same_bits(got[i], expected[i]), i);
  }
}

BOOST_AUTO_TEST_CASE(what_other_kernels_left_in_the_scratch_is_not_read) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Case& c : {Case{2, 64, 64, 32, 32, true}, Case{1, 31, 65, 4, 5, true},
                          Case{2, 70, 530, 3, 2, true}, Case{3, 33, 31, 4, 17}}) {
      Both clean(c, dtype), spoiled(c, dtype);
      const std::vector<Tensor> expected = clean.run(clean.outputs(c, {}, false));
      std::vector<Expr> outputs = spoiled.outputs(c, {}, false);
      spoiled.in[0] = spoiled.in[0] * std::nan("");
      for (const Expr& y : spoiled.outputs(c, {}, false)) outputs.push_back(y);
      Program program =
          compile(std::vector<Output>(outputs.begin(), outputs.end()), {}, cpu(), {.threads = 1});
      program.run(spoiled.feeds);
      const Results results = program.run(spoiled.feeds);
      for (std::size_t i = 0; i < expected.size(); ++i)
        BOOST_TEST(same_bits(results.tensor(static_cast<int>(i)), expected[i]), text_of(c)
                                                                                    << ": " << i);
    }
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_threads_or_instruction_set) {
  const Case shapes[] = {{3, 70, 90, 5, 7, true},
                         {1, 600, 1100, 3, 2},
                         {17, 64, 64, 4, 4, true},
                         {2, 200, 150, 19, 21, true}};
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Case& c : shapes) {
      Both both(c, dtype);
      const std::vector<Expr> outputs = both.outputs(c, {}, false);
      const std::vector<Tensor> expected = both.run(outputs, {.threads = 1});
      std::vector<CompileOptions> others;
      for (const int threads : {2, 3, 7}) others.push_back({.threads = threads});
      for (const char* isa : {"portable", "avx2", "avx512"})
        others.push_back({.threads = 1, .isa = isa});
      for (const CompileOptions& options : others) {
        std::vector<Tensor> got;
        try {
          got = both.run(outputs, options);
        } catch (const Error&) {
          continue;  // an instruction set that is not here
        }
        for (std::size_t i = 0; i < got.size(); ++i)
          BOOST_TEST(same_bits(got[i], expected[i]),
                     text_of(c) << ", " << options.isa << " " << options.threads << ": " << i);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(slices_of_one_projection_are_read_where_they_lie) {
  const Expr x = input("x", {2, 20, 3 * 8});  // batch, time, three times two heads of four
  std::vector<Expr> heads;
  for (int i = 0; i < 3; ++i) {
    const Expr part = reshape(slice(x, 2, 8 * i, 8 * i + 8), {2, 20, 2, 4});
    const int axes[] = {0, 2, 1, 3};
    heads.push_back(permute_dims(part, axes));
  }
  const Expr y = blockgrad::attention(heads[0], heads[1], heads[2], {.causal = true});
  const std::string text = compile({y}).to_text();
  BOOST_TEST(text.find("copy") == std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(memory_grows_with_the_sequence_and_not_with_its_square) {
  const auto arena = [](std::int64_t length) {
    const Expr q = input("q", {1, length, 8}), k = input("k", {1, length, 8});
    const Expr v = input("v", {1, length, 8});
    const Expr y = blockgrad::attention(q, k, v, {.causal = true});
    const std::vector<Expr> g = grad(sum(y), {q, k, v});
    return compile({y, g[0], g[1], g[2]}).report().peak_bytes;
  };
  const std::int64_t once = arena(2048), twice = arena(4096);
  BOOST_TEST(twice < 2 * once);
  BOOST_TEST(twice < 4096 * 4096);  // a quarter of the scores
}

BOOST_AUTO_TEST_SUITE_END()
