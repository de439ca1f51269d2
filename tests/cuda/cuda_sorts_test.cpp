// Sorts, starts of keys and sums by Thrust: the calls themselves on the CPU, launches of them, and
// programs that take them for long lines, with the same bits as without.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <span>

#include "backends/cuda/harness/host_runtime.h"
#include "backends/cuda/harness/thrust_on_cpu.h"
#include "backends/cuda/index/cuda_sorts.h"
#include "blockgrad/blockgrad.h"
#include "tests/cuda/drawn_case.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"

using namespace blockgrad;
using test_support::contains;
using test_support::DrawnCase;
using test_support::error_of;

namespace {

using u64 = std::uint64_t;

struct Wide {
  u64 key, place;
  bool operator==(const Wide&) const = default;
};

/// An entry's bits, seen as one number.
u64 bits_of(u64 entry, EntryBits bits) {
  const u64 shifted = entry >> bits.first;
  return bits.last - bits.first == 64 ? shifted
                                      : shifted & ((u64{1} << (bits.last - bits.first)) - 1);
}
u64 bits_of(const Wide& entry, EntryBits bits) {
  return bits.first < 64 ? bits_of(entry.place, bits)
                         : bits_of(entry.key, {bits.first - 64, bits.last - 64});
}

/// The build has no Thrust where it has no CUDA.
bool skips() {
  if (harness::thrust_on_cpu() == nullptr) BOOST_TEST_MESSAGE("skipped: no Thrust in this build");
  return harness::thrust_on_cpu() == nullptr;
}
bool skips_programs() { return test_support::skips_cuda_programs() || skips(); }

/// Memory of what the plan has, with a guard behind it.
class Memory {
 public:
  explicit Memory(std::int64_t bytes) : bytes_(static_cast<std::size_t>(bytes) + 64, 0x5a) {}
  ~Memory() {
    BOOST_TEST(std::all_of(bytes_.end() - 64, bytes_.end(), [](char c) { return c == 0x5a; }));
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  Workspace workspace() { return {bytes_.data(), bytes_.size() - 64}; }

 private:
  std::vector<char> bytes_;
};

template <class Entry>
void check_sort(const std::vector<Entry>& from, EntryBits bits) {
  const auto n = static_cast<std::int64_t>(from.size());
  const bool is_wide = sizeof(Entry) == 16;
  std::vector<Entry> to(from.size()), expected = from;
  Memory memory(CudaSorts::sort_bytes({n, is_wide}));
  const ThrustAnswer answer = harness::thrust_on_cpu()->sort(
      {from.data(), n, is_wide}, bits, to.data(), memory.workspace(), nullptr);
  BOOST_TEST(answer.error == 0);
  BOOST_TEST(answer.needed <= memory.workspace().bytes);
  std::stable_sort(expected.begin(), expected.end(), [&](const Entry& a, const Entry& b) {
    return bits_of(a, bits) < bits_of(b, bits);
  });
  BOOST_TEST((to == expected));
}

/// Few different keys, so that many are equal.
template <class Key>
std::vector<Key> tied_keys(std::size_t n, std::mt19937_64& random) {
  std::vector<Key> keys(n);
  for (Key& key : keys) key = static_cast<Key>(random() % 5) * 0x0101010101010101u;
  return keys;
}

/// Few different values, some NaN, infinite and -0.
Expr tied(DrawnCase& t, const Shape& shape, DType dtype) {
  const Expr x = t.numbers(shape, dtype, is_floating(dtype) ? -3.9 : 0, 3.9);
  if (!is_floating(dtype)) return x;
  const Expr whole = floor(x);
  return where(whole > 2.0, whole - whole * 0.0 / 0.0,
               where(whole < -3.0, whole / 0.0, where(equal(whole, 1.0), -0.0 * whole, whole)));
}

/// With the library and, on the harness, without.
std::vector<Device> devices() {
  std::vector<Device> all = {test_support::cuda_test_device()};
  if (!test_support::tests_a_gpu()) all.push_back(harness::host_device({.has_sorts = false}));
  return all;
}

/// All have the CPU's bits.
void check(const DrawnCase& t) {
  for (const Device& device : devices()) test_support::check_on_cuda(t.outputs, t.feeds, 0, device);
  test_support::check_machine_code();
}

std::string explanation(const Expr& x, bool has_sorts = true) {
  return compile({x}, {}, harness::host_device({.has_sorts = has_sorts})).explain();
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_sorts)

BOOST_AUTO_TEST_CASE(entries_are_sorted_stably_by_the_bits_that_are_named) {
  if (skips()) return;
  std::mt19937_64 random(3);
  for (const std::size_t n : {1u, 2u, 31u, 1000u, 2049u}) {
    std::vector<u64> narrow = tied_keys<u64>(n, random);
    std::vector<Wide> wide(n);
    for (std::size_t i = 0; i < n; ++i) {
      narrow[i] = (narrow[i] << 32) | (random() & 0xffffffff);
      wide[i] = {tied_keys<u64>(1, random)[0], random()};
    }
    for (const EntryBits bits : {EntryBits{32, 64}, {48, 64}, {32, 40}, {5, 7}, {0, 64}})
      check_sort(narrow, bits);
    for (const EntryBits bits : {EntryBits{64, 128}, {64, 65}, {100, 128}, {0, 64}, {11, 13}})
      check_sort(wide, bits);
  }
}

BOOST_AUTO_TEST_CASE(starts_of_keys_are_found) {
  if (skips()) return;
  std::mt19937_64 random(4);
  for (const std::size_t n : {1u, 2u, 257u, 3000u}) {
    for (const u64 different : {u64{1}, u64{7}, u64{100000}}) {
      std::vector<u64> keys(n);
      for (u64& key : keys) key = random() % different;
      std::sort(keys.begin(), keys.end());
      std::vector<std::int64_t> expected;
      for (std::size_t i = 0; i < n; ++i)
        if (i == 0 || keys[i] != keys[i - 1]) expected.push_back(static_cast<std::int64_t>(i));
      for (const bool is_wide : {false, true}) {
        std::vector<u64> words;
        for (std::size_t i = 0; i < n; ++i) {
          words.push_back(is_wide ? keys[i] : keys[i] << 32 | i);
          if (is_wide) words.push_back(i);
        }
        std::vector<std::int64_t> starts(n, -1);
        std::int64_t count = -1;
        Memory memory(CudaSorts::start_bytes(static_cast<std::int64_t>(n)));
        const ThrustAnswer answer = harness::thrust_on_cpu()->find_starts(
            {words.data(), static_cast<std::int64_t>(n), is_wide}, starts.data(), &count,
            memory.workspace(), nullptr);
        BOOST_TEST(answer.error == 0);
        BOOST_TEST_REQUIRE(count == static_cast<std::int64_t>(expected.size()));
        starts.resize(expected.size());
        BOOST_TEST(starts == expected, boost::test_tools::per_element());
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(integers_are_added_up_both_ways_and_wrap) {
  if (skips()) return;
  using Kind = IntegerLine::Kind;
  std::mt19937_64 random(5);
  for (const std::int64_t n : {1, 2, 1000}) {
    std::vector<std::int64_t> x(static_cast<std::size_t>(n));
    for (std::int64_t& element : x) element = static_cast<std::int64_t>(random());
    const auto check = [&](const void* memory, Kind kind, const auto& element) {
      for (const bool reverse : {false, true}) {
        std::vector<std::int64_t> y(x.size()), expected(x.size());
        u64 sum = 0;
        for (std::size_t j = 0; j < x.size(); ++j) {
          const std::size_t at = reverse ? x.size() - 1 - j : j;
          sum += static_cast<u64>(static_cast<std::int64_t>(element(at)));
          expected[at] = static_cast<std::int64_t>(sum);
        }
        Memory workspace(CudaSorts::sum_bytes(n));
        const ThrustAnswer answer = harness::thrust_on_cpu()->add_up(
            {memory, n, kind, reverse}, y.data(), workspace.workspace(), nullptr);
        BOOST_TEST(answer.error == 0);
        BOOST_TEST(y == expected, boost::test_tools::per_element());
      }
    };
    const auto* i32 = reinterpret_cast<const std::int32_t*>(x.data());
    const auto* u8 = reinterpret_cast<const unsigned char*>(x.data());
    check(x.data(), Kind::i64, [&](std::size_t at) { return x[at]; });
    check(i32, Kind::i32, [&](std::size_t at) { return i32[at]; });
    check(u8, Kind::u8, [&](std::size_t at) { return u8[at]; });
  }
}

BOOST_AUTO_TEST_CASE(a_workspace_that_is_too_small_is_told_and_left_alone) {
  if (skips()) return;
  const std::vector<u64> from(100, 7);
  std::vector<u64> to(100);
  Memory memory(256);
  const ThrustAnswer answer = harness::thrust_on_cpu()->sort(
      {from.data(), 100, false}, {32, 64}, to.data(), memory.workspace(), nullptr);
  BOOST_TEST(answer.error == 0);
  BOOST_TEST(answer.needed > 256u);
}

BOOST_AUTO_TEST_CASE(a_launch_says_what_a_library_refuses) {
  static ThrustAnswer answer;
  const ThrustCalls calls{.sort =
                              [](const SortedEntries& from, EntryBits bits, void* to,
                                 Workspace workspace, void* stream) {
                                BOOST_TEST(from.n == 5);
                                BOOST_TEST((bits.first == 32 && bits.last == 64));
                                BOOST_TEST((reinterpret_cast<u64>(from.memory) == 16 &&
                                            reinterpret_cast<u64>(to) == 32));
                                BOOST_TEST(reinterpret_cast<u64>(workspace.memory) == 48);
                                BOOST_TEST(reinterpret_cast<u64>(stream) == 64);
                                return answer;
                              },
                          .find_starts = nullptr,
                          .add_up = nullptr};
  const CudaSorts sorts("CUB", calls, [](std::string_view what, const std::function<int()>& call) {
    if (const int error = call(); error != 0)
      throw DeviceError(std::string(what) + " fails with " + std::to_string(error));
  });
  const CudaLaunch launch = sorts.sort({5, false}, {32, 64}, {}, {}, {});
  BOOST_TEST(launch.args.size() == 3u);
  const u64 args[] = {16, 32, 48};
  const auto enqueue = [&] { launch.library->enqueue(reinterpret_cast<void*>(64), args); };
  answer = {0, static_cast<std::size_t>(CudaSorts::sort_bytes({5, false}))};
  BOOST_CHECK_NO_THROW(enqueue());
  ++answer.needed;
  BOOST_TEST(contains(error_of(enqueue),
                      "CUB's sort of 5 entries needs 131118 bytes of workspace, and the plan has "
                      "131117: this version of CUB"));
  answer = {700, 0};
  BOOST_TEST(error_of(enqueue) == "CUB's sort of 5 entries fails with 700");
}

BOOST_AUTO_TEST_CASE(programs_with_it_and_without_have_the_cpus_bits) {
  if (skips_programs()) return;
  DrawnCase t;
  t.outputs.push_back(argsort(tied(t, {8193}, DType::f32), -1, true));
  t.outputs.push_back(argsort(t.values({16385}, DType::f32)));
  t.outputs.push_back(argsort(t.values({9000}, DType::i32), -1, true));
  t.outputs.push_back(argsort(tied(t, {5, 4097}, DType::u8)));
  t.outputs.push_back(argsort(t.values({2, 8193}, DType::u8), -1, true));
  t.outputs.push_back(argsort(tied(t, {8200}, DType::bf16)));
  t.outputs.push_back(argsort(tied(t, {8200}, DType::bf16), -1, true));
  t.outputs.push_back(argsort(t.values({8200}, DType::bf16)));
  t.outputs.push_back(argsort(tied(t, {3, 8200}, DType::f16)));
  t.outputs.push_back(argsort(t.values({8200}, DType::f16), -1, true));
  t.outputs.push_back(topk(tied(t, {9000}, DType::f32), 5000).indices);
  check(t);
}

BOOST_AUTO_TEST_CASE(wide_keys_and_several_long_lines_too) {
  if (skips_programs()) return;
  DrawnCase t;
  t.outputs.push_back(argsort(tied(t, {32769}, DType::f64), -1, true));
  t.outputs.push_back(argsort(t.values({32769}, DType::i64)));
  t.outputs.push_back(argsort(tied(t, {2, 16385}, DType::f32)));
  t.outputs.push_back(sort(t.values({2, 16385}, DType::i32), -1, true));
  check(t);
}

BOOST_AUTO_TEST_CASE(rows_are_added_and_merged_with_the_same_bits) {
  if (skips_programs()) return;
  DrawnCase t;
  const auto add = [&](const Rows& rows) {
    for (const Expr& part : {rows.rows, rows.values, rows.count}) t.outputs.push_back(part);
  };
  add(merge_rows(t.numbers({9000}, DType::i32, -300, 300), t.values({9000, 3}, DType::f32)));
  add(merge_rows(t.indices({9000}, DType::i32, 1), t.values({9000}, DType::f32)));
  add(merge_rows(t.numbers({33000}, DType::i64, -1e6, 1e6), t.values({33000}, DType::f64)));
  for (const std::int64_t height : {1, 50, 4000}) {
    t.outputs.push_back(scatter_add(t.values({height}, DType::f32),
                                    t.indices({9000}, DType::i32, height),
                                    t.values({9000}, DType::f32)));
  }
  check(t);
}

BOOST_AUTO_TEST_CASE(long_lines_of_integers_are_added_up) {
  if (skips_programs()) return;
  DrawnCase t;
  t.outputs.push_back(cumsum(t.values({66000}, DType::i64)));
  t.outputs.push_back(cumsum(t.values({2, 66000}, DType::i32), -1, true));
  t.outputs.push_back(cumsum(t.values({66000}, DType::u8)));
  check(t);
}

BOOST_AUTO_TEST_CASE(an_embedding_learns_the_same_from_many_rows) {
  if (skips_programs()) return;
  std::vector<Tensor> learned;
  std::vector<Device> all = devices();
  all.push_back(cpu());
  for (const Device& device : all) {
    const Expr w = parameter(test_support::drawn({700, 3}, DType::f32, 1, -1, 1), "w");
    const Expr i = input("i", {9000}, DType::i32), target = input("t", {9000, 3}, DType::f32);
    const Loss loss = mse_loss(take(w, i), target);
    Optimizer optimizer(Adam{});
    Program program = compile({loss}, minimize(optimizer, loss), device);
    const Feeds feeds = {{i, test_support::drawn({9000}, DType::i32, 2, 0, 699.9)},
                         {target, test_support::drawn({9000, 3}, DType::f32, 3, -1, 1)}};
    for (int step = 0; step < 3; ++step) program.run(feeds);
    learned.push_back(w.value());
  }
  for (std::size_t k = 1; k < learned.size(); ++k) {
    BOOST_TEST(std::memcmp(learned[0].bytes(), learned[k].bytes(),
                           static_cast<std::size_t>(700 * 3 * 4)) == 0);
  }
}

BOOST_AUTO_TEST_CASE(explain_says_which_sort_and_why) {
  if (test_support::tests_a_gpu() || skips_programs()) return;
  const auto line = [](std::int64_t n, DType dtype = DType::f32) {
    return argsort(input("x", {n}, dtype));
  };
  BOOST_TEST(
      contains(explanation(line(2048)), "by networks in shared memory, as a line fits there"));
  BOOST_TEST(contains(explanation(line(8192)),
                      "by networks, 5 passes over memory where Thrust's radix sort takes 7"));
  BOOST_TEST(contains(explanation(line(8193)),
                      "by Thrust's radix sort, 7 passes over memory where networks take 8"));
  BOOST_TEST(contains(explanation(line(8193), false),
                      "by networks, 8 passes over memory; there is no CUB here"));
  BOOST_TEST(contains(explanation(topk(input("x", {8193}), 1000).indices),
                      "by networks in shared memory, as few of each tile are kept"));
  BOOST_TEST(contains(explanation(cumsum(input("x", {66000}, DType::i64))),
                      "1 lines of 66000; by Thrust's scan"));
  BOOST_TEST(contains(explanation(cumsum(input("x", {66000}))),
                      "by own kernels, as a library's order of additions of floats differs"));
}

BOOST_AUTO_TEST_SUITE_END()
