// The gradient to a weight some rows at a time: the bits of the plain product.
#include "backends/cpu/rows_product.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "blockgrad/blockgrad.h"
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

template <class T>
void compare(std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t beside, Isa isa) {
  constexpr std::int64_t gap = 3;
  const GemmShape shape{.m = m,
                        .n = n,
                        .k = k,
                        .type = sizeof(T) == 4 ? GemmType::f32 : GemmType::f64,
                        .a_row = 1,
                        .a_col = m + gap,
                        .b_row = n + gap,
                        .b_col = 1};
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

  const RowsProduct product(shape, beside, isa);
  BOOST_TEST_REQUIRE((product.rows() > 0 && product.rows() <= m));
  Scratch own(product.scratch());
  const auto rows_bytes = static_cast<std::size_t>(product.rows() * n) * sizeof(T);
  product.begin(b.data(), own.data());
  for (std::int64_t first = 0; first < m; first += product.rows()) {
    const std::int64_t last = std::min(m, first + product.rows());
    Scratch made(rows_bytes);
    product.run(a.data(), b.data(), made.data(), first, last, own.data());
    const auto bytes = static_cast<std::size_t>((last - first) * n) * sizeof(T);
    BOOST_TEST(std::memcmp(made.data(), expected.data() + first * n, bytes) == 0,
               join({m, "x", n, "x", k, " from row ", first, ", ", isa_name(isa)}));
    BOOST_TEST(made.is_guard_intact());
  }
  BOOST_TEST(own.is_guard_intact());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(rows_product)

BOOST_AUTO_TEST_CASE(bits_are_those_of_the_plain_product) {
  struct Size {
    std::int64_t m, n, k;
  };
  // Tails of rows and columns, one term, rows that are copied, and a B that is.
  const Size sizes[] = {{1, 1, 1},      {784, 128, 1}, {131, 130, 1}, {97, 33, 7},
                        {50, 127, 64},  {70, 300, 5},  {61, 301, 40}, {300, 1100, 9},
                        {40, 257, 130}, {513, 16, 31}, {7, 2049, 3},  {1000, 3, 2}};
  for (const Isa isa : supported_isas()) {
    for (const auto& [m, n, k] : sizes) {
      for (const std::int64_t beside : {4, 12}) {
        compare<float>(m, n, k, beside, isa);
        compare<double>(m, n, k, 2 * beside, isa);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(what_few_rows_take_with_them_stays_in_a_cache) {
  const GemmShape shape{.m = 784, .n = 128, .k = 1, .a_row = 1, .a_col = 784, .b_row = 128};
  const RowsProduct product(shape, 4, best_isa());
  BOOST_TEST(product.rows() * shape.n * 8 <= 32 * 1024);
  BOOST_TEST(product.scratch() == 0u);
}

BOOST_AUTO_TEST_CASE(only_sums_over_rows_of_both_operands_are_such_products) {
  const GemmShape shape{.m = 8, .n = 8, .k = 4, .a_row = 1, .a_col = 8, .b_row = 8};
  BOOST_TEST(RowsProduct::is_one(shape));
  GemmShape other = shape;
  other.a_row = 4, other.a_col = 1;
  BOOST_TEST(!RowsProduct::is_one(other));
  other = shape;
  other.b_row = 1, other.b_col = 4;
  BOOST_TEST(!RowsProduct::is_one(other));
  other = shape;
  other.k = 0;
  BOOST_TEST(!RowsProduct::is_one(other));
}

BOOST_AUTO_TEST_SUITE_END()
