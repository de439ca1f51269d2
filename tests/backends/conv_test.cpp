// Convolutions of every instruction set against plain loops: bit for bit where the order of a sum
// is one chain, and where all sums are exact; equal bits for all instruction sets and thread
// counts.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/isa.h"
#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/conv.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"

using namespace blockgrad;

namespace {

struct Layer {
  Shape x, w;
  Conv2dOptions options = {};
};

// Every way in which planes are laid out and cut.
const Layer layers[] = {
    {{2, 3, 5, 7}, {5, 3, 3, 2}},
    {{3, 1, 14, 14}, {16, 1, 5, 5}, {.padding = 2}},
    {{1, 2, 9, 11}, {3, 2, 4, 3}, {.stride = {2, 3}, .padding = {3, 1}}},
    {{2, 2, 12, 10}, {9, 2, 3, 3}, {.stride = 2, .padding = 1}},
    {{1, 2, 13, 12}, {2, 2, 3, 3}, {.stride = 3, .padding = {2, 0}, .dilation = {2, 3}}},
    {{2, 6, 6, 5}, {9, 2, 3, 3}, {.padding = 1, .groups = 3}},
    {{2, 5, 7, 6}, {5, 1, 3, 3}, {.padding = 1, .groups = 5}},
    {{2, 7, 6, 9}, {10, 7, 1, 1}},                   // the image itself, one line
    {{2, 3, 6, 9}, {4, 3, 1, 1}, {.stride = 2}},     // taps that meet one residue only
    {{1, 3, 4, 70}, {4, 3, 2, 7}},                   // the image itself, a line per row
    {{1, 2, 3, 64}, {3, 2, 3, 3}, {.padding = 1}},   // rows that fill vectors
    {{2, 2, 5, 32}, {17, 2, 3, 3}, {.padding = 1}},  // rows of one tile
    {{1, 2, 9, 96}, {6, 2, 3, 3}, {.stride = 2, .padding = 1}},
    {{1, 2, 7, 18}, {13, 2, 3, 3}},  // in the image itself
    {{1, 2, 6, 8}, {24, 2, 3, 3}, {.padding = 1}},
    {{2, 1, 4, 53}, {3, 1, 3, 5}, {.padding = {1, 2}}},
    {{2, 2, 5, 37}, {3, 2, 3, 3}, {.stride = 2, .padding = 1}},   // every second element
    {{1, 1, 4, 140}, {2, 1, 3, 3}, {.stride = 2, .padding = 1}},  // of more than four vectors
    {{1, 1, 1, 100}, {2, 1, 1, 9}, {.padding = {0, 4}}},
    {{1, 250, 6, 7}, {2, 250, 3, 3}, {.padding = 1}},  // several blocks of channels
    {{1, 24, 40, 30}, {2, 24, 3, 3}, {.padding = 1}},  // several blocks of rows
    {{70, 2, 4, 3}, {2, 2, 2, 2}},                     // several blocks of images
    {{5, 2, 16, 16}, {9, 2, 3, 3}, {.padding = 1}},    // of images without a panel
    {{1, 2, 40, 32}, {9, 2, 3, 3}, {.padding = 1}},    // of rows without a panel
    {{1, 2, 3, 3}, {80, 2, 2, 2}},                     // several blocks of results
    {{1, 3, 8, 12}, {4, 3, 4, 5}, {.stride = {2, 3}, .padding = {2, 1}, .dilation = {1, 2}}},
    {{1, 2, 32, 32}, {100, 2, 3, 3}, {.stride = 2, .padding = 1}},  // residues, blocks of channels
    {{3, 2, 16, 16}, {9, 2, 3, 3}, {.stride = 2, .padding = 1}},    // of half a vector
    {{2, 24, 40, 32}, {2, 24, 3, 3}, {.padding = 1}},               // zeros between rows, in blocks
    {{2, 2, 4, 32}, {3, 2, 3, 5}, {.padding = {1, 2}}},             // of two neighbours each
    {{2, 2, 3, 32}, {3, 2, 3, 3}, {.padding = {1, 16}, .dilation = {1, 16}}},  // all of them
    {{3, 2, 9, 16}, {9, 2, 3, 3}, {.stride = {2, 1}, .padding = 1}},  // where every second row lies
    {{3, 2, 9, 8}, {9, 2, 3, 3}, {.stride = {2, 1}, .padding = 1}},   // as those with their zeros
    {{5, 2, 4, 16}, {9, 2, 3, 3}, {.padding = 1}},                    // lines of one vector, panels
    {{5, 2, 8, 8}, {9, 2, 3, 3}, {.padding = 1}},                 // several images of such lines
    {{1, 6, 32, 32}, {5, 6, 3, 3}, {.stride = 2, .padding = 1}},  // channels copied in groups
    {{2, 2, 6, 16}, {9, 2, 3, 3}, {.stride = 2, .padding = 1}},   // residues of three half vectors
    {{1, 2, 4, 48}, {3, 2, 3, 3}, {.stride = 2, .padding = 1}},   // whose lines end within one
    {{1, 2, 3, 3}, {3, 2, 2, 2}, {.stride = 2, .padding = 1}},    // of two elements and one
    {{1, 2, 5, 2}, {2, 2, 1, 1}, {.stride = 2}},
    {{2, 3, 9, 10}, {33, 3, 7, 7}, {.padding = 3}},  // channels that have no even halves
    {{1, 1, 2, 2}, {1, 1, 2, 2}},
    {{2, 2, 3, 3}, {2, 2, 1, 1}, {.stride = 4}},  // residues that no element has
    {{2, 300, 2, 3}, {900, 300, 1, 1}},           // rows of the kernel packed in several pieces
    {{2, 120, 4, 4}, {260, 120, 3, 3}, {.stride = 2, .padding = 1}},  // of several residues
    {{2, 16, 14, 14}, {9, 16, 5, 5}, {.padding = 2}},    // planes in the first cache level
    {{2, 1000, 2, 2}, {600, 500, 1, 1}, {.groups = 2}},  // of several groups
};

struct Data {
  DType dtype;
  Tensor x, w, dy;
};

Tensor numbers(const Shape& shape, DType dtype, std::mt19937& random, bool are_whole) {
  std::vector<double> values(static_cast<std::size_t>(shape.size()));
  for (double& v : values) {
    v = are_whole ? static_cast<double>(random() % 7) - 3
                  : std::ldexp(static_cast<double>(random()) / 2147483648.0 - 1,
                               static_cast<int>(random() % 6));
  }
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

Data data_of(const Layer& layer, DType dtype, bool are_whole) {
  std::mt19937 random(static_cast<unsigned>(layer.x.size() * 31 + layer.w.size()));
  const Shape y =
      conv2d(input("x", layer.x, dtype), input("w", layer.w, dtype), layer.options).shape();
  return {dtype, numbers(layer.x, dtype, random, are_whole),
          numbers(layer.w, dtype, random, are_whole), numbers(y, dtype, random, are_whole)};
}

// y, dx, dw.
std::vector<Tensor> computed(const Layer& layer, const Data& data, Isa isa, int threads) {
  const Expr x = input("x", layer.x, data.dtype), w = input("w", layer.w, data.dtype),
             dy = input("dy", data.dy.shape(), data.dtype);
  const Conv2dInput to_x{layer.options, {layer.x[2], layer.x[3]}};
  const Conv2dWeight to_w{layer.options, {layer.w[2], layer.w[3]}};
  Program program = compile({conv2d(x, w, layer.options), make(to_x, {dy, w}), make(to_w, {x, dy})},
                            {}, cpu(), {.threads = threads, .isa = std::string(isa_name(isa))});
  const Results results = program.run({{x, data.x}, {w, data.w}, {dy, data.dy}});
  return {results.tensor(0), results.tensor(1), results.tensor(2)};
}

// Chains of fused multiply-adds: for y over channel, kernel row and column; for dx over output
// channel, kernel row and column; for dw over image, row and column.
template <class T>
std::vector<std::vector<T>> chains(const Layer& layer, const Data& data) {
  const auto& [stride, padding, dilation, groups] = layer.options;
  const Shape &xs = layer.x, &ws = layer.w, &ys = data.dy.shape();
  const auto x = data.x.span<T>(), w = data.w.span<T>(), dy = data.dy.span<T>();
  std::vector<T> y(dy.size()), dx(x.size()), dw(w.size());
  const std::int64_t per_group = ws[0] / groups;
  const auto add = [](T& sum, T a, T b) { sum = std::fma(a, b, sum); };
  for (std::int64_t n = 0; n < xs[0]; ++n)
    for (std::int64_t o = 0; o < ws[0]; ++o)
      for (std::int64_t c = 0; c < ws[1]; ++c)
        for (std::int64_t p = 0; p < ws[2]; ++p)
          for (std::int64_t q = 0; q < ws[3]; ++q)
            for (std::int64_t i = 0; i < ys[2]; ++i)
              for (std::int64_t j = 0; j < ys[3]; ++j) {
                const std::int64_t row = i * stride.rows + p * dilation.rows - padding.rows;
                const std::int64_t column =
                    j * stride.columns + q * dilation.columns - padding.columns;
                if (row < 0 || row >= xs[2] || column < 0 || column >= xs[3]) continue;
                const std::int64_t channel = o / per_group * ws[1] + c;
                const auto at_x = static_cast<std::size_t>(
                    ((n * xs[1] + channel) * xs[2] + row) * xs[3] + column);
                const auto at_w =
                    static_cast<std::size_t>(((o * ws[1] + c) * ws[2] + p) * ws[3] + q);
                const auto at_y =
                    static_cast<std::size_t>(((n * ys[1] + o) * ys[2] + i) * ys[3] + j);
                add(y[at_y], w[at_w], x[at_x]);
                add(dx[at_x], w[at_w], dy[at_y]);
                add(dw[at_w], dy[at_y], x[at_x]);
              }
  return {y, dx, dw};
}

template <class T>
bool are_equal(const Tensor& a, std::span<const T> b) {
  return std::memcmp(a.span<T>().data(), b.data(), b.size_bytes()) == 0;
}

bool are_equal(const Tensor& a, const Tensor& b) {
  return std::memcmp(a.bytes(), b.bytes(), static_cast<std::size_t>(bytes_of(a.type()))) == 0;
}

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (is_supported(isa)) list.push_back(isa);
  }
  return list;
}

