// Every product is compared bit for bit with a plain chain of fused multiply-adds, on every
// instruction set of this processor. Operands lie in memory whose every other element is NaN.

#include "backends/cpu/gemm.h"

#include "blockgrad/graph/error.h"
#include "tests/support/instruction_sets.h"

#include <boost/test/unit_test.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <thread>
#include <vector>

using namespace blockgrad;
using test_support::supported_isas;

namespace {

/// rows x columns elements with strides, between guards of NaN that also fill the gaps.
template <class T>
struct Operand {
  static constexpr std::int64_t guard = 64;
  std::vector<T> memory;
  std::int64_t row_stride, column_stride;

  Operand(std::int64_t rows, std::int64_t columns, bool is_transposed, std::int64_t padding,
          std::mt19937& random) {
    const std::int64_t dense = (is_transposed ? rows : columns) + padding;
    row_stride = is_transposed ? 1 : dense;
    column_stride = is_transposed ? dense : 1;
    const std::int64_t lines = is_transposed ? columns : rows;
    memory.assign(static_cast<std::size_t>(2 * guard + lines * dense),
                  std::numeric_limits<T>::quiet_NaN());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) at(r, c) = draw(random);
    }
  }

  /// Mantissas of full width and a spread of exponents: nearly every sum rounds.
  static T draw(std::mt19937& random) {
    const double high = static_cast<double>(random()) / 4294967296.0;
    const double low = static_cast<double>(random()) / 4294967296.0 / 4294967296.0;
    const double fraction = 2 * (high + low) - 1;
    return static_cast<T>(std::ldexp(fraction, static_cast<int>(random() % 8)));
  }
  T* data() { return memory.data() + guard; }
  T& at(std::int64_t r, std::int64_t c) { return data()[r * row_stride + c * column_stride]; }
};

struct Scratch {
  std::vector<std::byte> memory;
  std::byte* begin;

  // Poisoned: what a product reads there it must have written.
  explicit Scratch(std::size_t size) : memory(size + 128, std::byte{0xff}) {
    begin = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64);
  }
  bool is_intact_behind(std::size_t size) const {
    for (const std::byte* p = begin + size; p != memory.data() + memory.size(); ++p) {
      if (*p != std::byte{0xff}) return false;
    }
    return true;
  }
};

struct Product {
  std::int64_t m, n, k;
  bool transpose_a = false;
  bool transpose_b = false;
  std::int64_t padding = 0;
};

template <class T>
std::string name(const Product& p, Isa isa) {
  return std::string(isa_name(isa)) + (sizeof(T) == 4 ? " f32 " : " f64 ") + std::to_string(p.m) +
         "x" + std::to_string(p.n) + "x" + std::to_string(p.k) + (p.transpose_a ? " T" : " N") +
         (p.transpose_b ? "T" : "N") + " padding " + std::to_string(p.padding);
}

/// What differs from the chain of std::fma, or "" if nothing does. Runs in one call, then part by
/// part from the last to the first.
template <class T>
std::string mismatch(const Product& p, const std::vector<Isa>& isas) {
  std::mt19937 random(static_cast<unsigned>(p.m * 1000003 + p.n * 1009 + p.k));
  Operand<T> a(p.m, p.k, p.transpose_a, p.padding, random);
  Operand<T> b(p.k, p.n, p.transpose_b, p.padding, random);
  std::vector<T> expected(static_cast<std::size_t>(p.m * p.n));
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      T sum = 0;
      for (std::int64_t q = 0; q < p.k; ++q) sum = std::fma(a.at(i, q), b.at(q, j), sum);
      expected[static_cast<std::size_t>(i * p.n + j)] = sum;
    }
  }
  const GemmShape shape{p.m,          p.n,
                        p.k,          sizeof(T) == 4 ? GemmType::f32 : GemmType::f64,
                        a.row_stride, a.column_stride,
                        b.row_stride, b.column_stride};
  constexpr std::size_t guard = 32;
  const T untouched = static_cast<T>(-77);
  for (const Isa isa : isas) {
    const Gemm gemm = Gemm::make(shape, isa);
    Scratch scratch(gemm.scratch());
    for (const bool part_by_part : {false, true}) {
      std::vector<T> c(expected.size() + 2 * guard, untouched);
      if (part_by_part) {
        for (std::int64_t part = gemm.parts(); part-- > 0;) {
          gemm.run(a.data(), b.data(), c.data() + guard, part, scratch.begin);
        }
      } else {
        gemm.run(a.data(), b.data(), c.data() + guard, 0, gemm.parts(), scratch.begin);
      }
      if (!expected.empty() &&
          std::memcmp(c.data() + guard, expected.data(), expected.size() * sizeof(T)) != 0) {
        return name<T>(p, isa) + (part_by_part ? ": parts differ" : ": differs");
      }
      for (std::size_t i = 0; i < guard; ++i) {
        if (c[i] != untouched || c[c.size() - 1 - i] != untouched) {
          return name<T>(p, isa) + ": wrote beside C";
        }
      }
      if (!scratch.is_intact_behind(gemm.scratch())) {
        return name<T>(p, isa) + ": wrote behind its scratch";
      }
    }
  }
  return "";
}

