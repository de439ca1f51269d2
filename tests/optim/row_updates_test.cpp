// Updates of some rows against sweeps of the whole parameter, step by step.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <random>

#include "blockgrad/blockgrad.h"
#include "tests/optim/by_hand.h"
#include "tests/support/checks.h"

using namespace blockgrad;
using namespace test_support;
using by_hand::error_of;

namespace {

constexpr std::int64_t table_rows = 50, named = 12, width = 3;

enum class Form { rows, dense, plain };  // as it comes, made dense, and by grad alone

// Skip-gram in small: rows of one table are pulled towards rows of another.
struct Embedding {
  Expr table, context;
  Expr i = input("i", {named}, DType::i32), j = input("j", {named / 2}, DType::i64);

  explicit Embedding(DType dtype)
      : table(parameter(start(0.3).astype(dtype), "table")),
        context(parameter(start(1.1).astype(dtype), "context")) {}

  static Tensor start(double shift) {
    std::vector<double> values;
    for (std::int64_t e = 0; e < table_rows * width; ++e)
      values.push_back(std::sin(0.37 * static_cast<double>(e) + shift));
    return tensor(std::span<const double>(values), {table_rows, width});
  }

  Loss loss() const {
    const Expr a = take(table, i);                             // [12, 3]
    const Expr b = take(context, reshape(j, {2, named / 4}));  // [2, 3, 3]
    const Expr near = mean(square(reshape(a, {2, named / 2, width}) - mean(b, 1, true)));
    return {near, constant(ones({}, table.dtype())), {}};
  }

  Feeds feeds(std::mt19937& random) const {
    std::vector<std::int32_t> a;
    std::vector<std::int64_t> b;
    for (std::int64_t k = 0; k < named; ++k)
      a.push_back(static_cast<std::int32_t>(random() % table_rows));
    for (std::int64_t k = 0; k < named / 2; ++k)
      b.push_back(static_cast<std::int64_t>(random() % 7) * 5);
    return {{i, tensor(std::span<const std::int32_t>(a), {named})},
            {j, tensor(std::span<const std::int64_t>(b), {named / 2})}};
  }
};

Updates updates_of(Optimizer& optimizer, const Loss& loss, Form form) {
  if (form == Form::rows) return minimize(optimizer, loss);
  if (form == Form::dense) return optimizer.apply(dense(gradients(loss)));
  const Expr roots[] = {loss.sum};
  const std::vector<Expr> parameters = parameters_of(roots);
  return optimizer.apply(parameters, grad(loss, std::span(parameters)));
}

struct Run {
  Embedding model;
  Optimizer optimizer;
  Program program;

  template <class Rule>
  Run(const Rule& rule, DType dtype, Form form)
      : model(dtype),
        optimizer(rule),
        program(compile({}, updates_of(optimizer, model.loss(), form))) {}
};

double distance(const Tensor& a, const Tensor& b) {
  double worst = 0;
  for (std::int64_t e = 0; e < a.size(); ++e) worst = std::max(worst, std::abs(a.at(e) - b.at(e)));
  return worst;
}

// The largest distance over 200 steps; -1 if all bits were equal.
template <class Rule>
double rows_against(Form form, const Rule& rule, DType dtype = DType::f64, int steps = 200) {
  Run rows(rule, dtype, Form::rows), other(rule, dtype, form);
  std::mt19937 random(3), same(3);
  double worst = -1;
  for (int n = 0; n < steps; ++n) {
    rows.program.run(rows.model.feeds(random));
    other.program.run(other.model.feeds(same));
    for (const bool first : {true, false}) {
      const Tensor a = (first ? rows.model.table : rows.model.context).value();
      const Tensor b = (first ? other.model.table : other.model.context).value();
      if (!same_bits(a, b)) worst = std::max(worst, distance(a, b));
    }
  }
  return worst;
}

bool names_rows(const Program& program) {
  const std::string text = program.to_text();
  return (text.find("put_rows") != std::string::npos ||
          text.find("update_rows") != std::string::npos) &&
         program.explain().find(", in place") != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(row_updates)

BOOST_AUTO_TEST_CASE(rules_that_leave_untouched_rows_give_the_bits_of_a_sweep) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (const Form form : {Form::dense, Form::plain}) {
      BOOST_TEST(rows_against(form, Sgd{.learning_rate = 0.5}, dtype) == -1);
      BOOST_TEST(rows_against(form, Adagrad{.learning_rate = 0.5}, dtype) == -1);
    }
  }
}