constexpr const char* names[] = {"y", "dx", "dw"};

// Equal numbers, infinities of one sign, or both NaN.
template <class T>
bool are_alike(std::span<const T> a, std::span<const T> b) {
  return std::ranges::equal(a, b,
                            [](T u, T v) { return u == v || (std::isnan(u) && std::isnan(v)); });
}

// The same numbers with `value` at one place.
Tensor with_value(const Tensor& t, std::int64_t place, double value) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < t.size(); ++i) values.push_back(i == place ? value : t.at(i));
  return tensor(std::span<const double>(values), t.shape()).astype(t.dtype());
}

// What one infinite or NaN element touches is what the terms of the sums say, whatever zeros lie
// around: compared in whole numbers, so that the rest is exact.
template <class T>
void check_one_bad_value(DType dtype, const Layer& layer, std::mt19937& random) {
  const Data whole = data_of(layer, dtype, true);
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {infinity, -infinity, std::nan("")}) {
    for (Tensor Data::* const operand : {&Data::x, &Data::w, &Data::dy}) {
      const std::int64_t size = (whole.*operand).size();
      for (const std::int64_t at : {std::int64_t{0}, size - 1, std::int64_t(random()) % size}) {
        Data data = whole;
        data.*operand = with_value(whole.*operand, at, value);
        const auto expected = chains<T>(layer, data);
        for (const Isa isa : isas()) {
          const std::vector<Tensor> got = computed(layer, data, isa, 1);
          for (std::size_t i = 0; i < 3; ++i) {
            BOOST_TEST(are_alike<T>(got[i].span<T>(), expected[i]),
                       join({names[i], " of ", layer.x, " and ", layer.w, " with ", value, " at ",
                             at, " on ", isa_name(isa)}));
          }
        }
      }
    }
  }
}

