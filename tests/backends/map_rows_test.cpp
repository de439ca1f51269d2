// Maps whose operands and results are rows that lie apart, used where they lie: the bits of the
// same formula on dense copies.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <vector>

#include "backends/cpu/isa.h"
#include "backends/cpu/tape_cut.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;

namespace {

double wave(std::int64_t i, int seed) { return std::sin(1.7 * static_cast<double>(i) + seed); }

// The values of `wave` that a layout shows of a value with this seed.
Tensor shown(const Layout& layout, DType dtype, int seed) {
  std::vector<double> values;
  const Walk walk(layout);
  walk.runs(0, layout.shape.size(), [&](std::int64_t at, std::int64_t run) {
    for (std::int64_t i = 0; i < run; ++i) values.push_back(wave(at + i * walk.step(), seed));
  });
  return tensor(std::span<const double>(values), layout.shape).astype(dtype);
}

Tensor waves(const Shape& shape, DType dtype, int seed) {
  return shown(Layout::dense(shape), dtype, seed);
}

std::vector<Tensor> values(const std::vector<Expr>& outputs, const CompileOptions& options) {
  const std::vector<Output> wanted(outputs.begin(), outputs.end());
  Program program = compile(wanted, {}, cpu(), options);
  const Results made = program.run();
  std::vector<Tensor> all;
  for (std::size_t i = 0; i < outputs.size(); ++i) all.push_back(made.tensor(static_cast<int>(i)));
  return all;
}

void check(const std::vector<Expr>& apart, const std::vector<Expr>& dense) {
  const std::vector<Tensor> expected = values(dense, {.threads = 1});
  for (const int threads : {1, 2, 3}) {
    BOOST_TEST(same_bits(values(apart, {.threads = threads}), expected), threads << " threads");
  }
  BOOST_TEST(same_bits(values(apart, {.check_numerics = true}), expected));
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::neon}) {
    if (is_supported(isa))
      BOOST_TEST(same_bits(values(apart, {.isa = std::string(isa_name(isa))}), expected));
  }
}

// Columns of four gates, a bias for each row and one number: what a cell computes.
std::vector<Expr> cell(const std::vector<Expr>& gates, const Expr& bias, const Expr& s) {
  const Shape& shape = gates[0].shape();
  const Expr c = gates[0] * gates[1] + tanh(gates[2] + broadcast_to(bias, shape));
  return {c * s, c + gates[3], concat({sigmoid(gates[3]), c - gates[1]}, 1)};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(map_rows)

BOOST_AUTO_TEST_CASE(columns_of_a_wide_value_give_the_bits_of_dense_ones) {
  for (const std::int64_t rows : {0, 1, 7, 40}) {
    for (const std::int64_t columns : {1, 256, 300, 768, 2048}) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Expr all = parameter(waves({rows, 4 * columns}, dtype, 1), "all");
        const Expr bias = parameter(waves({columns}, dtype, 2), "bias");
        const Expr s = parameter(waves({}, dtype, 3), "s");
        std::vector<Expr> dense;
        for (std::int64_t g = 0; g < 4; ++g) {
          const Layout part{{rows, columns}, {4 * columns, 1}, rows == 0 ? 0 : g * columns};
          dense.push_back(constant(shown(part, dtype, 1)));
        }
        check(cell(split(all, 4, 1), bias, s), cell(dense, bias, s));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(rows_of_two_lengths_and_in_another_order) {
  const Layout narrow{{6, 2, 256}, {2 * 400, 400, 1}, 100}, wide{{6, 2, 256}, {700, 256, 1}, 30};
  const Layout turned{{6, 2, 256}, {256, 6 * 256, 1}, 0};
  const Expr p = slice(parameter(waves({6, 2, 400}, DType::f32, 1), "p"), 2, 100, 356);
  const Expr q =
      reshape(slice(parameter(waves({6, 700}, DType::f32, 2), "q"), 1, 30, 542), {6, 2, 256});
  const int order[] = {1, 0, 2};
  const Expr r = permute_dims(parameter(waves({2, 6, 256}, DType::f32, 3), "r"), order);
  const auto formula = [](const Expr& a, const Expr& b, const Expr& c) {
    return std::vector<Expr>{a * b + c, relu(c), 1.0 * c, exp(b)};
  };
  check(formula(p, q, r), formula(parameter(shown(narrow, DType::f32, 1), "p"),
                                  parameter(shown(wide, DType::f32, 2), "q"),
                                  parameter(shown(turned, DType::f32, 3), "r")));
}

BOOST_AUTO_TEST_CASE(storage_is_updated_in_place_from_rows) {
  const auto trained = [](const Expr& gradient, const Expr& w) {
    Updates updates;
    updates.set(w, w - 0.1 * gradient);
    Program program = compile({}, updates, cpu(), {.threads = 2});
    program.run_many(3);
    return w.value();
  };
  const Tensor start = waves({40, 512}, DType::f32, 1);
  const Expr wide = constant(waves({40, 1024}, DType::f32, 2));
  const Expr dense = constant(shown({{40, 512}, {1024, 1}, 512}, DType::f32, 2));
  BOOST_TEST(same_bits(trained(slice(wide, 1, 512, 1024), parameter(start, "w")),
                       trained(dense, parameter(start, "w"))));
}

BOOST_AUTO_TEST_CASE(chunks_divide_rows_and_parts_are_whole_chunks) {
  for (const std::int64_t row : {256, 768, 1024, 1280}) {
    for (const std::int64_t bytes : {8, 60, 200}) {
      const TapeCut cut = cut_tape({.elements = 37 * row, .bytes = bytes, .steps = 9, .row = row});
      BOOST_TEST(row % cut.chunk == 0);
      BOOST_TEST(cut.chunk >= 256);
      BOOST_TEST(cut.part % cut.chunk == 0);
    }
  }
  BOOST_TEST(row_of(Walk({{8, 256}, {1024, 1}, 0})) == 256);
  BOOST_TEST(row_of(Walk({{8, 256}, {1024, 2}, 0})) == 0);
  BOOST_TEST(row_of(Walk({{8, 100}, {1024, 1}, 0})) == 0);
  BOOST_TEST(row_of(Walk(Layout::dense({8, 256}))) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
