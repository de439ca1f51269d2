#include "blockgrad/ops/cells.h"

#include "blockgrad/graph/map.h"
#include "blockgrad/graph/view.h"
#include "blockgrad/ops/elementwise.h"
#include "blockgrad/ops/linalg.h"
#include "blockgrad/ops/movement.h"
#include "ops/rules.h"

namespace blockgrad {

namespace {

enum class Kind { rnn, gru, lstm };

std::int64_t gates_of(Kind kind) { return kind == Kind::rnn ? 1 : kind == Kind::gru ? 3 : 4; }

Shape leading(const Shape& shape, int dropped) {
  return Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - dropped)));
}

Shape with(const Shape& shape, std::initializer_list<std::int64_t> more) {
  std::vector<std::int64_t> sizes = detail::sizes_of(shape);
  sizes.insert(sizes.end(), more.begin(), more.end());
  return Shape(sizes);
}

// One Map with all these results.
std::vector<Expr> map_all(std::string_view name, const std::vector<Expr>& inputs,
                          const std::function<std::vector<Scalar>(std::span<const Scalar>)>& f) {
  std::vector<DType> dtypes;
  for (const Expr& e : inputs) dtypes.push_back(e.dtype());
  ScalarRecorder recorder(dtypes);
  std::vector<Scalar> args;
  for (std::size_t i = 0; i < inputs.size(); ++i)
    args.push_back(recorder.input(static_cast<int>(i)));
  return make_all(Map{recorder.finish(f(args)), name}, inputs);
}

// A cell at all its times, on matrices: rows are the leading axes of x together.
class Cell {
 public:
  Cell(Kind kind, std::string_view name, const Expr& x, const std::vector<Expr>& states,
       const CellWeights& given, bool is_sequence)
      : kind_(kind), name_(name), weights_(given) {
    require(given.input && given.hidden, "weights need an input and a hidden matrix");
    const int own = is_sequence ? 2 : 1;
    require(x.rank() >= own, "wants x [.., ", is_sequence ? "T, " : "", "I], got ", x.shape());
    require(is_floating(x.dtype()), "wants a floating dtype, got ", x.dtype());
    batch_ = leading(x.shape(), own);
    times_ = is_sequence ? x.shape()[x.rank() - 2] : 1;
    require(times_ > 0, "wants at least one step, got x ", x.shape());
    const Expr& h = states[0];
    require(h.rank() >= 1, "wants a state [.., H], got a scalar");
    inputs_ = x.shape()[x.rank() - 1];
    hidden_ = h.shape()[h.rank() - 1];
    for (const Expr& state : states) {
      require(state.shape() == with(batch_, {hidden_}), "x ", x.shape(), " wants states of shape ",
              with(batch_, {hidden_}), ", got ", state.shape());
    }
    check_weights();
    const DType dtype = x.dtype();
    for (const Expr& e : states) check_dtype(e, dtype);
    for (Expr* e : {&weights_.input, &weights_.hidden, &weights_.bias, &weights_.hidden_bias}) {
      if (!*e) continue;
      check_dtype(*e, dtype);
      *e = wide(*e);
    }
    rows_ = batch_.size();
    for (const Expr& state : states) states_.push_back(reshape(wide(state), Shape{rows_, hidden_}));
    project(reshape(wide(x), Shape{rows_, times_, inputs_}));
  }

  void step(std::int64_t time) {
    const Expr from_x = at(time), from_h = matmul(states_[0], weights_.hidden);
    switch (kind_) {
      case Kind::rnn: states_ = {tanh(from_x + from_h)}; return;
      case Kind::gru: return step_gru(from_x, from_h);
      case Kind::lstm: return step_lstm(from_x + from_h);
    }
  }

  std::int64_t times() const { return times_; }
  const Expr& state(std::size_t i) const { return states_[i]; }
  // With the leading axes of x, and in its dtype.
  Expr outside(const Expr& state, DType dtype) const {
    return cast(reshape(state, with(batch_, {hidden_})), dtype);
  }
  Expr outside(std::span<const Expr> states, DType dtype) const {
    return cast(reshape(stack(states, 1), with(batch_, {times_, hidden_})), dtype);
  }

 private:
  static Expr wide(const Expr& e) { return cast(e, working_dtype(e.dtype())); }

  void check_dtype(const Expr& e, DType dtype) const {
    require(e.dtype() == dtype, "dtypes differ: ", dtype, " and ", e.dtype(),
            "; convert one with astype");
  }

  void check_weights() const {
    const std::int64_t columns = checked_multiply(gates_of(kind_), hidden_);
    const Shape input{inputs_, columns}, hidden{hidden_, columns}, bias{columns};
    require(weights_.input.shape() == input, "wants an input matrix of shape ", input, ", got ",
            weights_.input.shape());
    require(weights_.hidden.shape() == hidden, "wants a hidden matrix of shape ", hidden, ", got ",
            weights_.hidden.shape());
    for (const Expr& e : {weights_.bias, weights_.hidden_bias})
      require(!e || e.shape() == bias, "wants a bias of shape ", bias, ", got ",
              e ? e.shape() : bias);
  }