template <class T>
void check_against_chains(DType dtype) {
  for (const Layer& layer : layers) {
    const Data rough = data_of(layer, dtype, false), whole = data_of(layer, dtype, true);
    const auto expected = chains<T>(layer, rough), exact = chains<T>(layer, whole);
    for (const Isa isa : isas()) {
      const std::vector<Tensor> got = computed(layer, rough, isa, 1);
      const std::vector<Tensor> got_exact = computed(layer, whole, isa, 1);
      for (std::size_t i = 0; i < 3; ++i) {
        const std::string name =
            join({names[i], " of ", layer.x, " and ", layer.w, " on ", isa_name(isa)});
        if (i < 2) BOOST_TEST(are_equal<T>(got[i], expected[i]), name << " differs");
        BOOST_TEST(are_equal<T>(got_exact[i], exact[i]), name << " differs in whole numbers");
      }
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(conv)

BOOST_AUTO_TEST_CASE(values_and_gradients_are_chains_of_fused_multiply_adds_f32) {
  check_against_chains<float>(DType::f32);
}

BOOST_AUTO_TEST_CASE(values_and_gradients_are_chains_of_fused_multiply_adds_f64) {
  check_against_chains<double>(DType::f64);
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_threads_or_instruction_set) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Layer& layer : layers) {
      const Data data = data_of(layer, dtype, false);
      const std::vector<Tensor> expected = computed(layer, data, Isa::portable, 1);
      for (const Isa isa : isas()) {
        for (const int threads : {1, dtype == DType::f32 ? 2 : 3, 7}) {
          const std::vector<Tensor> got = computed(layer, data, isa, threads);
          for (std::size_t i = 0; i < 3; ++i) {
            BOOST_TEST(are_equal(got[i], expected[i]),
                       join({names[i], " of ", layer.x, " and ", layer.w, " differs on ",
                             isa_name(isa), " with ", threads, " threads"}));
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(an_infinite_value_touches_what_its_terms_reach) {
  std::mt19937 random(7);
  for (const Layer& layer : layers) {
    if (layer.x.size() * layer.w[0] > 6000) continue;
    check_one_bad_value<float>(DType::f32, layer, random);
    if (layer.x.size() < 150) check_one_bad_value<double>(DType::f64, layer, random);
  }
  check_one_bad_value<float>(DType::f32, {{1, 24, 40, 30}, {2, 24, 3, 3}, {.padding = 1}}, random);
}

BOOST_AUTO_TEST_CASE(where_everything_is_infinite_nothing_is_waited_for) {
  const Layer layer{{4, 16, 20, 20}, {16, 16, 3, 3}, {.padding = 1}};
  Data data = data_of(layer, DType::f32, true);
  for (Tensor Data::* const operand : {&Data::x, &Data::w, &Data::dy}) {
    data.*operand =
        full((data.*operand).shape(), std::numeric_limits<double>::infinity(), DType::f32);
  }
  for (const Tensor& made : computed(layer, data, isas().back(), 1)) {
    for (const float value : made.span<float>())
      BOOST_REQUIRE_EQUAL(value, std::numeric_limits<float>::infinity());
  }
}

BOOST_AUTO_TEST_CASE(an_image_without_columns_is_all_padding) {
  const Expr x = input("x", {1, 1, 3, 0}), w = input("w", {1, 1, 1, 1});
  const Expr y = conv2d(x, w, {.stride = {1, 2}, .padding = {0, 1}});
  const Expr slope = grad(sum(y), {w})[0];
  const Feeds feeds{{x, zeros({1, 1, 3, 0})}, {w, full({1, 1, 1, 1}, 2.0)}};
  BOOST_TEST(are_equal(evaluate(y, feeds), zeros({1, 1, 3, 1})));
  BOOST_TEST(are_equal(evaluate(slope, feeds), zeros({1, 1, 1, 1})));
}

BOOST_AUTO_TEST_SUITE_END()