BOOST_AUTO_TEST_CASE(rmsprop_catches_up_within_rounding) {
  // Small steps: at the minimum g / sqrt(s) of both near 0 would magnify the rounding.
  const double worst = rows_against(Form::plain, RmsProp{.learning_rate = 1e-3, .rho = 0.9});
  BOOST_TEST(worst > -1);
  BOOST_TEST(worst < 1e-13);
  BOOST_TEST(rows_against(Form::plain, RmsProp{.learning_rate = 0.05, .rho = 0}) < 1e-13);
  BOOST_TEST(rows_against(Form::plain, RmsProp{.learning_rate = 0.05}, DType::f32) < 1e-5);
}

BOOST_AUTO_TEST_CASE(all_other_rules_sweep_and_give_the_same_bits) {
  for (const Form form : {Form::dense, Form::plain}) {
    BOOST_TEST(rows_against(form, Sgd{.learning_rate = 0.5, .weight_decay = 0.01}) == -1);
    BOOST_TEST(rows_against(form, Sgd{.learning_rate = 0.5, .momentum = 0.9}) == -1);
    BOOST_TEST(rows_against(form, Adam{.learning_rate = 0.05}) == -1);
    BOOST_TEST(rows_against(form, AdamW{.learning_rate = 0.05}) == -1);
    BOOST_TEST(rows_against(form, RmsProp{.learning_rate = 0.05, .weight_decay = 0.01}) == -1);
    BOOST_TEST(rows_against(form, Adagrad{.learning_rate = 0.5, .weight_decay = 0.01}) == -1);
  }
}

BOOST_AUTO_TEST_CASE(lazy_alone_may_differ) {
  BOOST_TEST(rows_against(Form::plain, Sgd{.learning_rate = 0.5, .momentum = 0.9, .lazy = true}) >
             1e-3);
  BOOST_TEST(rows_against(Form::plain, Adam{.learning_rate = 0.05, .lazy = true}) > 1e-3);
  BOOST_TEST(rows_against(Form::plain, AdamW{.learning_rate = 0.05, .lazy = true}) > 1e-3);
  BOOST_TEST(
      rows_against(Form::plain, Adagrad{.learning_rate = 0.5, .weight_decay = 0.01, .lazy = true}) >
      1e-4);
}

// Lazy Adam by hand: moments of a row fade by the updates it was left out of, and w stays.
BOOST_AUTO_TEST_CASE(lazy_adam_follows_its_formula) {
  const Expr w = parameter(ones({4}, DType::f64), "w"), i = input("i", {1}, DType::i32);
  Optimizer optimizer(Adam{.learning_rate = 0.1, .lazy = true});
  const Loss loss{sum(square(take(w, i))), constant(ones({}, DType::f64)), {}};
  Program program = compile({}, minimize(optimizer, loss));
  BOOST_TEST(names_rows(program));
  double value[4] = {1, 1, 1, 1}, m[4] = {}, s[4] = {};
  for (int t = 1; t <= 100; ++t) {
    const int row = (t * t + t / 7) % 3;
    program.run({{i, tensor({static_cast<std::int32_t>(row)}, {1})}});
    for (int k = 0; k < 4; ++k) {
      const double g = k == row ? 2 * value[k] : 0;
      m[k] = 0.9 * m[k] + 0.1 * g;
      s[k] = 0.999 * s[k] + 0.001 * g * g;
      if (k == row)
        value[k] -= 0.1 * m[k] / (1 - std::pow(0.9, t)) /
                    (std::sqrt(s[k] / (1 - std::pow(0.999, t))) + 1e-8);
      BOOST_TEST_REQUIRE(std::abs(w.value().at(k) - value[k]) < 1e-12);
    }
  }
}

