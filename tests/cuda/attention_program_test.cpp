// Attention and its gradient on CUDA's executable against the CPU: sizes beside the edges of tiles,
// masks, queries that see nothing, values that are not finite; and the machine code of its kernels.
#include "blockgrad/ops/attention.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/attention/cuda_attention.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/cuda_executable.h"
#include "backends/cuda/kernel_text.h"
#include "backends/cuda/machine/nvrtc.h"
#include "blockgrad/blockgrad.h"
#include "tests/cuda/cubin.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

struct Case {
  std::int64_t batch, queries, keys, depth, columns;
  bool causal = false;
};

/// Feeds drawn from seeds that count up, and what is made of them.
struct Outputs {
  Feeds feeds;
  std::vector<Output> all;
  std::uint64_t seed = 0;

  Expr input(const Shape& shape, DType dtype = DType::f32, double low = -2, double high = 2) {
    return input(test_support::drawn(shape, dtype, ++seed, low, high));
  }
  Expr input(const Tensor& value) {
    const Expr x =
        blockgrad::input("x" + std::to_string(feeds.size()), value.shape(), value.dtype());
    feeds.push_back({x, value});
    return x;
  }
  /// The value and the gradients to q, k and v.
  void add(const Expr& q, const Expr& k, const Expr& v, const AttentionOptions& options) {
    const Expr y = attention(q, k, v, options);
    all.push_back(y);
    const Expr weights = input(y.shape(), y.dtype());
    for (const Expr& g : grad(sum(y * weights), {q, k, v})) all.push_back(g);
  }
  void add(const Case& c, DType dtype, const AttentionOptions& options = {}) {
    AttentionOptions of_case = options;
    of_case.causal = c.causal;
    const Expr q = input({c.batch, c.queries, c.depth}, dtype);
    const Expr k = input({c.batch, c.keys, c.depth}, dtype);
    add(q, k, input({c.batch, c.keys, c.columns}, dtype), of_case);
  }
};

// Sums over keys and queries are made in another order than the CPU's.
constexpr double f32_order = 1e-5, f64_order = 1e-13;

}  // namespace

BOOST_AUTO_TEST_SUITE(attention_program)

// y and the gradients written where a layer wants them: heads side by side, three parts in one.
BOOST_AUTO_TEST_CASE(results_are_made_in_their_places) {
  if (test_support::skips_cuda_programs()) return;
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    Outputs outputs;
    const Expr x = outputs.input({2, 70, 3 * 2 * 32}, dtype);
    std::vector<Expr> parts = split(x, 3, -1);
    for (Expr& part : parts) part = permute_dims(reshape(part, {2, 70, 2, 32}), {{0, 2, 1, 3}});
    const Expr heads = attention(parts[0], parts[1], parts[2], {.causal = true});
    const Expr y = reshape(permute_dims(heads, {{0, 2, 1, 3}}), {2, 70, 64});
    outputs.all.push_back(matmul(y, outputs.input({2, 64, 8}, dtype)));
    const Expr weights = outputs.input(y.shape(), dtype);
    outputs.all.push_back(grad(sum(y * weights), {x})[0]);
    test_support::check_on_cuda(outputs.all, outputs.feeds,
                                dtype == DType::f64   ? f64_order
                                : dtype == DType::f32 ? f32_order
                                                      : 1e-2);
  }
}

BOOST_AUTO_TEST_CASE(tiles_give_what_the_cpu_gives) {
  if (test_support::skips_cuda_programs()) return;
  const Case cases[] = {{2, 1, 1, 1, 1},
                        {1, 65, 70, 20, 8, true},
                        {1, 64, 64, 64, 64, true},
                        {1, 33, 130, 8, 64},
                        {1, 130, 33, 64, 20, true},
                        {2, 20, 21, 80, 128},
                        {1, 5, 3, 130, 260},
                        {2, 0, 3, 4, 4},
                        {2, 3, 0, 4, 4},
                        {0, 3, 3, 4, 4},
                        {2, 3, 3, 0, 4},
                        {2, 3, 3, 4, 0, true}};
  Outputs outputs;
  for (const Case& c : cases) outputs.add(c, DType::f32);
  test_support::check_on_cuda(outputs.all, outputs.feeds, f32_order);
  Outputs wide;
  wide.add({1, 66, 67, 5, 3, true}, DType::f64);
  wide.add({1, 3, 66, 66, 64}, DType::f64);
  test_support::check_on_cuda(wide.all, wide.feeds, f64_order);
}

