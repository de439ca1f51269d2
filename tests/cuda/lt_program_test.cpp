// Programs whose products are cuBLASLt's, on CUDA's executable against the CPU: the other kernels
// run on the harness, and a library that stands in multiplies what its descriptors say.
#include <boost/test/unit_test.hpp>

#include "backends/cuda/products/cuda_products.h"
#include "blockgrad/blockgrad.h"
#include "tests/support/on_cuda.h"
#include "tests/support/stand_in.h"
#include "tests/support/with_products.h"

using namespace blockgrad;
using test_support::StandIn;

namespace {

/// Takes an algorithm of the library for every product that it can be asked for.
class AllByLibrary final : public CudaProducts {
 public:
  AllByLibrary(const StandIn& library, std::size_t algorithm)
      : CudaProducts({.device = "a GPU", .processors = 132, .open = library.opener()}),
        algorithm_(algorithm) {}

  ProductChoice choose(const CudaProduct& product, const LtFit& fit) const override {
    if (!fit.why_not.empty()) return CudaProducts::choose(product, fit);
    const LtChoice choice = lt_choices(*library(), fit.problem, 10, 1 << 20).at(algorithm_);
    return {lt_call(library(), fit.problem, choice), choice.workspace, 0, "by library"};
  }

 private:
  std::size_t algorithm_;
};

struct Inputs {
  Feeds feeds;
  Expr operator()(const Shape& shape, DType dtype = DType::f32) {
    const std::uint64_t seed = feeds.size() + 1;
    const Expr x = input("x" + std::to_string(seed), shape, dtype);
    feeds.push_back({x, test_support::drawn(shape, dtype, seed, -1, 1)});
    return x;
  }
};

/// Equal bits, and as many products by the library.
void check_equal(const std::vector<Output>& outputs, const Feeds& feeds, int products,
                 std::size_t algorithm = 0) {
  const StandIn library;
  const AllByLibrary by_library(library, algorithm);
  Program here = compile(outputs, {}, cpu());
  Program there = compile(outputs, {}, test_support::device_with_products(by_library));
  const Results expected = here.run(feeds), got = there.run(feeds);
  BOOST_TEST(library.runs() == products, there.explain());
  for (int i = 0; i < static_cast<int>(outputs.size()); ++i) {
    const Tensor a = expected.tensor(i), b = got.tensor(i);
    BOOST_TEST_REQUIRE((a.type() == b.type()));
    for (std::int64_t e = 0; e < a.size(); ++e)
      BOOST_TEST_REQUIRE(a.at(e) == b.at(e), "output " << i << ", element " << e);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(lt_program)

BOOST_AUTO_TEST_CASE(products_of_all_layouts_have_the_bits_of_the_cpu) {
  if (test_support::skips_harness()) return;
  for (const DType dtype : {DType::f32, DType::f64}) {
    Inputs inputs;
    std::vector<Output> outputs;
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        const Expr a = inputs(ta ? Shape{21, 33} : Shape{33, 21}, dtype);
        const Expr b = inputs(tb ? Shape{17, 21} : Shape{21, 17}, dtype);
        outputs.push_back(matmul(a, b, {.transpose_a = ta, .transpose_b = tb}));
        // Windows of larger matrices.
        const Expr c = slice(a, {{1, ta ? 20 : 30}, {2, ta ? 32 : 21}});
        const Expr d = slice(b, {{tb ? 3 : 1, tb ? 17 : 20}, {tb ? 1 : 3, tb ? 20 : 17}});
        outputs.push_back(matmul(c, d, {.transpose_a = ta, .transpose_b = tb}));
      }
    }
    check_equal(outputs, inputs.feeds, 8);
    check_equal(outputs, inputs.feeds, 8, 1);  // with workspace
  }
}

BOOST_AUTO_TEST_CASE(batches_at_equal_distances_are_the_librarys_and_others_our_own) {
  if (test_support::skips_harness()) return;
  Inputs inputs;
  const Expr a = inputs(Shape{2, 3, 9, 8}), b = inputs(Shape{2, 3, 8, 7});
  const Expr shared = inputs(Shape{8, 7}), rows = inputs(Shape{3, 8, 7});
  const auto heads = [](const Expr& x) { return permute_dims(x, std::vector<int>{0, 2, 1, 3}); };
  const Expr q = inputs(Shape{2, 9, 3, 8}), k = inputs(Shape{2, 5, 3, 8});
  const Expr one_q = inputs(Shape{1, 9, 3, 8}), one_k = inputs(Shape{1, 5, 3, 8});
  const Expr none = inputs(Shape{0, 3, 9, 8});
  check_equal(
      {matmul(a, b), matmul(a, shared), matmul(heads(one_q), heads(one_k), {.transpose_b = true})},
      inputs.feeds, 3);
  check_equal(
      {matmul(a, rows), matmul(heads(q), heads(k), {.transpose_b = true}), matmul(none, rows)},
      inputs.feeds, 0);
}

BOOST_AUTO_TEST_CASE(halves_are_summed_in_f32) {
  if (test_support::skips_harness()) return;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Inputs inputs;
    check_equal({matmul(inputs(Shape{17, 40}, dtype), inputs(Shape{40, 18}, dtype))}, inputs.feeds,
                1);
  }
}

