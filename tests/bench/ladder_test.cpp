// The models of the benchmark at tiny sizes: they train, and to the numbers of another framework.
#include <boost/test/unit_test.hpp>

#include <cmath>
#include <map>

#include "ladder/ours.h"
#include "models/rows.h"

namespace utf = boost::unit_test;

namespace {

// Losses after 20 steps from the same first values and batch, by PyTorch in f64.
const std::map<std::string, double> references{
    {"regression5", 0.880732565}, {"regression1024", 0.968622499},
    {"mlp_small", 0.452835413},   {"mlp_big", 0.854387069},
    {"lenet", 0.350834315},       {"resnet", 0.021286607},
    {"lstm", 2.231227665},        {"gpt", 2.103867322},
    {"skip_gram", 0.264978101},
};

}  // namespace

BOOST_AUTO_TEST_SUITE(ladder)

BOOST_AUTO_TEST_CASE(every_row_ends_where_another_framework_does, *utf::tolerance(1e-4)) {  // f32
  for (const bench::Row& row : bench::ladder_rows()) {
    BOOST_TEST_CONTEXT(row.name) {
      const std::vector<double> losses =
          bench::losses(bench::training_of(row.make_tiny(), false), bench::loss_steps);
      BOOST_TEST(losses.back() < losses.front());
      BOOST_TEST_REQUIRE(references.contains(row.name));
      BOOST_TEST(losses.back() == references.at(row.name));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_guard_changes_nothing_while_steps_are_finite) {
  for (const bench::Row& row : bench::ladder_rows()) {
    BOOST_TEST_CONTEXT(row.name) {
      const auto last = [&](bool guard) {
        return bench::losses(bench::training_of(row.make_tiny(), guard), 3).back();
      };
      BOOST_TEST(last(true) == last(false));
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_trainings_have_equal_bits_and_others_do_not) {
  const std::vector<bench::Row> rows = bench::chosen(bench::ladder_rows(), {"mlp_small"});
  const auto bits = [&](std::int64_t steps) {
    return bench::bits_after(rows[0].make_tiny, steps, {.threads = 1});
  };
  BOOST_TEST(bits(3) == bits(3));
  BOOST_TEST(bits(3) != bits(4));
}

BOOST_AUTO_TEST_CASE(rows_for_a_gpu_train_in_their_tiny_form_and_tell_their_tokens) {
  for (const bench::Row& row : bench::gpu_rows()) {
    const std::vector<double> losses = bench::losses(bench::training_of(row.make_tiny(), false), 5);
    BOOST_TEST(losses.back() < losses.front());
    BOOST_TEST(row.tokens % 1024 == 0);
  }
  BOOST_TEST(bench::gpu_rows().back().tokens == 64 * 1024);
}

// By hand: products of 2 m n k, three for each layer but the first, which has no gradient to x.
BOOST_AUTO_TEST_CASE(work_of_a_step_is_that_of_its_products_and_its_update) {
  for (const bench::Row& row : bench::ladder_rows()) {
    if (row.name != "mlp_big") continue;
    const bench::Work work = bench::training_of(row.make_tiny(), false).work;
    BOOST_TEST(work.flops == 2.0 * 7 * (2 * 19 * 18 + 3 * 18 * 17 + 3 * 17 * 4));
    BOOST_TEST(work.bytes == 28.0 * (19 * 18 + 18 + 18 * 17 + 17 + 17 * 4 + 4));
  }
}

BOOST_AUTO_TEST_SUITE_END()
