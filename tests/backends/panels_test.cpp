// Panels: which products share them, and that their bits are those of a plain product.
#include "backends/panels.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "backends/cpu/isa.h"
#include "blockgrad/blockgrad.h"
#include "graph/passes/passes.h"
#include "tests/support/checks.h"
#include "tests/support/count_ops.h"

using namespace blockgrad;
using namespace test_support;

namespace {

Tensor waves(const Shape& shape, DType dtype, int seed) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.size(); ++i)
    values.push_back(std::sin(1.7 * static_cast<double>(i) + seed));
  return tensor(std::span<const double>(values), shape).astype(dtype);
}

struct Sizes {
  std::int64_t m, n, k;
};

// Products of `readers` operands with one weight, which lies transposed if asked.
struct Products {
  std::vector<Expr> results;

  Products(Sizes s, int readers, DType dtype = DType::f32, bool transposed = false) {
    const Shape shape = transposed ? Shape{s.n, s.k} : Shape{s.k, s.n};
    const Expr w = parameter(waves(shape, dtype, 1), "w");
    for (int i = 0; i < readers; ++i) {
      const Expr a = constant(waves({s.m, s.k}, dtype, 5 * i));
      results.push_back(matmul(a, w, {.transpose_b = transposed}));
    }
  }
  Graph graph() const {
    const auto keeps = [](const Op& op) { return !op->has_expand(); };
    const Graph shared = share_panels(merge_equal(build_graph(results, {}, keeps)));
    verify(shared, "share_panels");
    return shared;
  }
  std::vector<Tensor> run(const CompileOptions& options) const {
    const std::vector<Output> outputs(results.begin(), results.end());
    Program program = compile(outputs, {}, cpu(), options);
    const Results made = program.run();
    std::vector<Tensor> values;
    for (std::size_t i = 0; i < results.size(); ++i)
      values.push_back(made.tensor(static_cast<int>(i)));
    return values;
  }
};

void check_bits(const Products& products, const std::string& what) {
  const std::vector<Tensor> expected = products.run({.skip = {"share_panels"}, .threads = 1});
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon}) {
    if (!is_supported(isa)) continue;
    for (const int threads : {1, 2, 3, 7}) {
      BOOST_TEST(same_bits(products.run({.threads = threads, .isa = std::string(isa_name(isa))}),
                           expected),
                 what << " on " << isa_name(isa) << " with " << threads << " threads");
    }
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(panels)

BOOST_AUTO_TEST_CASE(products_of_few_rows_share_the_panels_of_their_right_operand) {
  for (const bool transposed : {false, true}) {
    const Graph graph = Products({5, 100, 170}, 4, DType::f32, transposed).graph();
    BOOST_TEST(count<Panels>(graph) == 1);
    BOOST_TEST(count<PanelProduct>(graph) == 4);
    BOOST_TEST(count<MatMul>(graph) == 0);
  }
}

BOOST_AUTO_TEST_CASE(what_would_not_pay_stays) {
  BOOST_TEST(count<Panels>(Products({5, 100, 170}, 3).graph()) == 0);   // few products
  BOOST_TEST(count<Panels>(Products({97, 100, 170}, 4).graph()) == 0);  // of many rows
  BOOST_TEST(count<Panels>(Products({3, 100, 170}, 4).graph()) == 0);   // of very few
  BOOST_TEST(count<Panels>(Products({5, 100, 163}, 4).graph()) == 0);   // a small operand
  BOOST_TEST(count<Panels>(Products({5, 63, 300}, 4).graph()) == 0);    // of few columns
}

BOOST_AUTO_TEST_CASE(bits_are_those_of_plain_products) {
  for (const Sizes s : {Sizes{4, 64, 256},
                        {5, 100, 170},
                        {13, 65, 260},
                        {32, 129, 128},
                        {49, 192, 100},
                        {96, 191, 90},
                        {7, 70, 900}}) {
    for (const bool transposed : {false, true}) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        const Products products(s, 4, dtype, transposed);
        BOOST_TEST(count<Panels>(products.graph()) == 1);
        check_bits(products, join({s.m, "x", s.n, "x", s.k, transposed ? " transposed" : ""}));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(panels_follow_the_weight_that_a_step_updates) {
  const auto trained = [](const CompileOptions& options) {
    const Expr w = parameter(waves({128, 128}, DType::f32, 1), "w");
    Expr h = constant(waves({8, 128}, DType::f32, 2));
    for (int t = 0; t < 5; ++t) h = tanh(matmul(h, w));
    const Expr loss = sum(square(h));
    Updates updates;
    updates.set(w, w - 0.01 * grad(loss, {w})[0]);
    Program program = compile({loss}, updates, cpu(), options);
    program.run_many(3);
    w.set_value(full({128, 128}, 0.01));
    program.run_many(2);
    return w.value();
  };
  BOOST_TEST(same_bits(trained({}), trained({.skip = {"share_panels"}})));
}

BOOST_AUTO_TEST_CASE(the_report_names_them) {
  const Products products({32, 192, 128}, 4);
  const std::vector<Output> outputs(products.results.begin(), products.results.end());
  const Program program = compile(outputs, {}, cpu(), {.threads = 1});
  const std::string text = program.explain();
  BOOST_TEST(text.find("panels") != std::string::npos);
  BOOST_TEST(text.find("B in panels") != std::string::npos, text);
}

BOOST_AUTO_TEST_SUITE_END()
