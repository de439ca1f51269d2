// Saving and loading parameters and states.
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "blockgrad/graph/stored.h"
#include "tests/train/support.h"

using namespace blockgrad;
using namespace fit_support;
using train::FitOptions;

namespace {

std::string temporary_file() {
  return (std::filesystem::temp_directory_path() /
          ("blockgrad-fit-" + std::to_string(::getpid()) + ".safetensors"))
      .string();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint)

BOOST_AUTO_TEST_CASE(what_is_saved_is_loaded_bit_for_bit) {
  const std::string file = temporary_file();
  const data::Dataset data = rows_of(20);
  Linear linear, other;
  Optimizer a(Sgd{.learning_rate = 0.05, .momentum = 0.9}),
      b(Sgd{.learning_rate = 0.01, .momentum = 0.1});
  FitOptions options;
  options.epochs = 4;
  options.batch_size = 0;
  train::fit(linear.model(), data, a, options);
  std::vector<Expr> leaves = a.states();
  leaves.insert(leaves.end(), {linear.w, linear.b});
  train::save(file, leaves);

  options.epochs = 0;
  train::fit(other.model(), data, b, options);  // makes the slots
  std::vector<Expr> targets = b.states();
  targets.insert(targets.end(), {other.w, other.b});
  train::load(file, targets);
  options.epochs = 3;
  train::fit(linear.model(), data, a, options);
  train::fit(other.model(), data, b, options);
  BOOST_TEST(same_bits(linear.w.value(), other.w.value()));
  BOOST_TEST(double(b.learning_rate) == 0.05);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_that_does_not_fit_lists_everything_and_changes_nothing) {
  const std::string file = temporary_file();
  const Expr a = parameter(ones({2}), "a"), b = parameter(ones({3}), "b"),
             extra = state(ones({}), "extra"), extra2 = state(ones({}), "extra2");
  train::save(file, {a, b, extra, extra2});
  const Expr a2 = parameter(zeros({2}), "a"), b2 = parameter(zeros({3, 1}), "b"),
             c = parameter(zeros({4}), "c"), d = parameter(zeros({}, DType::f64), "d");
  const std::string text = error_of([&] { train::load(file, {a2, b2, c, d}); });
  BOOST_TEST(contains(text, "does not fit; nothing was loaded:"), text);
  BOOST_TEST(contains(text, "'b' is f32[3], expected f32[3, 1]"), text);
  BOOST_TEST(contains(text, "'c' is missing"), text);
  BOOST_TEST(contains(text, "'d' is missing"), text);
  BOOST_TEST(contains(text, "'extra' is not asked for"), text);
  BOOST_TEST(contains(text, "'extra2' is not asked for"), text);
  BOOST_TEST(a2.value().at(0) == 0);
  BOOST_TEST(contains(error_of([&] { train::load(file + ".none", {a2}); }), ".none"));
  std::ofstream(file, std::ios::trunc) << "not a tensor file";
  BOOST_TEST(error_of([&] { train::load(file, {a2}); }) != "no error");
  BOOST_TEST(a2.value().at(0) == 0);
  BOOST_TEST(contains(error_of([&] { train::save(file, {a + 1.0}); }),
                      "only parameters and states can be saved and loaded"));
  BOOST_TEST(contains(error_of([&] { train::save(file, {a, a2}); }), "a"));
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_that_a_setting_refuses_changes_nothing) {
  const std::string file = temporary_file();
  const Expr w = parameter(ones({2}), "w");
  Optimizer decaying(Sgd{.learning_rate = 0.5, .weight_decay = 0.5}), plain(Sgd{});
  train::save(file, decaying.states());
  minimize(plain, {sum(w), constant(ones({})), {}});
  BOOST_TEST(contains(error_of([&] { train::load(file, plain.states()); }),
                      "'optimizer.weight_decay': it was 0 when a step was built"));
  BOOST_TEST(double(plain.learning_rate) == 0.01);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_CASE(a_load_while_a_leaf_is_in_use_changes_nothing) {
  const std::string file = temporary_file();
  const Expr a = parameter(ones({2}), "a"), b = parameter(ones({3}), "b");
  train::save(file, {a, b});
  a.set_value(zeros({2}));
  b.set_value(zeros({3}));
  const auto storage = stored(b);
  BOOST_TEST_REQUIRE(storage->lock_shared());
  BOOST_TEST(contains(error_of([&] { train::load(file, {a, b}); }), "'b' is in use"));
  storage->unlock_shared();
  BOOST_TEST(a.value().at(0) == 0);
  std::filesystem::remove(file);
}

BOOST_AUTO_TEST_SUITE_END()
