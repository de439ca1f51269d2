// Reductions of every instruction set against a plain model of the order of sums, bit for bit.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "backends/cpu/cache_size.h"
#include "backends/cpu/tape.h"
#include "blockgrad/backends/program.h"
#include "blockgrad/graph/reduce.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using test_support::same_bits;

namespace {

constexpr ReduceKind kinds[] = {ReduceKind::sum, ReduceKind::max, ReduceKind::min,
                                ReduceKind::argmax, ReduceKind::argmin};

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (is_supported(isa)) list.push_back(isa);
  }
  return list;
}

template <class T>
T joined(ReduceKind kind, T a, T b) {
  if (kind == ReduceKind::sum) return a + b;
  if (a != a) return a;
  if (b != b) return b;
  return (kind == ReduceKind::max ? a > b : a < b) ? a : b;
}

/// A block of at most 1024: what each of 16 lanes has seen, then halves onto halves.
template <class T>
T block_model(ReduceKind kind, const std::vector<T>& x, std::size_t first, std::size_t last) {
  std::vector<T> lanes;
  for (std::size_t k = first; k < last; ++k) {
    if (k - first < 16) lanes.push_back(x[k]);
    else lanes[(k - first) % 16] = joined(kind, lanes[(k - first) % 16], x[k]);
  }
  for (std::size_t half = 8; half > 0; half /= 2) {
    for (std::size_t l = half; l < std::min(2 * half, lanes.size()); ++l)
      lanes[l - half] = joined(kind, lanes[l - half], lanes[l]);
  }
  return lanes[0];
}

template <class T>
T pairs_model(ReduceKind kind, const std::vector<T>& blocks, std::size_t first, std::size_t count) {
  if (count == 1) return blocks[first];
  return joined(kind, pairs_model(kind, blocks, first, count / 2),
                pairs_model(kind, blocks, first + count / 2, count / 2));
}

/// Blocks as full trees of the powers of two in their number, greatest first, joined from the last
/// to the first.
template <class T>
T model(ReduceKind kind, DType dtype, const std::vector<T>& x) {
  if (x.empty()) {
    if (kind == ReduceKind::sum) return T(0);
    if constexpr (std::is_floating_point_v<T>) {
      const T inf = std::numeric_limits<T>::infinity();
      return kind == ReduceKind::max ? -inf : inf;
    }
    if (dtype == DType::boolean) return kind == ReduceKind::min;
    return kind == ReduceKind::max ? std::numeric_limits<T>::min() : std::numeric_limits<T>::max();
  }
  std::vector<T> blocks, trees;
  for (std::size_t first = 0; first < x.size(); first += 1024) {
    blocks.push_back(block_model(kind, x, first, std::min(first + 1024, x.size())));
  }
  std::size_t done = 0;
  for (std::size_t power = std::size_t{1} << 40; power > 0; power /= 2) {
    if ((blocks.size() & power) == 0) continue;
    trees.push_back(pairs_model(kind, blocks, done, power));
    done += power;
  }
  T result = trees.back();
  for (std::size_t i = trees.size() - 1; i-- > 0;) result = joined(kind, trees[i], result);
  return result;
}

template <class T>
std::int32_t position_model(ReduceKind kind, const std::vector<T>& x) {
  std::size_t best = 0;
  for (std::size_t k = 1; k < x.size(); ++k) {
    if (x[best] != x[best]) break;
    if (x[k] != x[k] || (kind == ReduceKind::argmax ? x[k] > x[best] : x[k] < x[best])) best = k;
  }
  return static_cast<std::int32_t>(best);
}

template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) && std::isnan(b)) return true;
  }
  return std::memcmp(&a, &b, sizeof a) == 0;
}

