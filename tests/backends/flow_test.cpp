// Flows of every instruction set against plain loops, bit for bit: each step and each pair of
// steps, operands that stay, go on in a line and lie in pieces, and sums in the order of the
// Reduce.
#include "backends/cpu/flow.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/cpu/tape.h"
#include "blockgrad/graph/reduce.h"

using namespace blockgrad;

namespace {

constexpr std::int64_t all = FlowTable::stretches * FlowTable::length;
constexpr std::int64_t apart = FlowTable::length + 24;  // stretches of a line with gaps

std::vector<Isa> isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (is_supported(isa)) list.push_back(isa);
  }
  return list;
}

template <class T>
std::vector<T> numbers(std::int64_t n, unsigned seed) {
  using Limits = std::numeric_limits<T>;
  const T special[] = {T(0),          T(-0.0), Limits::infinity(),   -Limits::infinity(),
                       Limits::max(), T(1),    Limits::denorm_min(), T(-1)};
  std::mt19937 random(seed);
  std::uniform_real_distribution<T> number(-3, 3);
  std::vector<T> list;
  for (std::int64_t i = 0; i < n; ++i)
    list.push_back(random() % 7 == 0 ? special[random() % 8] : number(random));
  return list;
}

template <class T>
bool is_same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || std::memcmp(&a, &b, sizeof a) == 0;
}

/// What a step makes of x; in T, since every operation rounds to it.
template <class T>
T value_of(FlowOp op, T x, const T* on) {
  switch (op) {
    case FlowOp::load: return on[0];
    case FlowOp::add: return x + on[0];
    case FlowOp::subtract: return x - on[0];
    case FlowOp::subtract_from: return on[0] - x;
    case FlowOp::multiply: return x * on[0];
    case FlowOp::divide: return x / on[0];
    case FlowOp::divide_into: return on[0] / x;
    case FlowOp::negative: return -x;
    case FlowOp::square: return x * x;
    case FlowOp::relu: return x <= T(0) ? T(0) : x;
    case FlowOp::less: return on[0] < on[1] ? x : on[2];
    case FlowOp::less_equal: return on[0] <= on[1] ? x : on[2];
    case FlowOp::greater: return on[0] > on[1] ? x : on[2];
    case FlowOp::greater_equal: return on[0] >= on[1] ? x : on[2];
    case FlowOp::store:
    case FlowOp::sum:
    case FlowOp::fetch:
    case FlowOp::end: break;
  }
  return x;
}

int operands_of(FlowOp op) {
  switch (op) {
    case FlowOp::less:
    case FlowOp::less_equal:
    case FlowOp::greater:
    case FlowOp::greater_equal: return 3;
    case FlowOp::negative:
    case FlowOp::square:
    case FlowOp::relu: return 0;
    default: return 1;
  }
}

/// Values of four stretches somewhere, and how a flow finds them.
template <class T>
class Somewhere {
 public:
  Somewhere(FlowMove move, const FlowSpace& space, unsigned seed)
      : move_(move), space_(space), values_(numbers<T>(4 * all, seed)) {
    if (move == FlowMove::stays) std::fill(values_.begin() + 1, values_.end(), values_[0]);
  }
  FlowOperand operand() {
    return {reinterpret_cast<std::byte*>(values_.data()),
            static_cast<std::int64_t>(place(FlowTable::length) * sizeof(T)), move_};
  }
  T& at(std::int64_t i) { return values_[place(i)]; }

 private:
  std::size_t place(std::int64_t i) const {
    if (move_ == FlowMove::stays) return 0;
    if (move_ == FlowMove::in_line)
      return static_cast<std::size_t>(i / FlowTable::length * apart + i % FlowTable::length);
    return static_cast<std::size_t>(i / space_.piece * space_.gap + i % space_.piece);
  }
  FlowMove move_;
  FlowSpace space_;
  std::vector<T> values_;
};