BOOST_AUTO_TEST_CASE(only_what_is_named_is_read_and_written) {
  const std::int64_t n = 200000;
  const Expr table = parameter(full({n, 8}, 0.5), "table"), i = input("i", {16}, DType::i32);
  const Loss loss{sum(square(take(table, i))), constant(ones({})), {}};
  for (const bool is_rms : {false, true}) {
    Optimizer sgd(Sgd{.learning_rate = 0.1}), rms(RmsProp{});
    Program program = compile({}, minimize(is_rms ? rms : sgd, loss));
    BOOST_TEST(program.report().arena_bytes < 20000);
    BOOST_TEST(names_rows(program));
    program.run({{i, zeros({16}, DType::i32)}});
    BOOST_TEST(table.value().at(0) != 0.5);
    BOOST_TEST(table.value().at(8) == 0.5);
    table.set_value(full({n, 8}, 0.5));
  }
}

BOOST_AUTO_TEST_CASE(a_table_taken_from_twice_has_one_update_of_all_its_rows) {
  const auto run = [](Form form) {
    const Expr w = parameter(Embedding::start(0), "w");
    const Expr i = input("i", {5}, DType::i32), j = input("j", {2, 2}, DType::i64);
    Optimizer optimizer(Sgd{.learning_rate = 0.5});
    const Loss loss{
        sum(square(take(w, i))) + sum(exp(take(w, j))), constant(ones({}, DType::f64)), {}};
    const Updates updates = updates_of(optimizer, loss, form);
    BOOST_TEST(updates.all().size() == 1);
    Program program = compile({}, updates);
    BOOST_TEST(names_rows(program) == (form == Form::rows));
    for (int n = 0; n < 5; ++n)
      program.run({{i, tensor<std::int32_t>({1, 4, 1, n, 7}, {5})},
                   {j, tensor<std::int64_t>({4, 4, 9, n}, {2, 2})}});
    return w.value();
  };
  BOOST_TEST(distance(run(Form::rows), run(Form::plain)) < 1e-14);
}