BOOST_AUTO_TEST_CASE(formulas_run_behind_the_librarys_products) {
  if (test_support::skips_harness()) return;
  Inputs inputs;
  const Expr x = inputs(Shape{2, 9, 12}), batch = inputs(Shape{3, 8, 7});
  const std::vector<Output> outputs{
      relu(linear(x, inputs(Shape{12, 16}), inputs(Shape{16}))) * inputs(Shape{2, 9, 1}),
      matmul(batch, inputs(Shape{3, 7, 5})) + inputs(Shape{8, 1}),
      relu(matmul(inputs(Shape{17, 40}, DType::bf16), inputs(Shape{40, 18}, DType::bf16)))};
  check_equal(outputs, inputs.feeds, 3);
  check_equal(outputs, inputs.feeds, 3, 1);  // with workspace
}

BOOST_AUTO_TEST_CASE(a_small_network_trains_as_on_the_cpu_and_steps_are_recorded) {
  if (test_support::skips_harness()) return;
  const StandIn library;
  const AllByLibrary by_library(library, 1);
  const auto train = [](const Device& device) {
    const Expr w = parameter(test_support::drawn({12, 20}, DType::f32, 50, -1, 1), "w");
    const Expr v = parameter(test_support::drawn({20, 5}, DType::f32, 51, -1, 1), "v");
    const Expr x = input("x", Shape{33, 12}), y = input("y", Shape{33, 5});
    const Expr hidden = relu(matmul(x, w)), adjoint = matmul(hidden, v) - y;
    const Expr back = where(hidden > 0.0, matmul(adjoint, v, {.transpose_b = true}), 0.0);
    Updates updates;
    updates.set(v, v - 0.001 * matmul(hidden, adjoint, {.transpose_a = true}));
    updates.set(w, w - 0.001 * matmul(x, back, {.transpose_a = true}));
    Program program = compile({adjoint}, updates, device);
    program.run_many(3, {{{x, test_support::drawn({33, 12}, DType::f32, 52, -1, 1)},
                          {y, test_support::drawn({33, 5}, DType::f32, 53, -1, 1)}}});
    return std::pair(w.value(), v.value());
  };
  const auto expected = train(cpu());
  const auto got = train(test_support::device_with_products(by_library));
  for (std::int64_t i = 0; i < expected.first.size(); ++i)
    BOOST_TEST(got.first.at(i) == expected.first.at(i));
  for (std::int64_t i = 0; i < expected.second.size(); ++i)
    BOOST_TEST(got.second.at(i) == expected.second.at(i));
  BOOST_TEST(library.runs() == 3 * 5);
}

BOOST_AUTO_TEST_CASE(the_report_says_who_multiplies_and_why) {
  if (test_support::skips_harness()) return;
  const StandIn library;
  const Expr a = input("a", Shape{70, 30}), b = input("b", Shape{30, 70});
  const auto explained = [&](const CudaProducts& products) {
    return compile({matmul(a, b)}, {}, test_support::device_with_products(products)).explain();
  };
  const CudaProducts not_measured({.device = "a GPU", .open = library.opener()});
  const std::string own = explained(not_measured);
  BOOST_TEST(own.find("; own kernel: not measured") != std::string::npos, own);
  BOOST_TEST(own.find(" > instruction ") != std::string::npos, own);
  const std::string by_library = explained(AllByLibrary(library, 0));
  BOOST_TEST(by_library.find("by library") != std::string::npos, by_library);
}

BOOST_AUTO_TEST_SUITE_END()