/// load, fetch, op and then, store; checked against value_of().
template <class T>
void check(Isa isa, FlowOp op, FlowOp then, FlowMove move, const FlowSpace& space) {
  const FlowTable& table = *flow_table(isa);
  const int d = FlowTable::column(dtype_of<T>());
  const bool is_pair = then != FlowOp::end;
  const FlowFn both = table.find[d](op, then);
  const std::string what = std::string(isa_name(isa)) + " " + std::string(name(dtype_of<T>())) +
                           " op " + std::to_string(static_cast<int>(op)) + " then " +
                           std::to_string(static_cast<int>(then)) + " move " +
                           std::to_string(static_cast<int>(move));
  BOOST_TEST_REQUIRE((both || is_pair), what);
  if (!both) return;
  const int first = operands_of(op), count = first + (is_pair ? 1 : 0);
  Somewhere<T> x(FlowMove::in_line, space, 1), y(FlowMove::in_memory, space, 2);
  std::vector<Somewhere<T>> on;
  for (int k = 0; k < count; ++k)
    on.emplace_back(k == 0 ? move : FlowMove(k % 3), space, static_cast<unsigned>(3 + k));
  const auto find = [&](FlowOp one) { return table.find[d](one, FlowOp::end); };
  std::vector<FlowStep> steps{{find(FlowOp::fetch), {y.operand(), {}, {}}},
                              {find(FlowOp::load), {x.operand(), {}, {}}},
                              {both, {}},
                              {find(FlowOp::store), {y.operand(), {}, {}}},
                              {find(FlowOp::end), {}}};
  for (int k = 0; k < count; ++k) steps[2].on[k] = on[static_cast<std::size_t>(k)].operand();
  table.run[d](steps.data(), space, true);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < all; ++i) {
    T args[4] = {};
    for (int k = 0; k < count; ++k) args[k] = on[static_cast<std::size_t>(k)].at(i);
    T expected = value_of(op, x.at(i), args);
    if (is_pair) expected = value_of(then, expected, args + first);
    wrong += is_same(y.at(i), expected) ? 0 : 1;
  }
  BOOST_TEST(wrong == 0, what << ": " << wrong << " elements differ");
}

constexpr FlowOp steps[] = {
    FlowOp::load,   FlowOp::add,         FlowOp::subtract, FlowOp::subtract_from, FlowOp::multiply,
    FlowOp::divide, FlowOp::divide_into, FlowOp::negative, FlowOp::square,        FlowOp::relu,
    FlowOp::less,   FlowOp::less_equal,  FlowOp::greater,  FlowOp::greater_equal};
constexpr FlowOp behind[] = {FlowOp::end, FlowOp::add, FlowOp::subtract, FlowOp::subtract_from,
                             FlowOp::multiply};

template <class T>
void check_all(Isa isa) {
  const std::int64_t block = flow_table(isa)->block[FlowTable::column(dtype_of<T>())];
  for (const std::int64_t piece : {block, std::int64_t{64}, FlowTable::length}) {
    for (const FlowOp op : steps) {
      for (const FlowOp then : behind) {
        for (const FlowMove move : {FlowMove::stays, FlowMove::in_line, FlowMove::in_memory})
          check<T>(isa, op, then, move, {piece, 2 * piece});
      }
    }
  }
}

template <class T>
void check_sums(Isa isa) {
  const FlowTable& table = *flow_table(isa);
  const int d = FlowTable::column(dtype_of<T>());
  Somewhere<T> x(FlowMove::in_memory, {64, 192}, 1);
  alignas(64) T lanes[FlowTable::stretches * FlowTable::lanes];
  T sums[FlowTable::stretches];
  const auto find = [&](FlowOp op) { return table.find[d](op, FlowOp::end); };
  for (std::int64_t i = 0; i < all; ++i) x.at(i) = T(std::sin(static_cast<double>(i)));
  x.at(5 + FlowTable::length) = std::numeric_limits<T>::infinity();
  for (std::int64_t i = 2 * FlowTable::length; i < 3 * FlowTable::length; ++i) x.at(i) = T(-0.0);
  const FlowStep code[] = {
      {find(FlowOp::load), {x.operand(), {}, {}}},
      {find(FlowOp::sum), {{reinterpret_cast<std::byte*>(lanes), 0, {}}, {}, {}}},
      {find(FlowOp::end), {}}};
  table.begin_sum[d](lanes);
  table.run[d](code, {64, 192}, false);
  table.end_sum[d](sums, lanes);
  for (std::int64_t s = 0; s < FlowTable::stretches; ++s) {
    std::vector<T> stretch;
    for (std::int64_t i = 0; i < FlowTable::length; ++i)
      stretch.push_back(x.at(s * FlowTable::length + i));
    T expected = 0;
    tape_table(Isa::portable)
        .find_rows(ReduceKind::sum, dtype_of<T>())(&expected, nullptr, stretch.data(),
                                                   FlowTable::length, 1, 0);
    BOOST_TEST(is_same(sums[s], expected), isa_name(isa) << " stretch " << s);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(flow)

BOOST_AUTO_TEST_CASE(steps_and_pairs_of_steps_give_the_bits_of_each_operation) {
  for (const Isa isa : isas()) {
    check_all<float>(isa);
    check_all<double>(isa);
  }
}

BOOST_AUTO_TEST_CASE(sums_have_the_order_of_a_reduce) {
  for (const Isa isa : isas()) {
    check_sums<float>(isa);
    check_sums<double>(isa);
  }
}

BOOST_AUTO_TEST_SUITE_END()
