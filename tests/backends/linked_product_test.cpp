// Products whose sums go through two halves of k: the bits of the plain product, whoever does what.
#include "backends/cpu/linked_product.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/instruction_sets.h"

using namespace blockgrad;
using namespace test_support;

namespace {

template <class T>
struct Product {
  GemmShape shape;
  Gemm gemm;
  std::vector<T> a, b, expected;

  Product(std::int64_t m, std::int64_t n, std::int64_t k, Isa isa)
      : shape{.m = m,
              .n = n,
              .k = k,
              .type = sizeof(T) == 4 ? GemmType::f32 : GemmType::f64,
              .a_row = k,
              .b_row = n},
        gemm(Gemm::make(shape, isa)),
        a(static_cast<std::size_t>(m * k)),
        b(static_cast<std::size_t>(k * n)),
        expected(static_cast<std::size_t>(m * n)) {
    std::mt19937 random(7);
    std::uniform_real_distribution<T> number(-1, 1);
    for (T& x : a) x = number(random);
    for (T& x : b) x = number(random);
    std::vector<std::byte> scratch(gemm.scratch() + 64);
    auto* const aligned =
        scratch.data() + (64 - reinterpret_cast<std::uintptr_t>(scratch.data()) % 64);
    gemm.run(a.data(), b.data(), expected.data(), 0, gemm.parts(), aligned);
  }
};

/// Each thread does its run of the parts, the last one begins first.
template <class T>
void compare(const Product<T>& product, int threads, const std::string& what) {
  if (!product.gemm.can_slice()) return;
  const LinkedProduct linked(product.shape, product.gemm);
  std::vector<T> c(product.expected.size());
  for (std::uint64_t turn = 1; turn <= 5; ++turn) {
    c.assign(c.size(), std::numeric_limits<T>::quiet_NaN());
    KernelCall call;
    call.turn = turn;
    std::vector<std::thread> workers;
    for (int t = threads - 1; t >= 0; --t) {
      workers.emplace_back([&, t] {
        linked.run(call, product.a.data(), product.b.data(), c.data(), linked.parts() * t / threads,
                   linked.parts() * (t + 1) / threads);
      });
    }
    for (std::thread& worker : workers) worker.join();
    BOOST_TEST_REQUIRE(std::memcmp(c.data(), product.expected.data(), c.size() * sizeof(T)) == 0,
                       what << ", " << threads << " threads, turn " << turn);
  }
}

/// The parameters after some steps.
std::vector<Tensor> trained(int threads) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const auto values = [&](const Shape& shape) {
    std::vector<float> all(static_cast<std::size_t>(shape.size()));
    for (float& x : all) x = 0.1F * normal(random);
    return tensor(std::span<const float>(all), shape);
  };
  const Expr x = input("x", {64, 600}), t = input("t", {64, 40});
  const Expr w = parameter(values({600, 40}), "w"), v = parameter(values({40, 40}), "v");
  const Loss loss = mse_loss(matmul(relu(matmul(x, w)), v), t);
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  Program program = compile({loss}, minimize(optimizer, loss), cpu(), {.threads = threads});
  const Feeds batch{{x, values({64, 600})}, {t, values({64, 40})}};
  program.run_many(200, {batch});
  return {w.value(), v.value()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(linked_product)

BOOST_AUTO_TEST_CASE(bits_are_those_of_the_plain_product) {
  for (const Isa isa : supported_isas()) {
    for (const std::int64_t m : {1, 7, 48, 64, 129}) {
      for (const std::int64_t n : {1, 16, 40, 128}) {
        for (const std::int64_t k : {0, 1, 15, 100, 513, 900}) {
          const std::string what = join({isa_name(isa), " ", m, "x", n, "x", k});
          const Product<float> f32(m, n, k, isa);
          const Product<double> f64(m, n, k, isa);
          for (const int threads : {1, 2, 3}) {
            compare(f32, threads, what);
            compare(f64, threads, what + " f64");
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(it_is_for_few_rows_and_a_matrix_of_some_size) {
  const auto is_worth_it = [](std::int64_t m, std::int64_t n, std::int64_t k) {
    const Product<float> product(m, n, k, best_isa());
    return LinkedProduct::is_worth_it(product.shape, product.gemm);
  };
  BOOST_TEST(!is_worth_it(8, 128, 784), "too few rows for a row of blocks");
  BOOST_TEST(!is_worth_it(256, 128, 784), "the sums are as much as the matrix");
  BOOST_TEST(!is_worth_it(64, 10, 784), "a small matrix");
  BOOST_TEST(!is_worth_it(64, 1024, 784), "a large matrix");
  if (best_isa() != Isa::avx512) return;  // others have other tiles
  BOOST_TEST(is_worth_it(64, 128, 784));
  BOOST_TEST(is_worth_it(64, 40, 600), "what is trained below");
}

BOOST_AUTO_TEST_CASE(training_with_it_has_equal_bits_for_every_number_of_threads) {
  const std::vector<Tensor> expected = trained(1);
  for (const int threads : {2, 3, 7}) {
    const std::vector<Tensor> got = trained(threads);
    for (std::size_t i = 0; i < got.size(); ++i)
      BOOST_TEST(same_bits(got[i], expected[i]), threads << " threads, parameter " << i);
  }
}

BOOST_AUTO_TEST_SUITE_END()
