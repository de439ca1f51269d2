// Recurrent cells against their formulas, sequences against cells.
#include "blockgrad/ops/cells.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>

#include "blockgrad/backends/program.h"
#include "blockgrad/graph/grad.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/movement.h"
#include "blockgrad/ops/reductions.h"
#include "tests/ops/refusal.h"
#include "tests/support/op_check.h"

using namespace blockgrad;
using namespace op_check;

namespace {

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

// Inputs of a row: x, h, (c,) input matrix, hidden matrix, bias, hidden bias.
struct Reference {
  int gates;
  bool has_cell;
  std::span<const Array> in;

  std::int64_t hidden() const { return in[1].shape[in[1].shape.rank() - 1]; }
  const Array& weight(int i) const { return in[static_cast<std::size_t>(i + (has_cell ? 3 : 2))]; }
  double from_x(std::span<const double> x, std::int64_t gate, std::int64_t unit) const {
    const std::int64_t column = gate * hidden() + unit;
    double s = weight(2).at({column});
    for (std::size_t i = 0; i < x.size(); ++i)
      s += x[i] * weight(0).at({static_cast<std::int64_t>(i), column});
    return s;
  }
  double from_h(std::span<const double> h, std::int64_t gate, std::int64_t unit) const {
    const std::int64_t column = gate * hidden() + unit;
    double s = weight(3).at({column});
    for (std::size_t i = 0; i < h.size(); ++i)
      s += h[i] * weight(1).at({static_cast<std::int64_t>(i), column});
    return s;
  }
  // One step of one row: h and c are replaced.
  void step(std::span<const double> x, std::vector<double>& h, std::vector<double>& c) const {
    std::vector<double> next_h = h, next_c = c;
    for (std::int64_t u = 0; u < hidden(); ++u) {
      const auto at = static_cast<std::size_t>(u);
      const auto pre = [&](std::int64_t gate) { return from_x(x, gate, u) + from_h(h, gate, u); };
      if (gates == 1) {
        next_h[at] = std::tanh(pre(0));
      } else if (gates == 3) {
        const double reset = sigma(pre(0)), update = sigma(pre(1));
        const double fresh = std::tanh(from_x(x, 2, u) + reset * from_h(h, 2, u));
        next_h[at] = (1 - update) * fresh + update * h[at];
      } else {
        next_c[at] = sigma(pre(1)) * c[at] + sigma(pre(0)) * std::tanh(pre(2));
        next_h[at] = sigma(pre(3)) * std::tanh(next_c[at]);
      }
    }
    h = next_h;
    c = next_c;
  }
  // [rows, T * H + H (+ H)]: all states, the last state, the last cell.
  Array run(bool is_sequence) const {
    const Shape& shape = in[0].shape;
    const std::int64_t width = shape[shape.rank() - 1];
    const std::int64_t times = is_sequence ? shape[shape.rank() - 2] : 1;
    const std::int64_t rows = in[1].shape.size() / hidden();
    const auto part = [](const Array& a, std::int64_t first, std::int64_t n) {
      return std::vector<double>(a.values.begin() + first, a.values.begin() + first + n);
    };
    Array y{Shape{rows, (is_sequence ? times + 1 : 1) * hidden() + (has_cell ? hidden() : 0)}, {}};
    for (std::int64_t r = 0; r < rows; ++r) {
      std::vector<double> h = part(in[1], r * hidden(), hidden());
      std::vector<double> c = has_cell ? part(in[2], r * hidden(), hidden()) : h;
      for (std::int64_t t = 0; t < times; ++t) {
        step(part(in[0], (r * times + t) * width, width), h, c);
        if (is_sequence) y.values.insert(y.values.end(), h.begin(), h.end());
      }
      y.values.insert(y.values.end(), h.begin(), h.end());
      if (has_cell) y.values.insert(y.values.end(), c.begin(), c.end());
    }
    return y;
  }
};

CellWeights weights_of(std::span<const Expr> x, std::size_t first) {
  return {x[first], x[first + 1], x[first + 2], x[first + 3]};
}

// [rows, ..] side by side.
Expr joined(const std::vector<Expr>& parts, const Expr& state) {
  const std::int64_t width = state.shape()[state.rank() - 1];
  const std::int64_t rows = state.shape().size() / width;
  std::vector<Expr> flat;
  for (const Expr& e : parts) flat.push_back(reshape(e, Shape{rows, e.shape().size() / rows}));
  return concat(std::span<const Expr>(flat), 1);
}

std::vector<std::vector<Shape>> shapes_of(int gates, bool has_cell, bool is_sequence) {
  struct Sizes {
    std::vector<std::int64_t> batch;
    std::int64_t times, inputs, hidden;
  };
  std::vector<std::vector<Shape>> all;
  for (const Sizes& s : {Sizes{{2}, 3, 3, 2}, Sizes{{}, 2, 2, 2}, Sizes{{1}, 1, 1, 1},
                         Sizes{{2, 2}, 2, 1, 3}, Sizes{{3}, 1, 2, 1}}) {
    std::vector<std::int64_t> x = s.batch, h = s.batch;
    if (is_sequence) x.push_back(s.times);
    x.push_back(s.inputs);
    h.push_back(s.hidden);
    std::vector<Shape> shapes{Shape(x), Shape(h)};
    if (has_cell) shapes.push_back(Shape(h));
    const std::int64_t columns = gates * s.hidden;
    shapes.insert(shapes.end(), {Shape{s.inputs, columns}, Shape{s.hidden, columns}, Shape{columns},
                                 Shape{columns}});
    all.push_back(shapes);
  }
  return all;
}

OpCase cell_row(std::string name, int gates, bool is_sequence,
                std::function<Expr(std::span<const Expr>)> op) {
  const bool has_cell = gates == 4;
  OpCase row{
      std::move(name), shapes_of(gates, has_cell, is_sequence), std::move(op),
      [=](std::span<const Array> x) { return Reference{gates, has_cell, x}.run(is_sequence); }};
  row.low = -1;
  row.high = 1;
  row.tolerance32 = 1e-5;
  return row;
}

std::vector<OpCase> rows() {
  std::vector<OpCase> all;
  all.push_back(cell_row("rnn_cell", 1, false, [](auto x) {
    return joined({rnn_cell(x[0], x[1], weights_of(x, 2))}, x[1]);
  }));
  all.push_back(cell_row("gru_cell", 3, false, [](auto x) {
    return joined({gru_cell(x[0], x[1], weights_of(x, 2))}, x[1]);
  }));
  all.push_back(cell_row("lstm_cell", 4, false, [](auto x) {
    const LstmState next = lstm_cell(x[0], x[1], x[2], weights_of(x, 3));
    return joined({next.h, next.c}, x[1]);
  }));
  all.push_back(cell_row("rnn_over_time", 1, true, [](auto x) {
    const RnnResult r = rnn(x[0], x[1], weights_of(x, 2));
    return joined({r.y, r.h}, x[1]);
  }));
  all.push_back(cell_row("gru_over_time", 3, true, [](auto x) {
    const RnnResult r = gru(x[0], x[1], weights_of(x, 2));
    return joined({r.y, r.h}, x[1]);
  }));
  all.push_back(cell_row("lstm_over_time", 4, true, [](auto x) {
    const LstmResult r = lstm(x[0], x[1], x[2], weights_of(x, 3));
    return joined({r.y, r.h, r.c}, x[1]);
  }));
  return all;
}

Tensor numbers(const Shape& shape, int seed) {
  std::vector<double> all;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    all.push_back(std::sin(static_cast<double>(i * 3 + seed)));
  return tensor(std::span<const double>(all), shape);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cells)

BG_CASES(rows())

BOOST_AUTO_TEST_CASE(biases_may_be_absent) {
  const Expr x = constant(numbers({2, 3}, 1)), h = constant(numbers({2, 2}, 2));
  const Expr c = constant(numbers({2, 2}, 3));
  const auto none = [](int columns) { return constant(zeros({columns}, DType::f64)); };
  const auto weights = [&](int gates, bool has_bias) {
    CellWeights w{constant(numbers({3, 2 * gates}, 4)), constant(numbers({2, 2 * gates}, 5))};
    if (has_bias) w.bias = w.hidden_bias = none(2 * gates);
    return w;
  };
  const auto same = [](const Expr& a, const Expr& b) {
    BOOST_TEST(same_bits(evaluate(a), evaluate(b)));
  };
  same(rnn_cell(x, h, weights(1, false)), rnn_cell(x, h, weights(1, true)));
  same(gru_cell(x, h, weights(3, false)), gru_cell(x, h, weights(3, true)));
  same(lstm_cell(x, h, c, weights(4, false)).c, lstm_cell(x, h, c, weights(4, true)).c);
}

BOOST_AUTO_TEST_CASE(a_sequence_is_its_cell_step_by_step) {
  const Expr x = constant(numbers({2, 5, 3}, 1));
  const CellWeights w{constant(numbers({3, 8}, 4)), constant(numbers({2, 8}, 5)),
                      constant(numbers({8}, 6))};
  LstmState state{constant(numbers({2, 2}, 2)), constant(numbers({2, 2}, 3))};
  const LstmResult all = lstm(x, state.h, state.c, w);
  const Tensor y = evaluate(all.y);
  for (std::int64_t t = 0; t < 5; ++t) {
    state = lstm_cell(squeeze(slice(x, 1, t, t + 1), 1), state.h, state.c, w);
    const Tensor h = evaluate(state.h);
    for (std::int64_t r = 0; r < 2; ++r) {
      for (std::int64_t u = 0; u < 2; ++u)
        BOOST_TEST(y.at(r * 10 + t * 2 + u) == h.at(r * 2 + u),
                   boost::test_tools::tolerance(1e-14));
    }
  }
  BOOST_TEST(evaluate(all.c).at(3) == evaluate(state.c).at(3), boost::test_tools::tolerance(1e-14));
}

BOOST_AUTO_TEST_CASE(nodes_of_a_gradient_grow_linearly_in_time) {
  const auto nodes = [](std::int64_t times) {
    const Expr x = input("x", {4, times, 3}), h = constant(zeros({4, 2}));
    const CellWeights w{input("w", {3, 8}), input("u", {2, 8}), input("b", {8})};
    const Expr loss = sum(square(lstm(x, h, h, w).y));
    const Program program = compile({grad(loss, {w.input})[0], grad(loss, {w.hidden})[0]});
    return static_cast<double>(program.report().nodes.size());
  };
  const double few = nodes(8), many = nodes(32);
  BOOST_TEST(many < 4.5 * few);
}

BOOST_AUTO_TEST_CASE(two_byte_numbers_are_computed_in_f32) {
  const Expr x = input("x", {2, 3}, DType::bf16), h = input("h", {2, 2}, DType::bf16);
  const CellWeights w{input("w", {3, 6}, DType::bf16), input("u", {2, 6}, DType::bf16)};
  BOOST_TEST((gru_cell(x, h, w).dtype() == DType::bf16));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_named) {
  const Expr x = input("x", {2, 3}), h = input("h", {2, 4}), c = input("c", {2, 4});
  const CellWeights w{input("w", {3, 16}), input("u", {4, 16})};
  check_refusal([&] { gru_cell(x, h, w); }, "gru_cell",
                "wants an input matrix of shape [3, 12], got [3, 16]");
  check_refusal([&] { lstm_cell(x, h, input("d", {3, 4}), w); }, "lstm_cell",
                "x [2, 3] wants states of shape [2, 4], got [3, 4]");
  check_refusal([&] { lstm_cell(x, h, c, {w.input, input("u", {5, 16})}); }, "lstm_cell",
                "wants a hidden matrix of shape [4, 16], got [5, 16]");
  check_refusal([&] { lstm_cell(x, h, c, {w.input, w.hidden, input("b", {4})}); }, "lstm_cell",
                "wants a bias of shape [16], got [4]");
  check_refusal([&] { lstm_cell(x, h, c, {}); }, "lstm_cell",
                "weights need an input and a hidden matrix");
  check_refusal([&] { lstm(input("z", {2, 0, 3}), h, c, w); }, "lstm",
                "wants at least one step, got x [2, 0, 3]");
  check_refusal([&] { lstm(input("v", {3}), h, c, w); }, "lstm", "wants x [.., T, I], got [3]");
  check_refusal([&] { rnn(input("i", {2, 1, 3}, DType::i32), h, w); }, "rnn",
                "wants a floating dtype, got i32");
  check_refusal([&] { lstm_cell(x, h, input("f", {2, 4}, DType::f64), w); }, "lstm_cell",
                "dtypes differ: f32 and f64; convert one with astype");
}

BOOST_AUTO_TEST_SUITE_END()