template <class T>
T random_number(std::mt19937& random, DType dtype, int style) {
  if (dtype == DType::boolean) return style == 0 ? random() % 2 == 0 : style == 1;
  if constexpr (std::is_floating_point_v<T>) {
    const T x = std::ldexp(std::uniform_real_distribution<T>(-1, 1)(random),
                           static_cast<int>(random() % 20));
    if (style == 1)
      return static_cast<T>(static_cast<int>(random() % 3) - 1) * T(0.0);  // zeros of both signs
    if (style == 2 && random() % 50 == 0) return std::numeric_limits<T>::quiet_NaN();
    return style == 2 && random() % 20 == 0 ? -std::numeric_limits<T>::infinity() : x;
  } else {
    return static_cast<T>(style == 0 ? random() : random() % 3);
  }
}

/// `count` lines of n, by rows and by columns, with gaps filled by numbers that would change any
/// result.
template <class T, class Sum>
void check(Isa isa, DType dtype, std::int64_t n, std::int64_t count, std::int64_t gap, int style) {
  std::mt19937 random(static_cast<unsigned>(n * 131 + count * 7 + gap + style));
  std::vector<std::vector<T>> lines(static_cast<std::size_t>(count));
  for (auto& line : lines) {
    for (std::int64_t k = 0; k < n; ++k) line.push_back(random_number<T>(random, dtype, style));
  }
  const T filler = std::is_floating_point_v<T> ? std::numeric_limits<T>::quiet_NaN()
                                               : std::numeric_limits<T>::max();
  const std::int64_t row = n + gap, column = count + gap;
  const auto by_rows = std::make_unique<T[]>(static_cast<std::size_t>(count * row + 1));
  const auto by_columns = std::make_unique<T[]>(static_cast<std::size_t>(n * column + 1));
  std::fill_n(by_rows.get(), count * row + 1, filler);
  std::fill_n(by_columns.get(), n * column + 1, filler);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t k = 0; k < n; ++k) {
      by_rows[static_cast<std::size_t>(i * row + k)] =
          lines[static_cast<std::size_t>(i)][static_cast<std::size_t>(k)];
      by_columns[static_cast<std::size_t>(k * column + i)] =
          lines[static_cast<std::size_t>(i)][static_cast<std::size_t>(k)];
    }
  }
  const TapeTable& table = tape_table(isa);
  for (const ReduceKind kind : kinds) {
    const bool position = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
    if (position && (n == 0 || dtype == DType::boolean)) continue;
    for (const bool rows : {true, false}) {
      const ReduceFn reduce = rows ? table.find_rows(kind, dtype) : table.find_columns(kind, dtype);
      const T* in = rows ? by_rows.get() : by_columns.get();
      const std::int64_t stride = rows ? row : column;
      const auto values = std::make_unique<T[]>(static_cast<std::size_t>(count));
      std::vector<Sum> sums(static_cast<std::size_t>(count));
      std::vector<std::int32_t> positions(static_cast<std::size_t>(count), -1);
      const bool sum = kind == ReduceKind::sum;
      reduce(sum ? static_cast<void*>(sums.data()) : values.get(), positions.data(), in, n, count,
             stride);
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::vector<T>& x = lines[i];
        if (position) {
          const std::int32_t p = position_model(kind, x);
          wrong += positions[i] != p || !same(values[i], x[static_cast<std::size_t>(p)]);
        } else if (sum) {
          wrong += !same(sums[i], model(kind, dtype, std::vector<Sum>(x.begin(), x.end())));
        } else {
          wrong += !same(values[i], model(kind, dtype, x));
        }
      }
      BOOST_TEST(wrong == 0, isa_name(isa) << ' ' << name(kind) << ' ' << name(dtype)
                                           << (rows ? " rows" : " columns") << ", n = " << n
                                           << ", count = " << count << ", gap = " << gap);
      if (position) {
        std::vector<std::int32_t> alone(static_cast<std::size_t>(count), -1);
        reduce(nullptr, alone.data(), in, n, count, stride);
        BOOST_TEST((alone == positions));
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(reduce_kernels)

/// An element type and what holds it in the model; bool is a byte, since vector<bool> holds none.
template <class T, DType type>
struct Element {
  using Value = T;
  static constexpr DType dtype = type;
};
using Elements =
    std::tuple<Element<float, DType::f32>, Element<double, DType::f64>,
               Element<std::int32_t, DType::i32>, Element<std::int64_t, DType::i64>,
               Element<std::uint8_t, DType::u8>, Element<std::uint8_t, DType::boolean>>;

using Pieces = std::tuple<Element<float, DType::f32>, Element<double, DType::f64>>;

BOOST_AUTO_TEST_CASE_TEMPLATE(rows_and_columns_follow_one_order_of_sums, E, Elements) {
  using T = typename E::Value;
  using Sum = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;
  for (const Isa isa : isas()) {
    for (std::int64_t n = 0; n <= 40; ++n) {
      for (const std::int64_t count : {1, 2, 5, 33})
        check<T, Sum>(isa, E::dtype, n, count, n % 3, static_cast<int>(n % 3));
    }
    for (const std::int64_t n :
         {100, 1023, 1024, 1025, 2048, 2049, 3000, 5000, 7169, 15 * 1024 + 3}) {
      for (const std::int64_t count :
           {std::int64_t{1}, std::int64_t{10}, std::int64_t{n < 2100 ? 70 : 3}}) {
        for (const std::int64_t gap : {0, 3})
          check<T, Sum>(isa, E::dtype, n, count, gap, static_cast<int>(n + gap) % 3);
      }
    }
    check<T, Sum>(isa, E::dtype, 3, 300, 0, 0);
    check<T, Sum>(isa, E::dtype, 20, 300, 1, 0);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(lines_in_pieces_of_memory_add_in_the_same_order, E, Pieces) {
  using T = typename E::Value;
  struct Sizes {
    std::int64_t pieces, lines, run;
  };
  for (const auto& [pieces, lines, run] :
       {Sizes{3, 2, 1024}, Sizes{7, 2, 3 * 1024}, Sizes{3, 3, 16 * 1024}, Sizes{23, 3, 784},
        Sizes{40, 3, 1000}, Sizes{2, 5, 3}, Sizes{2, 2, 4100}}) {
    const Shape shape{pieces, lines, run};
    const Expr x = input("x", shape, E::dtype);
    for (const int style : {0, 1, 2}) {
      std::mt19937 random(static_cast<unsigned>(run + style));
      std::vector<T> all(static_cast<std::size_t>(shape.size()));
      for (T& v : all) v = random_number<T>(random, E::dtype, style);
      const Tensor values = tensor(std::span<const T>(all), shape);
      for (const Isa isa : isas()) {
        Program program = compile({sum(x, {0, 2}), max(x, {0, 2}), min(x, {0, 2})}, {}, cpu(),
                                  {.threads = 1, .isa = std::string(isa_name(isa))});
        const Results results = program.run({{x, values}});
        for (std::int64_t i = 0; i < lines; ++i) {
          std::vector<T> line;
          for (std::int64_t p = 0; p < pieces; ++p) {
            const auto from = all.begin() + (p * lines + i) * run;
            line.insert(line.end(), from, from + run);
          }
          for (int k = 0; k < 3; ++k) {
            const T got = results.tensor(k).template span<T>()[static_cast<std::size_t>(i)];
            BOOST_TEST(same(got, model(kinds[k], E::dtype, line)),
                       join({name(kinds[k]), " of ", shape, " on ", isa_name(isa)}));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(columns_in_two_steps_add_in_the_same_order, E, Pieces) {
  using T = typename E::Value;
  std::mt19937 random(11);
  for (const std::int64_t n : {16, 17, 95, 300, 1024}) {
    for (const std::int64_t count : {1, 10, 32, 65}) {
      for (const std::int64_t gap : {0, 3}) {
        const std::int64_t stride = count + gap;
        std::vector<T> x(static_cast<std::size_t>(n * stride - gap));
        for (T& v : x) v = random_number<T>(random, E::dtype, 0);
        for (const Isa isa : isas()) {
          const TapeTable& table = tape_table(isa);
          std::vector<T> expected(static_cast<std::size_t>(count));
          table.find_columns(ReduceKind::sum, E::dtype)(expected.data(), nullptr, x.data(), n,
                                                        count, stride);
          for (std::int64_t split = 16; split <= n; split += split < 64 ? 16 : 160) {
            const T nan = std::numeric_limits<T>::quiet_NaN();
            std::vector<T> lanes(static_cast<std::size_t>(16 * count), nan);
            std::vector<T> sums(static_cast<std::size_t>(count), nan);
            table.find_begin_sums(E::dtype)(lanes.data(), nullptr, x.data(), split, count, stride);
            table.find_end_sums(E::dtype)(lanes.data(), sums.data(), x.data() + split * stride,
                                          n - split, count, stride);
            BOOST_TEST(std::memcmp(sums.data(), expected.data(), sums.size() * sizeof(T)) == 0,
                       isa_name(isa) << " n = " << n << ", count = " << count << ", gap = " << gap
                                     << ", split = " << split);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(columns_of_two_threads_have_the_bits_of_one, E, Pieces) {
  struct Sizes {
    std::int64_t n, count, gap;
  };
  for (const auto& [n, count, gap] : {Sizes{768, 128, 0}, Sizes{257, 200, 5}, Sizes{1024, 130, 0},
                                      Sizes{1025, 130, 0}, Sizes{500, 1030, 1}}) {
    std::mt19937 random(static_cast<unsigned>(n));
    const Shape shape{n, count + gap};
    std::vector<typename E::Value> all(static_cast<std::size_t>(shape.size()));
    for (auto& v : all) v = random_number<typename E::Value>(random, E::dtype, 0);
    const Expr x = input("x", shape, E::dtype);
    const Expr y = x * 0.5;  // made by the step itself
    const Expr sums = sum(slice(y, 1, 0, count), 0);
    const Tensor values = tensor(std::span<const typename E::Value>(all), shape);
    const auto bytes = n * count * static_cast<std::int64_t>(sizeof(typename E::Value));
    const bool has_halves = n <= 1024 && bytes <= 2 * detail::second_cache_bytes();
    for (const Isa isa : isas()) {
      const auto summed = [&](int threads) {
        Program program =
            compile({sums, y}, {}, cpu(), {.threads = threads, .isa = std::string(isa_name(isa))});
        program.run({{x, values}});
        return program.run({{x, values}})
            .tensor(0);  // again: what the first run left is in the way
      };
      const std::string plan = compile({sums, y}, {}, cpu(), {.threads = 2}).explain();
      BOOST_TEST((plan.find("halves of rows") != std::string::npos) == has_halves,
                 n << "x" << count);
      const Tensor expected = summed(1);
      for (const int threads : {2, 3, 7})
        BOOST_TEST(same_bits(summed(threads), expected),
                   isa_name(isa) << ' ' << n << "x" << count << ", " << threads << " threads");
    }
  }
}

BOOST_AUTO_TEST_CASE(the_sum_of_one_element_is_that_element) {
  for (const Isa isa : isas()) {
    const float zero = -0.0f;
    float sum = 1;
    tape_table(isa).find_rows(ReduceKind::sum, DType::f32)(&sum, nullptr, &zero, 1, 1, 1);
    BOOST_TEST(std::signbit(sum));
    tape_table(isa).find_rows(ReduceKind::sum, DType::f32)(&sum, nullptr, &zero, 0, 1, 1);
    BOOST_TEST(!std::signbit(sum));
  }
}

BOOST_AUTO_TEST_CASE(positions_of_bool_have_no_kernel) {
  BOOST_TEST(tape_table(Isa::portable).find_rows(ReduceKind::argmax, DType::boolean) == nullptr);
  BOOST_TEST(tape_table(Isa::portable).find_columns(ReduceKind::argmin, DType::boolean) == nullptr);
}

BOOST_AUTO_TEST_SUITE_END()