void check(const Product& p, const std::vector<Isa>& isas = supported_isas()) {
  BOOST_TEST(mismatch<float>(p, isas) == "");
  BOOST_TEST(mismatch<double>(p, isas) == "");
}

void check_all_layouts(std::int64_t m, std::int64_t n, std::int64_t k,
                       const std::vector<Isa>& isas = supported_isas()) {
  for (const bool transpose_a : {false, true}) {
    for (const bool transpose_b : {false, true}) {
      for (const std::int64_t padding : {0, 3}) {
        check({m, n, k, transpose_a, transpose_b, padding}, isas);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(gemm)

BOOST_AUTO_TEST_CASE(small_products_of_every_size_equal_the_fma_chain) {
  for (std::int64_t m = 1; m <= 20; ++m) {
    for (std::int64_t n = 1; n <= 20; ++n) {
      for (const std::int64_t k : {1, 2, 3, 4, 5, 7, 8, 9, 16, 20}) {
        check({m, n, k, (m + k) % 2 == 0, (n + k) % 2 == 0, (m + n) % 3});
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(four_transposes_and_strided_views_equal_the_fma_chain) {
  for (const std::int64_t m : {1, 5, 13, 32, 65}) {
    for (const std::int64_t n : {1, 2, 17, 31, 49, 96}) {
      for (const std::int64_t k : {1, 6, 33, 64}) check_all_layouts(m, n, k);
    }
  }
}

BOOST_AUTO_TEST_CASE(products_of_several_blocks_equal_the_fma_chain) {
  const std::vector<Isa> fast{best_isa()};
  for (const std::int64_t size : {95, 127, 128, 129, 200, 257}) {
    check_all_layouts(size, size, size, fast);
  }
  check_all_layouts(513, 47, 63, fast);
  check_all_layouts(47, 513, 300, fast);
  check_all_layouts(400, 33, 600, fast);
  check_all_layouts(3, 2500, 40, fast);
  check_all_layouts(70, 4200, 5, fast);
  check_all_layouts(2, 129, 1025, fast);
}

BOOST_AUTO_TEST_CASE(large_products_that_fetch_and_pack_ahead_equal_the_fma_chain) {
  const std::vector<Isa> fast{best_isa()};
  // Several blocks of rows and slices of k, both operands packed.
  BOOST_TEST(mismatch<float>({131, 256, 3072}, fast) == "");
  BOOST_TEST(mismatch<float>({131, 256, 3072, true, true}, fast) == "");
  // The tiles of a strip copy B for the next one; the last strip is narrower and packed behind
  // them.
  BOOST_TEST(mismatch<float>({20, 2085, 520, false, false}, fast) == "");
  BOOST_TEST(mismatch<float>({20, 2085, 520, true, false}, fast) == "");
  BOOST_TEST(mismatch<double>({9, 1601, 530, false, false, 2}, fast) == "");
  // A transposed B is packed strip by strip into two panels in turns.
  BOOST_TEST(mismatch<double>({64, 1030, 450, false, true}, fast) == "");
  // Rows of B that meet in few sets of the caches; two slices of k.
  BOOST_TEST(mismatch<float>({13, 1024, 3, false, false}, fast) == "");
  BOOST_TEST(mismatch<float>({13, 1024, 17, true, false}, supported_isas()) == "");
  BOOST_TEST(mismatch<double>({29, 512, 40, false, false}, supported_isas()) == "");
  BOOST_TEST(mismatch<float>({37, 1024, 130, false, false}, fast) == "");
  BOOST_TEST(mismatch<float>({100, 1024, 128, true, false}, fast) == "");
  BOOST_TEST(mismatch<float>({33, 1024, 803, false, false}, fast) == "");
  // Rows of a transposed A that meet in few sets of L1; one packed block of 128 rows.
  BOOST_TEST(mismatch<float>({256, 256, 256, true, false}, fast) == "");
  BOOST_TEST(mismatch<float>({128, 530, 400, true, false}, fast) == "");
  BOOST_TEST(mismatch<double>({64, 260, 200, true, true}, fast) == "");
  BOOST_TEST(mismatch<double>({97, 512, 801, true, false}, fast) == "");
}

BOOST_AUTO_TEST_CASE(what_is_copied_from_far_caches_equals_the_fma_chain) {
  // A transposed A in blocks of rows and slices of k, with tiles of several heights and an edge.
  for (const std::int64_t padding : {0, 5}) {
    check({203, 50, 270, true, false, padding});
    check({17, 77, 2100, true, false, padding}, {best_isa()});
    check({300, 20, 850, true, true, padding}, {best_isa()});
  }
  // Strips of B for many rows, the last one narrower.
  check({384, 270, 150, false, false, 3});
  check({385, 300, 130, true, false, 1}, {best_isa()});
}

BOOST_AUTO_TEST_CASE(products_made_transposed_equal_the_fma_chain) {
  for (const bool transpose_a : {false, true}) {
    check({31, 700, 40, transpose_a, true, 1});
    check({70, 10, 33, transpose_a, false, 2});
    check({3, 150, 900, transpose_a, true}, {best_isa()});
  }
}

BOOST_AUTO_TEST_CASE(a_row_times_a_large_matrix_equals_the_fma_chain) {
  for (const bool transpose_b : {false, true}) {
    for (const std::int64_t n : {257, 512, 1003}) {
      check({1, n, 263, false, transpose_b, 1});
      check({n, 1, 259, transpose_b, false, 1});
    }
  }
}

// Whose columns one thread makes, since they are few.
BOOST_AUTO_TEST_CASE(a_row_times_a_large_narrow_matrix_equals_the_fma_chain) {
  for (const std::int64_t n : {2, 5, 16, 31, 64, 100}) {
    const std::int64_t k = 70000 / n;
    for (const bool transposes : {false, true}) {
      check({1, n, k, false, transposes, 1});
      check({n, 1, k, transposes, false, 1});
    }
  }
}

BOOST_AUTO_TEST_CASE(single_rows_and_columns_equal_the_fma_chain) {
  for (const std::int64_t size : {1, 7, 8, 9, 63, 300, 1025}) {
    for (const std::int64_t k : {1, 7, 8, 100, 513}) {
      check_all_layouts(1, size, k, {best_isa()});
      check_all_layouts(size, 1, k, {best_isa()});
    }
  }
}

BOOST_AUTO_TEST_CASE(portable_kernels_equal_the_fma_chain_across_blocks) {
  check_all_layouts(70, 65, 300, {Isa::portable});
  check_all_layouts(200, 9, 33, {Isa::portable});
}

BOOST_AUTO_TEST_CASE(an_empty_sum_gives_positive_zeros) {
  for (const Isa isa : supported_isas()) {
    const Gemm gemm = Gemm::make({3, 5, 0, GemmType::f32, 0, 1, 5, 1}, isa);
    std::vector<float> c(15, -1.0F);
    gemm.run(nullptr, nullptr, c.data(), 0, gemm.parts(), nullptr);
    for (const float value : c) BOOST_TEST(std::bit_cast<std::uint32_t>(value) == 0U);
  }
}

BOOST_AUTO_TEST_CASE(an_empty_result_has_no_parts) {
  BOOST_TEST(Gemm::make({0, 5, 4, GemmType::f32, 4, 1, 5, 1}, best_isa()).parts() == 0);
  BOOST_TEST(Gemm::make({5, 0, 4, GemmType::f64, 4, 1, 0, 1}, best_isa()).parts() == 0);
}

BOOST_AUTO_TEST_CASE(infinities_and_nan_stay_in_their_own_row_and_column) {
  constexpr std::int64_t size = 61;
  std::vector<float> a(size * size, 1.0F), b(size * size, 1.0F);
  a[7 * size + 60] = std::numeric_limits<float>::infinity();
  b[3 * size + 60] = std::numeric_limits<float>::quiet_NaN();
  for (const Isa isa : supported_isas()) {
    const Gemm gemm = Gemm::make({size, size, size, GemmType::f32, size, 1, size, 1}, isa);
    Scratch scratch(gemm.scratch());
    std::vector<float> c(size * size);
    gemm.run(a.data(), b.data(), c.data(), 0, gemm.parts(), scratch.begin);
    int wrong = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      for (std::int64_t j = 0; j < size; ++j) {
        const float value = c[static_cast<std::size_t>(i * size + j)];
        const bool is_right = j == 60  ? std::isnan(value)
                              : i == 7 ? std::isinf(value)
                                       : value == static_cast<float>(size);
        wrong += is_right ? 0 : 1;
      }
    }
    BOOST_TEST(wrong == 0, isa_name(isa));
  }
}

BOOST_AUTO_TEST_CASE(threads_that_share_the_parts_give_the_same_bits) {
  constexpr std::int64_t size = 300;
  std::mt19937 random(1);
  Operand<float> a(size, size, true, 5, random), b(size, size, true, 1, random);
  for (const Isa isa : supported_isas()) {
    const Gemm gemm = Gemm::make({size, size, size, GemmType::f32, a.row_stride, a.column_stride,
                                  b.row_stride, b.column_stride},
                                 isa);
    BOOST_TEST(gemm.parts() > 3, isa_name(isa) << " cuts it into " << gemm.parts());
    std::vector<float> expected(size * size);
    Scratch scratch(gemm.scratch());
    gemm.run(a.data(), b.data(), expected.data(), 0, gemm.parts(), scratch.begin);
    for (const std::int64_t count : {1, 2, 3, 7}) {
      std::vector<float> c(size * size);
      std::vector<std::thread> threads;
      for (std::int64_t t = 0; t < count; ++t) {
        threads.emplace_back([&, t] {
          Scratch own(gemm.scratch());
          gemm.run(a.data(), b.data(), c.data(), gemm.parts() * t / count,
                   gemm.parts() * (t + 1) / count, own.begin);
        });
      }
      for (std::thread& thread : threads) thread.join();
      BOOST_TEST((c == expected), isa_name(isa) << ", " << count << " threads");
    }
  }
}

// Each part that has rows of its own would copy all of B.
BOOST_AUTO_TEST_CASE(parts_of_few_rows_by_a_far_matrix_have_all_rows) {
  const std::int64_t m = 512, n = 4096, k = 144;
  for (const bool transpose_b : {false, true}) {
    const GemmShape shape{m, n, k, GemmType::f32, k, 1, transpose_b ? 1 : n, transpose_b ? k : 1};
    const Gemm gemm = Gemm::make(shape, best_isa());
    BOOST_TEST_REQUIRE(gemm.parts() > 16);
    const std::vector<float> a(m * k, 1), b(k * n, 1);
    std::vector<float> c(m * n, 0);
    Scratch scratch(gemm.scratch());
    gemm.run(a.data(), b.data(), c.data(), 0, scratch.begin);
    for (const std::int64_t row : {std::int64_t{0}, m - 1}) {
      BOOST_TEST(c[static_cast<std::size_t>(row * n)] == k);
      BOOST_TEST(c[static_cast<std::size_t>(row * n + n - 1)] == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(strides_without_a_one_are_refused) {
  BOOST_CHECK_THROW(Gemm::make({4, 4, 4, GemmType::f32, 8, 2, 4, 1}, best_isa()), InternalError);
  BOOST_CHECK_THROW(Gemm::make({4, 4, 4, GemmType::f32, 4, 1, 8, 2}, best_isa()), InternalError);
  BOOST_CHECK_THROW(Gemm::make({-1, 4, 4, GemmType::f32, 4, 1, 4, 1}, best_isa()), InternalError);
}

BOOST_AUTO_TEST_CASE(a_missing_instruction_set_is_refused) {
  const Isa missing = is_supported(Isa::neon) ? Isa::avx2 : Isa::neon;
  BOOST_CHECK_THROW(Gemm::make({4, 4, 4, GemmType::f32, 4, 1, 4, 1}, missing), InternalError);
}

BOOST_AUTO_TEST_CASE(the_plan_is_that_of_the_product_and_the_same_every_time) {
  const GemmShape shape{256, 128, 784, GemmType::f32, 784, 1, 128, 1};
  const Gemm gemm = Gemm::make(shape, Isa::portable);
  BOOST_TEST((gemm.plan() == Gemm::make(shape, Isa::portable).plan()));
  BOOST_TEST(gemm.plan().m == 256);
  BOOST_TEST(gemm.plan().n == 128);
  BOOST_TEST(gemm.plan().k == 784);
  BOOST_TEST(to_string(gemm.plan()).starts_with("m,n,k 256x128x784 | cache "));
}

BOOST_AUTO_TEST_CASE(instruction_sets_are_parsed_by_name) {
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    BOOST_TEST((parse_isa(isa_name(isa)) == isa));
  }
  BOOST_CHECK_EXCEPTION(parse_isa("sse"), Error, [](const Error& e) {
    return std::string(e.what()) ==
           "unknown instruction set 'sse', expected portable, avx2, avx512 or neon";
  });
  BOOST_TEST(is_supported(best_isa()));
}

BOOST_AUTO_TEST_SUITE_END()
