// New values that are copies of storage another update writes in the same sweep.
#include <boost/test/unit_test.hpp>

#include "blockgrad/blockgrad.h"

namespace {

using namespace blockgrad;

Tensor numbers(std::initializer_list<float> values) {
  return tensor(values, {static_cast<std::int64_t>(values.size())});
}

bool same(const Tensor& a, std::initializer_list<float> values) {
  const auto span = a.span<float>();
  return std::equal(span.begin(), span.end(), values.begin(), values.end());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(aliasing)

BOOST_AUTO_TEST_CASE(a_copy_of_storage_keeps_the_value_from_before_the_run) {
  for (const bool copy_first : {false, true}) {
    const Expr w = state(numbers({1, 2, 3}), "w"), previous = state(numbers({0, 0, 0}), "previous");
    Updates updates;
    if (copy_first) updates.set(previous, w);
    updates.set(w, w - 1.0);
    if (!copy_first) updates.set(previous, w);
    compile({}, updates).run();
    BOOST_TEST(same(w.value(), {0, 1, 2}));
    BOOST_TEST(same(previous.value(), {1, 2, 3}));
  }
}

BOOST_AUTO_TEST_CASE(a_swap_beside_a_third_update_reads_the_old_values) {
  const Expr a = state(numbers({1, 2, 3}), "a"), b = state(numbers({4, 5, 6}), "b");
  const Expr c = state(numbers({0, 0, 0}), "c");
  compile({}, Updates().set(c, a + b).set(a, b).set(b, a)).run();
  BOOST_TEST(same(a.value(), {4, 5, 6}));
  BOOST_TEST(same(b.value(), {1, 2, 3}));
  BOOST_TEST(same(c.value(), {5, 7, 9}));
}

BOOST_AUTO_TEST_SUITE_END()