// Weights and slopes of scores are rounded to halves.
BOOST_AUTO_TEST_CASE(halves_meet_on_tensor_cores) {
  if (test_support::skips_cuda_programs()) return;
  const Case cases[] = {{2, 65, 70, 24, 16, true},
                        {1, 70, 130, 16, 72},
                        {1, 5, 66, 15, 7},
                        {1, 3, 5, 130, 8},
                        {1, 3, 0, 8, 8}};
  Outputs outputs, finer;
  for (const Case& c : cases) outputs.add(c, DType::bf16);
  outputs.add({1, 34, 40, 16, 16}, DType::bf16, {.mask = outputs.input({34, 40}, DType::bf16)});
  test_support::check_on_cuda(outputs.all, outputs.feeds, 0.02);
  finer.add(cases[0], DType::f16);
  test_support::check_on_cuda(finer.all, finer.feeds, 0.003);
}

// Rounded as they are written, two at a time where rows have room for that.
BOOST_AUTO_TEST_CASE(results_may_be_halves) {
  if (test_support::skips_cuda_programs()) return;
  for (const Case& c : {Case{2, 65, 70, 24, 16, true}, {1, 5, 66, 15, 7}, {1, 3, 5, 130, 8}}) {
    Outputs outputs;
    const auto drawn = [&](std::int64_t rows, std::int64_t columns) {
      return outputs.input({c.batch, rows, columns}, DType::bf16);
    };
    const Expr q = drawn(c.queries, c.depth), k = drawn(c.keys, c.depth),
               v = drawn(c.keys, c.columns), dy = drawn(c.queries, c.columns);
    const std::vector<Expr> made = make_all(Attention{c.causal, 0.25, DType::bf16}, {q, k, v});
    const Expr delta = sum(astype(dy, DType::f32) * astype(made[0], DType::f32), -1);
    const std::vector<Expr> slopes =
        make_all(AttentionGradient{c.causal, 0.25, DType::bf16}, {q, k, v, dy, made[1], delta});
    outputs.all = {made[0], made[1], slopes[0], slopes[1], slopes[2]};
    for (const Expr& e : {made[0], slopes[0], slopes[1], slopes[2]})
      BOOST_TEST((e.dtype() == DType::bf16));
    test_support::check_on_cuda(outputs.all, outputs.feeds, 0.03);
  }
}

BOOST_AUTO_TEST_CASE(masks_hide_and_shift_and_may_leave_a_query_nothing) {
  if (test_support::skips_cuda_programs()) return;
  Outputs outputs;
  const Tensor drawn = test_support::drawn({70, 66}, DType::f32, 90, -1, 1);
  std::vector<double> added;
  std::vector<double> allowed;
  for (std::int64_t i = 0; i < 70; ++i) {
    for (std::int64_t j = 0; j < 66; ++j) {
      const double x = drawn.at(i * 66 + j);
      added.push_back(i % 7 == 0 || x > 0.8 ? -inf : x);
      allowed.push_back(i % 7 == 0 || x > 0.8 ? 0 : 1);
    }
  }
  const std::span<const double> of_added(added), of_allowed(allowed);
  const Expr numbers = outputs.input(tensor(of_added, {70, 66}).astype(DType::f32));
  const Expr bools = outputs.input(tensor(of_allowed, {70, 66}).astype(DType::boolean));
  for (const bool causal : {false, true}) {
    for (const Expr& mask : {numbers, bools})
      outputs.add({2, 70, 66, 16, 16, causal}, DType::f32, {.mask = mask});
  }
  const Expr column = outputs.input({70, 1});
  outputs.add({2, 70, 66, 16, 16}, DType::f32, {.mask = column, .scale = -0.3});
  test_support::check_on_cuda(outputs.all, outputs.feeds, f32_order);
}

BOOST_AUTO_TEST_CASE(heads_are_read_where_they_lie) {
  if (test_support::skips_cuda_programs()) return;
  Outputs outputs;
  const auto heads = [](const Expr& x) { return permute_dims(x, std::vector<int>{0, 2, 1, 3}); };
  const Expr all = outputs.input({2, 20, 9, 16});
  const auto third = [&](std::int64_t i) {
    return heads(slice(all, {{}, {}, {3 * i, 3 * i + 3}, {}}));
  };
  outputs.all.push_back(attention(third(0), third(1), third(2), {.causal = true}));
  const Expr shared = outputs.input({1, 20, 16});
  outputs.all.push_back(attention(third(0), shared, shared));
  test_support::check_on_cuda(outputs.all, outputs.feeds, f32_order);
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_stays_in_its_rows) {
  if (test_support::skips_cuda_programs()) return;
  Outputs outputs;
  std::vector<double> rows(static_cast<std::size_t>(70 * 16), 0.5);
  rows[3 * 16] = std::nan("");
  rows[5 * 16 + 1] = inf;
  rows[6 * 16 + 2] = -inf;
  const Expr q = outputs.input(tensor(std::span<const double>(rows), {70, 16}).astype(DType::f32));
  const Expr k = outputs.input({66, 16}), v = outputs.input({66, 16});
  outputs.all.push_back(attention(q, k, v));
  outputs.all.push_back(attention(q, k, v, {.causal = true}));
  test_support::check_on_cuda(outputs.all, outputs.feeds, f32_order);
}