  // What does not depend on states: [T * rows, gates * H], one time behind the other.
  void project(const Expr& x) {
    const int by_time[] = {1, 0, 2};
    projected_ =
        matmul(reshape(permute_dims(x, by_time), Shape{times_ * rows_, inputs_}), weights_.input);
    if (weights_.bias) projected_ = projected_ + weights_.bias;
    if (weights_.hidden_bias && kind_ != Kind::gru) projected_ = projected_ + weights_.hidden_bias;
  }

  // [rows, columns] of rows of the given length, from element `first` on.
  static Expr part(const Expr& x, std::int64_t rows, std::int64_t columns, std::int64_t length,
                   std::int64_t first) {
    const Shape shape{rows, columns};
    if (shape == x.shape()) return x;
    return make(View{{shape, {length, 1}, shape.size() == 0 ? 0 : first}, "slice"}, {x});
  }

  Expr at(std::int64_t time) const {
    const std::int64_t columns = gates_of(kind_) * hidden_;
    return part(projected_, rows_, columns, columns, time * rows_ * columns);
  }

  // [rows, H] for each gate.
  std::vector<Expr> gates(const Expr& all) const {
    std::vector<Expr> apart;
    for (std::int64_t g = 0; g < gates_of(kind_); ++g)
      apart.push_back(part(all, rows_, hidden_, gates_of(kind_) * hidden_, g * hidden_));
    return apart;
  }

  void step_gru(const Expr& from_x, const Expr& from_h) {
    std::vector<Expr> in = gates(from_x);
    for (const Expr& gate : gates(from_h)) in.push_back(gate);
    in.push_back(states_[0]);
    const bool has_bias = static_cast<bool>(weights_.hidden_bias);
    for (std::int64_t g = 0; has_bias && g < 3; ++g) {
      const Layout layout{Shape{rows_, hidden_}, {0, 1}, rows_ * hidden_ == 0 ? 0 : g * hidden_};
      in.push_back(make(View{layout, "slice"}, {weights_.hidden_bias}));
    }
    states_ = map_all(name_, in, [&](std::span<const Scalar> s) {
      const auto hidden = [&](std::size_t g) { return has_bias ? s[3 + g] + s[7 + g] : s[3 + g]; };
      const Scalar reset = sigmoid(s[0] + hidden(0)), update = sigmoid(s[1] + hidden(1));
      const Scalar fresh = tanh(s[2] + reset * hidden(2));
      return std::vector<Scalar>{(1 - update) * fresh + update * s[6]};
    });
  }

  void step_lstm(const Expr& sum) {
    std::vector<Expr> in = gates(sum);
    in.push_back(states_[1]);
    states_ = map_all(name_, in, [](std::span<const Scalar> s) {
      const Scalar c = sigmoid(s[1]) * s[4] + sigmoid(s[0]) * tanh(s[2]);
      return std::vector<Scalar>{sigmoid(s[3]) * tanh(c), c};
    });
  }

  Kind kind_;
  std::string_view name_;
  CellWeights weights_;
  Shape batch_;
  std::int64_t rows_ = 0, times_ = 0, inputs_ = 0, hidden_ = 0;
  Expr projected_;
  std::vector<Expr> states_;
};

struct Unrolled {
  std::vector<Expr> states;
  Expr y;
};

Unrolled unrolled(Kind kind, std::string_view name, const Arg& x, const std::vector<Arg>& states,
                  const CellWeights& weights, bool is_sequence) {
  const Expr e = as_expr(x, DType::f32);
  std::vector<Expr> starts;
  for (const Arg& state : states) starts.push_back(as_expr(state, e.dtype()));
  return detail::in_context(name, x.where(), [&] {
    Cell cell(kind, name, e, starts, weights, is_sequence);
    std::vector<Expr> all;
    for (std::int64_t t = 0; t < cell.times(); ++t) {
      cell.step(t);
      all.push_back(cell.state(0));
    }
    Unrolled result;
    for (std::size_t i = 0; i < starts.size(); ++i)
      result.states.push_back(cell.outside(cell.state(i), e.dtype()));
    if (is_sequence) result.y = cell.outside(all, e.dtype());
    return result;
  });
}

}  // namespace

Expr rnn_cell(Arg x, Arg h, const CellWeights& weights) {
  return unrolled(Kind::rnn, "rnn_cell", x, {h}, weights, false).states[0];
}

Expr gru_cell(Arg x, Arg h, const CellWeights& weights) {
  return unrolled(Kind::gru, "gru_cell", x, {h}, weights, false).states[0];
}

LstmState lstm_cell(Arg x, Arg h, Arg c, const CellWeights& weights) {
  const Unrolled last = unrolled(Kind::lstm, "lstm_cell", x, {h, c}, weights, false);
  return {last.states[0], last.states[1]};
}

RnnResult rnn(Arg x, Arg h0, const CellWeights& weights) {
  const Unrolled all = unrolled(Kind::rnn, "rnn", x, {h0}, weights, true);
  return {all.y, all.states[0]};
}

RnnResult gru(Arg x, Arg h0, const CellWeights& weights) {
  const Unrolled all = unrolled(Kind::gru, "gru", x, {h0}, weights, true);
  return {all.y, all.states[0]};
}

LstmResult lstm(Arg x, Arg h0, Arg c0, const CellWeights& weights) {
  const Unrolled all = unrolled(Kind::lstm, "lstm", x, {h0, c0}, weights, true);
  return {all.y, all.states[0], all.states[1]};
}

}  // namespace blockgrad