BOOST_AUTO_TEST_CASE(a_table_used_in_another_way_too_stays_dense) {
  const Expr w = parameter(Embedding::start(0), "w"), i = input("i", {5}, DType::i32);
  const Expr x = take(w, i);  // [5, 3]
  const Expr one = constant(ones({}, DType::f64));
  const auto is_dense = [&](const Loss& loss) { return !gradients(loss).list[0].rows; };
  BOOST_TEST(!is_dense({sum(x), one, {}}));
  BOOST_TEST(is_dense({sum(matmul(x, transpose(w))), one, {}}));  // tied
  BOOST_TEST(is_dense(Loss{sum(x), one, {}} + penalty(sum(square(w)))));
  BOOST_TEST(!is_dense(Loss{sum(x), one, {}} + penalty(sum(square(x)))));
  const Expr many = input("many", {table_rows}, DType::i32);
  BOOST_TEST(is_dense({sum(take(w, many)), one, {}}));  // as many as there are
  // A use that sends no gradient is not in the way of one that does, and all cut is an error.
  const Expr y = take(w, input("k", {2}, DType::i32));
  BOOST_TEST(!is_dense({sum(x) + sum(stop_gradient(y)), one, {}}));
  BOOST_TEST(error_of([&] {
               gradients({sum(stop_gradient(y)), one, {}});
             }).find("no gradient reaches parameter 'w'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(clipping_and_accumulation_take_rows) {
  const auto run = [](Form form, const std::function<Gradients(Optimizer&, Gradients)>& change) {
    Embedding model(DType::f64);
    Optimizer optimizer(Sgd{.learning_rate = 0.5});
    Gradients all = gradients(model.loss());
    if (form == Form::dense) all = dense(all);
    Program program = compile({}, optimizer.apply(change(optimizer, all)));
    std::mt19937 random(5);
    for (int n = 0; n < 12; ++n) program.run(model.feeds(random));
    return model.table.value();
  };
  const auto norm = [](Optimizer&, const Gradients& g) { return clip_by_global_norm(g, 0.01); };
  const auto value = [](Optimizer&, const Gradients& g) { return clip_by_value(g, 0.001); };
  const auto add = [](Optimizer& o, const Gradients& g) { return accumulate(o, g, 3); };
  const Tensor start = Embedding(DType::f64).table.value();
  BOOST_TEST(distance(run(Form::rows, norm), run(Form::dense, norm)) < 1e-15);
  BOOST_TEST(same_bits(run(Form::rows, value), run(Form::dense, value)));
  BOOST_TEST(same_bits(run(Form::rows, add), run(Form::dense, add)));
  BOOST_TEST(distance(run(Form::rows, add), start) > 1e-3);
}

BOOST_AUTO_TEST_CASE(steps_that_are_not_finite_or_out_of_range_leave_every_row) {
  const Expr w = parameter(ones({9, 2}, DType::f64), "w"), i = input("i", {2}, DType::i32);
  const Expr scale = input("scale", {}, DType::f64);
  Optimizer optimizer(RmsProp{});
  const Loss loss{sum(take(w, i)) * scale, constant(ones({}, DType::f64)), {}};
  Program program = compile({}, minimize(optimizer, loss));
  const auto step = [&](std::int32_t row, double factor) {
    program.run({{i, tensor<std::int32_t>({1, row}, {2})}, {scale, tensor({factor}, {})}});
  };
  step(3, 1);
  std::vector<Expr> leaves = optimizer.states();
  leaves.push_back(w);
  std::vector<Tensor> before;
  for (const Expr& leaf : leaves) before.push_back(leaf.value());
  step(3, std::nan(""));
  BOOST_TEST(error_of([&] { step(9, 1); }).find("index 9 at position 1") != std::string::npos);
  for (std::size_t k = 0; k < leaves.size(); ++k)
    BOOST_TEST(same_bits(leaves[k].value(), before[k]), leaf_name(leaves[k]));
  step(3, 1);
  BOOST_TEST(!same_bits(w.value(), before.back()));
}

BOOST_AUTO_TEST_CASE(training_of_rows_goes_on_from_the_states) {
  Run one(RmsProp{.rho = 0.9}, DType::f64, Form::rows);
  Run other(RmsProp{.rho = 0.9}, DType::f64, Form::rows);
  std::mt19937 random(11);
  for (int n = 0; n < 20; ++n) one.program.run(one.model.feeds(random));
  const std::vector<Expr> from = one.optimizer.states(), to = other.optimizer.states();
  for (std::size_t k = 0; k < from.size(); ++k) to[k].set_value(from[k].value());
  other.model.table.set_value(one.model.table.value());
  other.model.context.set_value(one.model.context.value());
  std::mt19937 same = random;
  for (int n = 0; n < 20; ++n) {
    one.program.run(one.model.feeds(random));
    other.program.run(other.model.feeds(same));
  }
  BOOST_TEST(same_bits(one.model.table.value(), other.model.table.value()));
}

// Two programs of one optimizer, one that names rows and one that needs all: in either order of
// building, a slot that fades knows one way of being behind.
BOOST_AUTO_TEST_CASE(rows_and_sweeps_of_one_optimizer_share_slots) {
  const auto run = [](const char* order, bool rows_first) {
    const Expr w = parameter(Embedding::start(0.5), "w"), i = input("i", {4}, DType::i32);
    const Expr one = constant(ones({}, DType::f64));
    const Loss some{sum(square(take(w, i))), one, {}}, all{sum(square(w)), one, {}};
    Optimizer optimizer(RmsProp{.learning_rate = 0.05, .rho = 0.8});
    const Updates first = minimize(optimizer, rows_first ? some : all);
    const Updates second = minimize(optimizer, rows_first ? all : some);
    Program of_some = compile({}, rows_first ? first : second);
    Program of_all = compile({}, rows_first ? second : first);
    std::int32_t k = 0;
    for (const char* step = order; *step != 0; ++step, ++k) {
      if (*step == 'a') of_all.run();
      else of_some.run({{i, tensor<std::int32_t>({k % 7, 3, k % 5, 40 + k}, {4})}});
    }
    return w.value();
  };
  for (const char* order : {"ssss", "sassa", "aassas", "ssaassss"})
    BOOST_TEST(distance(run(order, true), run(order, false)) < 1e-14);
}

BOOST_AUTO_TEST_SUITE_END()
