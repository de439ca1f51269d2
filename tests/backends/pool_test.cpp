// Max pooling and its gradient on every instruction set against loops over each window, bit for
// bit: ties, zeros of both signs, infinities and NaN among the elements.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/isa.h"
#include "blockgrad/backends/program.h"
#include "blockgrad/ops/pool.h"

using namespace blockgrad;

namespace {

struct Pool {
  Shape x;
  Pair size, stride, padding = 0;
};

const Pool pools[] = {
    {{2, 3, 14, 14}, 2, 2},
    {{3, 28, 28}, 2, 2},
    {{5, 7}, 2, 2},      // a row and a column that no window has
    {{3, 4, 70}, 2, 2},  // several vectors, the last one in part
    {{2, 5, 67}, 2, 2},
    {{2, 2, 64}, 2, 2},
    {{130, 2, 3}, 2, 2},
    {{2, 5, 6}, 2, std::int64_t{1} << 40},  // a single window
    {{4, 7, 70}, {1, 2}, {1, 2}},           // several vectors
    {{2, 9, 11}, {2, 3}, {3, 4}},           // gaps between windows
    {{2, 8, 9}, 3, 2, 1},                   // windows that overlap, padding
    {{70, 3, 3}, 2, 1},                     // several images a part
    {{1, 4, 33}, {2, 1}, {2, 1}},
    {{0, 4, 4}, 2, 2},
};

template <class T>
Tensor awkward(const Shape& shape, DType dtype, std::mt19937& random) {
  constexpr T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
  const T values[] = {0, T(-0.0), 1, 2, -1, -inf, inf, nan, T(0.5), T(0.5), -2, 3};
  std::vector<T> all(static_cast<std::size_t>(shape.size()));
  for (T& v : all) v = random() % 8 == 0 ? values[random() % 12] : values[random() % 5];
  for (std::size_t i = 0; i < all.size() / 3; ++i) all[i] = -inf;
  return tensor(std::span<const T>(all), shape).astype(dtype);
}

template <class T>
struct Expected {
  std::vector<T> y, dx;
};

template <class T>
Expected<T> looped(const Pool& p, const Shape& y, std::span<const T> x, std::span<const T> dy) {
  const int rank = p.x.rank();
  const std::int64_t rows = p.x[rank - 2], columns = p.x[rank - 1];
  const std::int64_t out_rows = y[rank - 2], out_columns = y[rank - 1];
  Expected<T> e{std::vector<T>(dy.size()), std::vector<T>(x.size())};
  for (std::int64_t n = 0; n < p.x.size() / (rows * columns); ++n)
    for (std::int64_t i = 0; i < out_rows; ++i)
      for (std::int64_t j = 0; j < out_columns; ++j) {
        std::int64_t best = -1;
        for (std::int64_t r = 0; r < p.size.rows; ++r)
          for (std::int64_t q = 0; q < p.size.columns; ++q) {
            const std::int64_t row = i * p.stride.rows + r - p.padding.rows;
            const std::int64_t column = j * p.stride.columns + q - p.padding.columns;
            if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
            const std::int64_t at = (n * rows + row) * columns + column;
            const auto value = [&](std::int64_t k) { return x[static_cast<std::size_t>(k)]; };
            if (best >= 0 && std::isnan(value(best))) continue;
            if (best < 0 || std::isnan(value(at)) || value(at) > value(best)) best = at;
          }
        const auto to = static_cast<std::size_t>((n * out_rows + i) * out_columns + j);
        e.y[to] = x[static_cast<std::size_t>(best)];
        e.dx[static_cast<std::size_t>(best)] += dy[to];
      }
  return e;
}

template <class T>
bool are_equal(std::span<const T> a, const std::vector<T>& b) {
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return a.size() == b.size();
}

template <class T>
void check(DType dtype) {
  std::mt19937 random(7);
  for (const Pool& p : pools) {
    const Expr x = input("x", p.x, dtype);
    const Expr y = max_pool2d(x, p.size, {p.stride, p.padding});
    const Expr dy = input("dy", y.shape(), dtype);
    const Expr dx = make(MaxPool2dInput{p.size, p.stride, p.padding}, {x, dy});
    const Tensor values = awkward<T>(p.x, dtype, random);
    std::vector<T> numbers(static_cast<std::size_t>(y.shape().size()));
    for (T& v : numbers) v = static_cast<T>(random() % 1000) / 7 + 1;
    const Tensor slopes = tensor(std::span<const T>(numbers), y.shape());
    const Expected<T> expected =
        looped<T>(p, y.shape(), values.span<T>(), std::span<const T>(numbers));
    for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
      if (!is_supported(isa)) continue;
      for (const int threads : {1, 3}) {
        Program program =
            compile({y, dx}, {}, cpu(), {.threads = threads, .isa = std::string(isa_name(isa))});
        const Results results = program.run({{x, values}, {dy, slopes}});
        const Tensor got_y = results.tensor(0), got_dx = results.tensor(1);
        const std::string name = join({" of ", p.x, " on ", isa_name(isa)});
        BOOST_TEST(are_equal<T>(got_y.span<T>(), expected.y), "values" << name);
        BOOST_TEST(are_equal<T>(got_dx.span<T>(), expected.dx), "gradient" << name);
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(pool)

BOOST_AUTO_TEST_CASE(the_first_largest_element_wins_and_receives_the_gradient_f32) {
  check<float>(DType::f32);
}

BOOST_AUTO_TEST_CASE(the_first_largest_element_wins_and_receives_the_gradient_f64) {
  check<double>(DType::f64);
}

BOOST_AUTO_TEST_SUITE_END()
