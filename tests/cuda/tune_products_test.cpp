// The contest of kernels and library algorithms, by a clock that counts what each is said to take:
// kernels run on the harness, a library that stands in multiplies.
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/harness/host_runtime.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/checks.h"
#include "tests/support/on_cuda.h"
#include "tests/support/stand_in.h"
#include "tests/support/with_products.h"

using namespace blockgrad;
using test_support::contains;
using test_support::error_of;
using test_support::StandIn;

namespace {

/// A device whose own kernels take `own_seconds` a launch.
struct World {
  data_test::TemporaryFolder folder;
  StandIn library;
  CudaProducts products{{.device = "a GPU",
                         .processors = 132,
                         .table = folder / "products.jsonl",
                         .open = library.opener()}};
  double own_seconds;
  Device device = test_support::device_with_products(products, [this] {
    return library.seconds() + own_seconds * static_cast<double>(harness::host_counts().launches);
  });
  StopToken stop;
  int stop_after = -1;
  std::vector<std::string> lines;
  TuneOptions options{.milliseconds = 0,
                      .warm_milliseconds = 0,
                      .rotated_bytes = 0,
                      .progress =
                          [this](std::string_view line) {
                            lines.emplace_back(line);
                            if (static_cast<int>(lines.size()) == stop_after) stop.request_stop();
                          },
                      .stop = &stop};

  explicit World(double own) : own_seconds(own) {}
  World(const World&) = delete;

  std::string explain(const Expr& of) { return compile({of}, {}, device).explain(); }
};

Expr product(std::int64_t m, std::int64_t n, std::int64_t k) {
  return matmul(input("a", {m, k}), input("b", {k, n}));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tune_products)

BOOST_AUTO_TEST_CASE(the_fastest_that_is_right_and_steady_is_in_the_table_and_programs_follow_it) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  const Expr expr = product(5, 6, 7);
  const TuneReport report = blockgrad::tune_products({expr}, {}, world.device, world.options);
  BOOST_TEST(report.table == world.folder / "products.jsonl");
  BOOST_TEST(report.products == 1);
  BOOST_TEST(report.measured == 1);
  BOOST_TEST(!report.stopped);
  // Algorithms 4 and 5 say 10 us, but one's bits change and the other's result is wrong. The next
  // one is less than 2 % before another.
  BOOST_TEST_REQUIRE(world.lines.size() == 1u);
  BOOST_TEST(contains(world.lines[0],
                      "5x6x7 batch 1 nn f32,f32,f32: cuBLASLt 13.1.0 algorithm 6, "
                      "59.9 us, spread 0.0; "),
             world.lines[0]);
  BOOST_TEST(contains(world.lines[0],
                      "own cut by counts 90.0 us; 1 with wrong results; 1 with other bits in "
                      "every run"),
             world.lines[0]);
  const ProductTable table = read_product_table(report.table);
  BOOST_TEST_REQUIRE(table.size() == 1u);
  const ProductEntry& entry = table.begin()->second;
  BOOST_TEST((entry.provider == ProductEntry::Provider::cublaslt));
  BOOST_TEST(entry.library == 130100);
  BOOST_TEST(entry.nanoseconds == 59900);
  const std::string text = world.explain(expr);
  BOOST_TEST(contains(text, "cuBLASLt 13.1.0, 0 bytes of workspace, measured 59.9 us"), text);
  // A later process reads the same from the file.
  const CudaProducts later({.device = "a GPU",
                            .processors = 132,
                            .table = report.table,
                            .open = world.library.opener()});
  BOOST_TEST((*later.table() == table));
}

BOOST_AUTO_TEST_CASE(our_own_cut_stays_unless_it_is_beaten_by_two_percent) {
  if (test_support::skips_harness()) return;
  World world(60.5e-6);  // 1 % more than the fastest one that is right
  const Expr expr = product(5, 6, 7);
  const TuneReport report = blockgrad::tune_products({expr}, {}, world.device, world.options);
  const ProductTable table = read_product_table(report.table);
  BOOST_TEST_REQUIRE(table.size() == 1u);
  BOOST_TEST((table.begin()->second.provider == ProductEntry::Provider::own));
  BOOST_TEST(table.begin()->second.nanoseconds == 60500);
  BOOST_TEST(contains(world.explain(expr), "own kernel: measured 60.5 us"));
}

BOOST_AUTO_TEST_CASE(other_cuts_of_our_own_compete_and_the_chosen_one_is_used) {
  if (test_support::skips_harness()) return;
  // By counts k is cut in slices, which are two launches; the cut for fewer processors is one.
  World world(20e-6);
  const Expr expr = product(40, 36, 1100);
  const std::string before = world.explain(expr);
  BOOST_TEST_REQUIRE(contains(before, " splits"), before);
  world.options.algorithms = 1;
  const TuneReport report = blockgrad::tune_products({expr}, {}, world.device, world.options);
  const ProductTable table = read_product_table(report.table);
  BOOST_TEST_REQUIRE(table.size() == 1u);
  const ProductEntry& entry = table.begin()->second;
  BOOST_TEST((entry.provider == ProductEntry::Provider::own));
  BOOST_TEST(entry.cut_for > 0);
  BOOST_TEST(entry.nanoseconds == 20000);
  const std::string after = world.explain(expr);
  BOOST_TEST(contains(after, " for " + std::to_string(entry.cut_for) + " processors"), after);
  BOOST_TEST(!contains(after, " splits"), after);
}

