// Products over the rows of a batch, of which two threads add up a half each: the bits of the plain
// product.
#include "backends/cpu/weight_product.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "backends/cpu/cache_size.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/instruction_sets.h"

using namespace blockgrad;
using namespace test_support;

namespace {

constexpr std::size_t guard_bytes = 256;

/// Aligned memory of NaN; what lies behind it is to stay as it is.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes)
      : bytes_(bytes), memory_(bytes + guard_bytes + 64, std::byte{0xFF}) {}
  std::byte* data() {
    return memory_.data() + (64 - reinterpret_cast<std::uintptr_t>(memory_.data()) % 64);
  }
  bool is_guard_intact() {
    for (std::size_t i = bytes_; i < bytes_ + guard_bytes; ++i) {
      if (data()[i] != std::byte{0xFF}) return false;
    }
    return true;
  }

 private:
  std::size_t bytes_;
  std::vector<std::byte> memory_;
};

/// Rows of A and B may be longer than what the product reads of them.
GemmShape shape_of(std::int64_t m, std::int64_t n, std::int64_t k, GemmType type = GemmType::f32,
                   std::int64_t gap = 0) {
  return {.m = m,
          .n = n,
          .k = k,
          .type = type,
          .a_row = 1,
          .a_col = m + gap,
          .b_row = n + gap,
          .b_col = 1};
}

template <class T>
void compare(std::int64_t m, std::int64_t n, std::int64_t k, Isa isa) {
  constexpr std::int64_t gap = 3;
  const GemmShape shape = shape_of(m, n, k, sizeof(T) == 4 ? GemmType::f32 : GemmType::f64, gap);
  std::mt19937 random(7);
  std::uniform_real_distribution<T> number(-1, 1);
  // Nothing behind the last element, so that a sanitizer sees what reads there.
  std::vector<T> a(static_cast<std::size_t>(k * (m + gap) - gap));
  std::vector<T> b(static_cast<std::size_t>(k * (n + gap) - gap));
  for (T& x : a) x = number(random);
  for (T& x : b) x = number(random);
  std::vector<T> expected(static_cast<std::size_t>(m * n));
  const Gemm gemm = Gemm::make(shape, isa);
  Scratch scratch(gemm.scratch());
  gemm.run(a.data(), b.data(), expected.data(), 0, gemm.parts(), scratch.data());

  const WeightProduct product(shape, isa);
  Scratch scratches[2] = {Scratch(product.scratch()), Scratch(product.scratch())};
  Scratch shared(product.shared());
  std::vector<T> c(expected.size());
  for (std::uint64_t turn = 1; turn <= 4; ++turn) {
    c.assign(c.size(), std::numeric_limits<T>::quiet_NaN());
    const auto add = [&](int half) {
      product.run(half, turn, a.data(), b.data(), c.data(), scratches[half].data(), shared.data());
    };
    if (turn == 1) {  // one thread may have both
      add(0);
      add(1);
    } else {
      std::thread second(add, 1);
      add(0);
      second.join();
    }
    BOOST_TEST_REQUIRE(std::memcmp(c.data(), expected.data(), c.size() * sizeof(T)) == 0,
                       isa_name(isa) << ", " << m << "x" << n << "x" << k << ", " << sizeof(T)
                                     << " bytes, turn " << turn);
  }
  BOOST_TEST(shared.is_guard_intact(), "shared of " << m << "x" << n);
  for (Scratch& s : scratches) BOOST_TEST(s.is_guard_intact(), "scratch of " << m << "x" << n);
}

Tensor drawn(const Shape& shape, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> all(static_cast<std::size_t>(shape.size()));
  for (float& x : all) x = 0.1F * normal(random);
  return tensor(std::span<const float>(all), shape);
}

/// The parameters after some steps.
std::vector<Tensor> trained(int threads) {
  std::mt19937 random(3);
  const Expr x = input("x", {300, 96}), t = input("t", {300, 48});
  const Expr w = parameter(drawn({96, 144}, random), "w");
  const Expr v = parameter(drawn({144, 48}, random), "v");
  const Loss loss = mse_loss(matmul(relu(matmul(tanh(x), w)), v), t);
  Optimizer optimizer(Sgd{.learning_rate = 0.1});
  Program program = compile({loss}, minimize(optimizer, loss), cpu(), {.threads = threads});
  const Feeds batch{{x, drawn({300, 96}, random)}, {t, drawn({300, 48}, random)}};
  const std::string plan = program.explain();
  const std::size_t first = plan.find("halves of k");
  BOOST_TEST_REQUIRE((first != std::string::npos), "both gradients are such products");
  BOOST_TEST((plan.find("halves of k", first + 1) != std::string::npos));
  program.run_many(100, {batch});
  return {w.value(), v.value()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(weight_product)

BOOST_AUTO_TEST_CASE(bits_are_those_of_the_plain_product) {
  for (const Isa isa : supported_isas()) {
    for (const std::int64_t m : {1, 7, 64, 131}) {
      for (const std::int64_t n : {1, 10, 48, 65, 150}) {
        for (const std::int64_t k : {1, 2, 33, 160}) {
          compare<float>(m, n, k, isa);
          compare<double>(m, n, k, isa);
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(it_is_for_long_sums_over_rows_that_a_cache_holds) {
  const auto is_worth_it = [](std::int64_t m, std::int64_t n, std::int64_t k) {
    return WeightProduct::is_worth_it(shape_of(m, n, k));
  };
  const bool fits = detail::second_cache_bytes() >= 768 / 2 * (512 + 128) * 4;
  BOOST_TEST(is_worth_it(512, 128, 768) == fits);
  BOOST_TEST(is_worth_it(96, 144, 300), "what is trained below");
  BOOST_TEST(is_worth_it(144, 48, 300), "what is trained below");
  BOOST_TEST(!is_worth_it(784, 128, 64), "the result is more than the operands");
  BOOST_TEST(!is_worth_it(128, 10, 64), "little work");
  BOOST_TEST(!is_worth_it(256, 1024, 2048), "operands from afar");
  BOOST_TEST(!is_worth_it(1790, 56, 347), "the result is much of what is read from afar");
  BOOST_TEST(!is_worth_it(128, 1024, 600), "rows of B that meet in few sets of a cache");
  BOOST_TEST(!is_worth_it(1024, 57, 512), "rows of A that do");
  BOOST_TEST(is_worth_it(1024, 10, 256), "they are read once");
  GemmShape plain = shape_of(128, 128, 768);
  std::swap(plain.a_row, plain.a_col);
  BOOST_TEST(!WeightProduct::is_worth_it(plain), "sums along the rows of A");
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
