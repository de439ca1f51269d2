// The N-th allocation fails, for every N of a small scenario: an exception, and every object is as
// it was.
#include <boost/test/unit_test.hpp>
#include <new>
#include <optional>

#include "blockgrad/blockgrad.h"
#include "tests/limits/heap.h"

using namespace blockgrad;

namespace {

// Calls `scenario` with allocation 1, 2, 3, … failing until it passes; after each failure calls
// `check`.
template <class Scenario, class Check>
std::int64_t fail_each(Scenario scenario, Check check, bool for_good) {
  for (std::int64_t n = 1;; ++n) {
    bool threw = false, failed = false;
    std::string wrong;
    {
      std::exception_ptr other;
      {
        const heap::Failing failing(n, for_good);
        try {
          scenario();
        } catch (const std::bad_alloc&) {
          threw = true;
        } catch (const DeviceError&) {
          threw = true;
        } catch (...) {
          other = std::current_exception();
        }
        failed = failing.has_failed();
      }
      if (other) {
        try {
          std::rethrow_exception(other);
        } catch (const std::exception& error) {
          wrong = error.what();
        }
      }
    }
    BOOST_TEST_REQUIRE(wrong.empty(), "allocation " << n << ": " << wrong);
    if (!failed) {
      BOOST_TEST(!threw);
      return n - 1;
    }
    check(n, threw);
  }
}

struct Model {
  Expr x = input("x", {4, 2}), t = input("t", {4, 1});
  Expr w = parameter(full({2, 1}, 0.5), "w"), b = parameter(zeros({1}), "b");
  Feeds feeds = {{x, tensor<float>({1, 2, 3, 4, 5, 6, 7, 8}, {4, 2})},
                 {t, tensor<float>({1, 2, 3, 4}, {4, 1})}};

  Loss loss() const { return mse_loss(matmul(x, w) + b, t); }
  double checksum() const { return w.value().at(0) + 10 * w.value().at(1) + 100 * b.value().at(0); }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(allocation)

BOOST_AUTO_TEST_CASE(building_and_differentiating_a_graph_survives_every_failure) {
  const Model model;
  for (const bool for_good : {false, true}) {
    const std::int64_t count = fail_each(
        [&] {
          const Scope scope("model");
          const Loss loss = model.loss() + penalty(0.1 * sum(square(model.w)));
          grad(loss, {model.w, model.b});
        },
        [&](std::int64_t n, bool threw) {
          BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
        },
        for_good);
    BOOST_TEST(count > 50);
  }
  // The stack of scopes is as before.
  const Expr after = model.w + 1.0;
  BOOST_TEST(describe(after).find("model") == std::string::npos, describe(after));
}

BOOST_AUTO_TEST_CASE(compiling_survives_every_failure) {
  const Model model;
  const Loss loss = model.loss();
  const std::vector<Expr> gradients = grad(loss, {model.w, model.b});
  for (const bool for_good : {false, true}) {
    fail_each([&] { compile({loss, gradients[0], gradients[1]}); },
              [&](std::int64_t n, bool threw) {
                BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
              },
              for_good);
  }
  Program program = compile({loss});
  BOOST_TEST(program.run(model.feeds).number(0) > 0);
}

BOOST_AUTO_TEST_CASE(running_survives_every_failure_and_changes_nothing) {
  const Model model;
  Optimizer optimizer(Sgd{.learning_rate = 0.001, .momentum = 0.9});
  const Loss loss = model.loss();
  const Updates updates = minimize(optimizer, loss);
  const double before = model.checksum();
  std::optional<Program> program;
  const Feeds ring[] = {model.feeds, model.feeds, model.feeds};
  fail_each(
      [&] {
        program.emplace(compile({loss}, updates));
        program->run_many(3, ring);
      },
      [&](std::int64_t n, bool threw) {
        BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
        BOOST_TEST_REQUIRE(model.checksum() == before,
                           "allocation " << n << " changed the parameters");
      },
      false);
  BOOST_TEST(model.checksum() != before);
  program->run(model.feeds);
}

BOOST_AUTO_TEST_CASE(making_a_step_survives_every_failure_and_keeps_the_slots_in_order) {
  const Model model;
  const Loss loss = model.loss();
  for (const bool for_good : {false, true}) {
    Optimizer optimizer(Sgd{.learning_rate = 0.001, .momentum = 0.9});
    fail_each([&] { minimize(optimizer, loss); },
              [&](std::int64_t n, bool threw) {
                BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
                BOOST_TEST_REQUIRE(optimizer.states().size() == 3, "allocation " << n);
              },
              for_good);
    // learning rate, momentum, weight decay and one velocity per parameter
    BOOST_TEST(optimizer.states().size() == 5);
    std::vector<std::string> names;
    for (const Expr& state : optimizer.states()) names.push_back(leaf_name(state));
    BOOST_TEST((std::find(names.begin(), names.end(), "w.velocity") != names.end()));
    BOOST_TEST((std::find(names.begin(), names.end(), "b.velocity") != names.end()));
  }
}

BOOST_AUTO_TEST_CASE(fitting_an_epoch_survives_every_failure) {
  const Model model;
  const data::Dataset data{{"x", model.feeds[0].value}, {"t", model.feeds[1].value}};
  const train::Model graph = [&](train::Inputs& in) {
    return mse_loss(matmul(in["x"], model.w) + model.b, in["t"]);
  };
  const Tensor w0 = model.w.value(), b0 = model.b.value();
  const double before = model.checksum();
  train::FitOptions options;
  options.epochs = 1;
  options.batch_size = 3;
  double fitted = 0;
  train::fit(graph, data, Sgd{.learning_rate = 0.001}, options);
  fitted = model.checksum();
  const double once = fitted;
  model.w.set_value(w0);
  model.b.set_value(b0);
  std::int64_t changed = 0;
  const std::int64_t count = fail_each(
      [&] {
        model.w.set_value(w0);
        model.b.set_value(b0);
        train::fit(graph, data, Sgd{.learning_rate = 0.001}, options);
      },
      [&](std::int64_t n, bool threw) {
        BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
        const double now = model.checksum();
        BOOST_TEST_REQUIRE((now == before || now == once),
                           "allocation " << n << " left half an epoch");
        changed += now == once;
      },
      false);
  BOOST_TEST(model.checksum() == once);
  BOOST_TEST(changed < count);
}

BOOST_AUTO_TEST_CASE(tensors_and_storage_survive_every_failure) {
  const Expr state_leaf = state(tensor({1.0, 2.0}, {2}), "s");
  fail_each(
      [&] {
        const Tensor a = full({3, 3}, 2), b = a.astype(DType::f64), c = arange(0, 10);
        to_string(a);
        state_leaf.set_value(tensor({1.0, 2.0}, {2}));
        state_leaf.value();
      },
      [&](std::int64_t n, bool threw) {
        BOOST_TEST_REQUIRE(threw, "allocation " << n << " failed in silence");
        BOOST_TEST_REQUIRE(state_leaf.value().at(1) == 2);
      },
      false);
}

BOOST_AUTO_TEST_CASE(a_tensor_larger_than_memory_is_a_device_error) {
  BOOST_CHECK_EXCEPTION(zeros({std::int64_t{1} << 45}), DeviceError, [](const DeviceError& e) {
    return std::string(e.what()).find("out of memory: ") == 0;
  });
}

BOOST_AUTO_TEST_SUITE_END()