BOOST_AUTO_TEST_CASE(each_different_product_is_measured_once_and_known_ones_are_not) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  const Expr a = input("a", {4, 8}), b = input("b", {8, 4});
  const std::vector<Output> outputs = {matmul(a, b), matmul(b, a), relu(matmul(a, b + 1.0))};
  const TuneReport first = blockgrad::tune_products(outputs, {}, world.device, world.options);
  BOOST_TEST(first.products == 2);
  BOOST_TEST(first.measured == 2);
  const TuneReport second = blockgrad::tune_products(outputs, {}, world.device, world.options);
  BOOST_TEST(second.known == 2);
  BOOST_TEST(second.measured == 0);
  world.options.again = true;
  BOOST_TEST(blockgrad::tune_products(outputs, {}, world.device, world.options).measured == 2);
}

BOOST_AUTO_TEST_CASE(a_stop_keeps_what_is_measured) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  world.stop_after = 1;
  const std::vector<Output> outputs = {product(4, 4, 8), product(4, 4, 9), product(4, 4, 10)};
  const TuneReport report = blockgrad::tune_products(outputs, {}, world.device, world.options);
  BOOST_TEST(report.stopped);
  BOOST_TEST(report.products == 3);
  BOOST_TEST(report.measured == 1);
  BOOST_TEST(read_product_table(report.table).size() == 1u);
  world.stop.reset();
  BOOST_TEST(blockgrad::tune_products(outputs, {}, world.device, world.options).measured == 2);
}

BOOST_AUTO_TEST_CASE(what_another_call_measured_meanwhile_stays_in_the_table) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  const ProductKey other{.device = "another GPU", .m = 9};
  const auto count = [&](std::string_view) {
    add_to_product_table(world.folder / "products.jsonl", {{other, {.nanoseconds = 9}}});
  };
  world.options.progress = count;
  const std::vector<Output> outputs = {product(4, 4, 8), product(4, 4, 9)};
  const TuneReport report = blockgrad::tune_products(outputs, {}, world.device, world.options);
  BOOST_TEST(report.measured == 2);
  const ProductTable table = read_product_table(report.table);
  BOOST_TEST(table.size() == 3u);
  BOOST_TEST(table.contains(other));
}

BOOST_AUTO_TEST_CASE(a_product_is_tuned_in_the_arithmetic_of_the_program) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  world.options.rotated_bytes = std::numeric_limits<std::int64_t>::max();
  const Expr a = input("a", {8, 8}, DType::bf16), b = input("b", {8, 8}, DType::bf16);
  const std::vector<Output> outputs = {product(8, 8, 8), make(MatMul{DType::f32}, {a, b})};
  CompileOptions options;
  options.math = MathMode::tf32;
  const TuneReport report =
      blockgrad::tune_products(outputs, {}, world.device, world.options, options);
  BOOST_TEST(report.measured == 2);
  std::set<std::string> kinds;
  for (const auto& [key, entry] : read_product_table(report.table))
    kinds.insert(key.dtypes + " in " + key.compute);
  BOOST_TEST(
      (kinds == std::set<std::string>{"bf16,bf16,f32 in f32", "f32,f32,f32 in f32 as tf32"}));
}

BOOST_AUTO_TEST_CASE(without_the_library_our_own_cuts_compete_and_that_is_said) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  world.library.refuse_handles(1);
  blockgrad::tune_products({product(5, 6, 7)}, {}, world.device, world.options);
  BOOST_TEST_REQUIRE(world.lines.size() == 1u);
  BOOST_TEST(contains(world.lines[0], "own cut"), world.lines[0]);
  BOOST_TEST(contains(world.lines[0], "; cuBLASLt refuses a handle: CUBLAS_STATUS_NOT_INITIALIZED"),
             world.lines[0]);
}

BOOST_AUTO_TEST_CASE(an_algorithm_that_the_library_refuses_does_not_end_the_contest_of_the_others) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  world.library.refuse_algorithms(0, 5);
  const TuneReport report =
      blockgrad::tune_products({product(5, 6, 7)}, {}, world.device, world.options);
  BOOST_TEST(report.measured == 1);
  BOOST_TEST_REQUIRE(world.lines.size() == 1u);
  BOOST_TEST(contains(world.lines[0], "algorithm 2, 60.0 us"), world.lines[0]);
  BOOST_TEST(contains(world.lines[0], "; cuBLASLt refuses a product: CUBLAS_STATUS_EXECUTION"),
             world.lines[0]);
  world.library.refuse_algorithms(~std::uint64_t{0}, ~std::uint64_t{0});
}

BOOST_AUTO_TEST_CASE(products_without_a_place_in_the_table_are_left_alone) {
  if (test_support::skips_harness()) return;
  World world(90e-6);
  const Expr a = input("a", {2, 3, 4, 4}), rows = input("rows", {3, 4, 4}),
             none = input("none", {0, 4});
  const std::vector<Output> outputs = {matmul(a, rows), matmul(none, input("b", {4, 4}))};
  BOOST_TEST(blockgrad::tune_products(outputs, {}, world.device, world.options).products == 0);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_tuned_is_an_error) {
  const std::vector<Output> outputs = {product(2, 2, 2)};
  BOOST_TEST(error_of([&] { blockgrad::tune_products(outputs, {}, cpu()); }) ==
             "products are tuned on cuda; this device chooses its kernels by counts alone");
  if (test_support::skips_harness()) return;
  World world(90e-6);
  data_test::write_bytes(world.folder / "wrong", "no table\n");
  world.options.table = world.folder / "wrong";
  BOOST_TEST(
      error_of([&] { blockgrad::tune_products(outputs, {}, world.device, world.options); }) ==
      (world.folder / "wrong") + ", line 1: no table of products, or one of another version");
  world.options.algorithms = 0;
  BOOST_TEST(contains(
      error_of([&] { blockgrad::tune_products(outputs, {}, world.device, world.options); }),
      "tune_products: algorithms 0 below 1"));
}

BOOST_AUTO_TEST_SUITE_END()
