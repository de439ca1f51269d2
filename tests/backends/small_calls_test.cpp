// Calls in rows, in a sequence of their own, leave what they leave one by one in the order given.
#include "backends/cpu/small_calls.h"

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "backends/cpu/isa.h"
#include "backends/cpu/small_sequence.h"
#include "tests/support/instruction_sets.h"

using namespace blockgrad;
using test_support::supported_isas;

namespace {

constexpr int places = 7;
constexpr std::size_t place_bytes = SmallTable::bytes;

struct Memory {
  alignas(64) std::array<std::byte, (places + 1) * place_bytes> bytes{};
  std::byte* place(std::uint64_t i) { return bytes.data() + i % places * place_bytes; }
};

template <class T>
Memory random_memory(std::mt19937& random) {
  Memory memory;
  std::uniform_real_distribution<T> number(-1, 1);
  for (std::size_t i = 0; i < memory.bytes.size(); i += sizeof(T)) {
    const T value = number(random);
    std::memcpy(memory.bytes.data() + i, &value, sizeof(T));
  }
  return memory;
}

/// So few places that most calls overwrite what another one reads. All lanes mean something.
class RandomCalls {
 public:
  RandomCalls(Memory& memory, const SmallTable& table, DType dtype, std::uint32_t seed)
      : memory_(memory), table_(table), dtype_(dtype), random_(seed) {
    std::iota(lanes_.at, lanes_.at + 16, 0);
    std::shuffle(lanes_.at, lanes_.at + size(), random_);
    product_.a = lanes_;
    product_.a_step = product_.b_step = 1;
    product_.a_size = product_.b_size = static_cast<std::int32_t>(size());
    product_.k = 3;
    product_.n = 4;
    for (int i = 0; i < 16; ++i) product_.a.at[i] = i % 5;
    shared_ = product_;
    for (int i = 0; i < 4; ++i) product_.b.at[i] = i;
    for (std::int32_t& at : shared_.b.at) at = 1;
    shared_.b_is_shared = true;
  }

  SmallCall next() {
    using enum SmallOp;
    constexpr SmallOp ops[] = {function, add,    subtract, multiply, fma, negative,
                               load,     spread, gather,   product,  sum, store};
    SmallCall call;
    call.op = ops[random_() % (random_() % 4 == 0 ? 12 : 6)];
    if (call.op == function && random_() % 4 > 0) call.op = multiply;
    call.size = static_cast<std::uint8_t>(size_of(dtype_));
    call.out = memory_.place(random_());
    call.a = memory_.place(random_());
    call.b = memory_.place(random_());
    call.n = 1 + static_cast<std::int64_t>(random_()) % static_cast<std::int64_t>(size());
    if (call.op == function) call.run = table_.find(ScalarOp::relu, dtype_, dtype_);
    if (call.op == fma) call.c = memory_.place(random_());
    if (call.op == gather) call.c = &lanes_;
    if (call.op == gather || call.op == load) call.n = static_cast<std::int64_t>(size());
    if (call.op == product) call.c = random_() % 2 ? &product_ : &shared_;
    const bool may_spread = call.op <= negative && call.op != function;
    if (may_spread && random_() % 4 == 0) call.from_a = SmallFrom::spread;
    if (may_spread && random_() % 4 == 0) call.from_b = SmallFrom::spread;
    if (call.op == load && random_() % 2)
      call.a = static_cast<const std::byte*>(call.a) + size_of(dtype_);
    return call;
  }

 private:
  std::size_t size() const { return place_bytes / size_of(dtype_); }

  Memory& memory_;
  const SmallTable& table_;
  DType dtype_;
  std::mt19937 random_;
  SmallLanes lanes_;
  SmallProduct product_, shared_;
};

/// Of NaN, which one is not said: sums of two may keep either.
template <class T>
bool same(const Memory& x, const Memory& y) {
  for (std::size_t i = 0; i < x.bytes.size(); i += sizeof(T)) {
    T p, q;
    std::memcpy(&p, x.bytes.data() + i, sizeof(T));
    std::memcpy(&q, y.bytes.data() + i, sizeof(T));
    if (!(std::isnan(p) && std::isnan(q)) && std::memcmp(&p, &q, sizeof(T)) != 0) return false;
  }
  return true;
}

/// What instruction sets leave in lanes that no value has differs.
template <class T>
void compare(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  const Memory start = random_memory<T>(random);
  for (const Isa isa : supported_isas()) {
    const SmallTable& table = small_table(isa);
    Memory memory = start;
    RandomCalls made(memory, table, dtype_of<T>(), seed);
    SmallCalls joined;
    std::vector<SmallCalls> single(count);
    for (SmallCalls& one : single) {
      const SmallCall call = made.next();
      joined.add(call);
      one.add(call);
      one.join(table);
    }
    joined.join(table);
    for (int times = 0; times < 3; ++times) {
      for (const SmallCalls& one : single) one.run();
    }
    const Memory expected = memory;
    memory = start;
    joined.run();
    joined.run(2);
    BOOST_TEST_REQUIRE(same<T>(memory, expected), isa_name(isa)
                                                      << ", " << count << " calls, seed " << seed);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(small_calls)

BOOST_AUTO_TEST_CASE(a_row_leaves_what_its_calls_leave_one_by_one) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    for (const std::size_t count : {1, 2, 5, 20, 60}) {
      compare<float>(count, seed);
      compare<double>(count, seed);
    }
  }
}

BOOST_AUTO_TEST_CASE(more_calls_than_a_row_holds) {
  for (const std::size_t count : {127, 128, 129, 256, 257, 1000}) compare<float>(count, 77);
}

BOOST_AUTO_TEST_CASE(calls_are_found_by_the_number_they_were_added_as) {
  SmallCalls calls;
  Memory memory;
  constexpr std::size_t count = 300;
  for (std::size_t i = 0; i < count; ++i) {
    SmallCall call;
    call.op = i % 7 == 3 ? SmallOp::negative : SmallOp::load;
    call.size = 4;
    call.out = memory.place(i * i);
    call.a = memory.place(i);
    call.n = static_cast<std::int64_t>(i);
    calls.add(call);
  }
  calls.join(small_table(Isa::portable));
  for (std::size_t i = 0; i < count; ++i)
    BOOST_TEST_REQUIRE(calls.at(i).n == static_cast<std::int64_t>(i));
}

BOOST_AUTO_TEST_CASE(a_reader_comes_right_behind_the_step_that_most_wait_for) {
  Memory memory;
  const auto step = [&](std::uint64_t out, std::uint64_t a, std::uint64_t b) {
    SmallCall call;
    call.op = SmallOp::add;
    call.size = 4;
    call.out = memory.place(out);
    call.a = memory.place(a);
    call.b = memory.place(b);
    return call;
  };
  // 1 from 0; 2 from 1, which nothing reads; 3 from 1; 4 from 3.
  const SmallCall calls[] = {step(1, 0, 0), step(2, 1, 1), step(3, 1, 0), step(4, 3, 0)};
  const std::vector<std::size_t> expected{0, 2, 3, 1};
  BOOST_TEST(sequence_of(calls) == expected, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_SUITE_END()