BOOST_AUTO_TEST_CASE(the_order_of_threads_changes_no_bit) {
  if (test_support::skips_cuda_programs()) return;
  Outputs outputs;
  outputs.add({1, 65, 70, 20, 8, true}, DType::f32);
  std::vector<std::vector<Tensor>> seen;
  for (const std::uint64_t seed : {1, 2}) {
    const Device device = make_device("cuda", cuda_backend(test_support::cuda_test_runtime(seed)));
    Program program = compile(outputs.all, {}, device);
    const Results results = program.run(outputs.feeds);
    std::vector<Tensor> values;
    for (int i = 0; i < static_cast<int>(outputs.all.size()); ++i)
      values.push_back(results.tensor(i));
    seen.push_back(values);
  }
  for (std::size_t i = 0; i < seen[0].size(); ++i) {
    for (std::int64_t e = 0; e < seen[0][i].size(); ++e)
      BOOST_TEST(seen[0][i].at(e) == seen[1][i].at(e));
  }
}

BOOST_AUTO_TEST_CASE(the_report_shows_tiles_threads_and_shared_memory) {
  if (test_support::skips_cuda_programs()) return;
  Outputs outputs;
  outputs.add({1, 65, 70, 20, 8, true}, DType::f32);
  const std::string text = compile(outputs.all, {}, test_support::cuda_test_device()).explain();
  for (const std::string expected :
       {"tiles of 64 queries and 64 keys, those not seen left out, 128 threads, 35 KiB shared",
        "dq: 128 threads, 35 KiB shared; dk and dv: 128 threads, 52 KiB shared"})
    BOOST_TEST(text.find(expected) != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(a_gpu_with_less_shared_memory_than_a_block_takes_refuses_the_node) {
  const Expr q = input("q", {1, 64, 64}), k = input("k", {1, 64, 64}), v = input("v", {1, 64, 64});
  const Expr y = attention(q, k, v);
  const int line = __LINE__ - 1;
  const auto keeps = [](const Op& op) { return cuda_maker(op) != nullptr; };
  const Graph graph = build_graph(std::vector<Expr>{y}, {}, keeps);
  const Plan plan = make_plan(graph, true);
  const auto with_bytes = [&](std::int64_t bytes) {
    return test_support::error_of(
        [&] { cuda_works(graph, plan, {.limits = {.shared_bytes = bytes}}); });
  };
  BOOST_TEST(with_bytes(35840) == "no error");
  BOOST_TEST(with_bytes(35839) == "attention (attention_program_test.cpp:" + std::to_string(line) +
                                      "): its kernel takes 35840 bytes of shared memory for a "
                                      "block, this GPU has 35839");
}

// For the head sizes that models have.
BOOST_AUTO_TEST_CASE(machine_code_spills_nothing) {
  std::vector<CudaText> texts;
  struct Types {
    DType read, made;
  };
  const Types all[] = {
      {DType::f32, DType::f32}, {DType::bf16, DType::f32}, {DType::bf16, DType::bf16}};
  for (const auto& [dtype, made_dtype] : all)
    for (const std::int64_t depth : {64, 128}) {
      const auto operand = [](DType of, const Shape& shape) {
        return Operand{Place::feed, 0, of, Layout::dense(shape)};
      };
      const Operand x = operand(dtype, {4, 256, depth}), y = operand(made_dtype, {4, 256, depth});
      const Operand row = operand(DType::f32, {4, 256});
      const Operand forward[] = {x, x, x}, made[] = {y, row};
      const Operand backward[] = {x, x, x, x, row, row}, slopes[] = {y, y, y};
      const GraphNode node{Attention{true, 0.125}, {}, {}, {}};
      const GraphNode gradient{AttentionGradient{true, 0.125}, {}, {}, {}};
      for (const CudaWork& work : {attention_kernel({node, forward, made}),
                                   attention_gradient_kernel({gradient, backward, slopes})}) {
        for (const CudaLaunch& launch : work.launches) texts.push_back(launch.text);
      }
    }
  using cubin::Kind;
  const std::vector<cubin::Kernel> kernels = cubin::compiled(texts);
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const cubin::Kernel& kernel = kernels[i];
    BOOST_TEST_CONTEXT(kernel.name) {
      BOOST_TEST(kernel.count(Kind::load_local) + kernel.count(Kind::store_local) == 0);
      if (i >= texts.size() / 3) {
        BOOST_TEST(kernel.count(Kind::tensor_core) >= 2 * 4 * 8);  // two products of 64
        BOOST_TEST(kernel.count(Kind::load_matrices) > 0);
        BOOST_TEST(kernel.count(Kind::copy_async) > 0);
        continue;
      }
      BOOST_TEST(kernel.count(Kind::load_shared, 128) > 0);
      BOOST_TEST(kernel.count(Kind::load_global, 128) > 0);
      BOOST_TEST(kernel.count(Kind::fma_f32) >= 256);  // of a step of one product
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
