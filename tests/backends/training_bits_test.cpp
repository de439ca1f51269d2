// Training: a hundred steps give the same bits on every number of threads and instruction set.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "backends/cpu/isa.h"
#include "backends/cpu/thread_pool.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr int steps = 100;

Tensor waves(const Shape& shape, double scale, double phase) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(0.37 * static_cast<double>(i) + phase) * scale);
  return tensor(std::span<const double>(values), shape).astype(DType::f32);
}

Tensor labels(std::int64_t n, int classes) {
  std::vector<std::int32_t> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<std::int32_t>(i * i % classes));
  return tensor(std::span<const std::int32_t>(values), {n});
}

// What is trained: a loss of x and t, and where its parameters start.
struct Model {
  Expr x, t;
  Loss loss;
  Tensor x_value, t_value;
};

Model perceptron() {
  Model m;
  m.x = input("x", {64, 64});
  m.t = input("t", {64}, DType::i32);
  const Expr w1 = parameter(waves({64, 128}, 0.2, 1), "w1"), b1 = parameter(zeros({128}), "b1");
  const Expr w2 = parameter(waves({128, 10}, 0.2, 2), "w2"), b2 = parameter(zeros({10}), "b2");
  m.loss = cross_entropy(linear(relu(linear(m.x, w1, b1)), w2, b2), m.t);
  m.x_value = waves({64, 64}, 1, 0);
  m.t_value = labels(64, 10);
  return m;
}

Model convolutions() {
  Model m;
  m.x = input("x", {8, 1, 20, 20});
  m.t = input("t", {8}, DType::i32);
  const Expr k1 = parameter(waves({6, 1, 3, 3}, 0.5, 1), "k1");
  const Expr k2 = parameter(waves({12, 6, 3, 3}, 0.3, 2), "k2");
  const Expr w = parameter(waves({300, 5}, 0.2, 3), "w"), b = parameter(zeros({5}), "b");
  const Expr small = max_pool2d(relu(conv2d(m.x, k1, {.padding = {1, 1}})), {2, 2});
  const Expr tiny = max_pool2d(relu(conv2d(small, k2, {.padding = {1, 1}})), {2, 2});
  m.loss = cross_entropy(linear(reshape(tiny, {8, 300}), w, b), m.t);
  m.x_value = waves({8, 1, 20, 20}, 1, 0);
  m.t_value = labels(8, 5);
  return m;
}

Model attentive() {
  Model m;
  m.x = input("x", {8, 24, 48});
  m.t = input("t", {192}, DType::i32);
  const auto weight = [](const char* name, const Shape& shape, double phase) {
    return parameter(waves(shape, 0.3, phase), name);
  };
  const Expr q = matmul(m.x, weight("q", {48, 48}, 1)), k = matmul(m.x, weight("k", {48, 48}, 2));
  const Expr v = matmul(m.x, weight("v", {48, 48}, 3));
  const Expr scores = softmax(matmul(q, transpose(k)) * 0.2, -1);
  const Expr mixed = layer_norm(m.x + matmul(scores, v), {}, {});
  m.loss = cross_entropy(matmul(reshape(mixed, {192, 48}), weight("out", {48, 7}, 4)), m.t);
  m.x_value = waves({8, 24, 48}, 1, 0);
  m.t_value = labels(192, 7);
  return m;
}

struct Trained {
  std::vector<Tensor> values;  // the last loss, parameters and states
  double first_loss = 0;
  std::uint64_t shared = 0;  // kernels that several threads worked on
};

Trained trained(const std::function<Model()>& make, const CompileOptions& options) {
  const Model m = make();
  Optimizer optimizer(Adam{.learning_rate = 0.01});
  const Updates updates = minimize(optimizer, m.loss);
  Program program = compile({m.loss}, updates, cpu(), options);
  const Feeds ring[] = {{{m.x, m.x_value}, {m.t, m.t_value}}};
  const std::uint64_t before = ThreadPool::shared().runs();
  Trained result;
  result.first_loss = program.run(ring[0]).number(0);
  const Results results = program.run_many(steps - 1, ring);
  result.shared = ThreadPool::shared().runs() - before;
  result.values.push_back(results.tensor(0));
  for (const Update& update : updates.all()) result.values.push_back(update.leaf.value());
  return result;
}

// Threads are used in each step, also where one alone is faster.
class AlwaysShared {
 public:
  AlwaysShared() { ::setenv("BLOCKGRAD_SHARING", "always", 1); }
  ~AlwaysShared() { ::unsetenv("BLOCKGRAD_SHARING"); }
  AlwaysShared(const AlwaysShared&) = delete;
  AlwaysShared& operator=(const AlwaysShared&) = delete;
};

void check_training(const std::function<Model()>& make) {
  const AlwaysShared always;
  const Trained expected = trained(make, {.threads = 1});
  BOOST_TEST(expected.values[0].at(0) < expected.first_loss);
  BOOST_TEST(expected.shared == 0);
  const auto check = [&](const std::string& what, const CompileOptions& options) {
    const Trained got = trained(make, options);
    BOOST_TEST_REQUIRE(got.values.size() == expected.values.size());
    for (std::size_t i = 0; i < got.values.size(); ++i) {
      BOOST_TEST(same_bits(got.values[i], expected.values[i]),
                 what << ": value " << i << " differs");
    }
    if (options.threads > 1) BOOST_TEST(got.shared >= steps, what << ": shares too little work");
  };
  for (const int threads : {2, 3, 7})
    check(std::to_string(threads) + " threads", {.threads = threads});
  for (const Isa isa : {Isa::avx2, Isa::portable}) {
    if (is_supported(isa))
      check(std::string(isa_name(isa)), {.threads = 1, .isa = std::string(isa_name(isa))});
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(training_bits)

BOOST_AUTO_TEST_CASE(a_perceptron_with_adam) { check_training(perceptron); }
BOOST_AUTO_TEST_CASE(a_convolutional_net) { check_training(convolutions); }
BOOST_AUTO_TEST_CASE(attention) { check_training(attentive); }

BOOST_AUTO_TEST_SUITE_END()
