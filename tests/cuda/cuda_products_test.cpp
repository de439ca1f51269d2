// Who multiplies, and what is said of it, upon the library that stands in; no CUDA is needed.
#include "backends/cuda/products/cuda_products.h"

#include <boost/test/unit_test.hpp>

#include "blockgrad/graph/error.h"
#include "cuda/dense_problem.h"
#include "data/support.h"
#include "support/stand_in.h"

using namespace blockgrad;
using test_support::dense_problem;
using test_support::StandIn;

BOOST_AUTO_TEST_SUITE(cuda_products)

BOOST_AUTO_TEST_CASE(a_product_is_the_tables_or_our_own) {
  const StandIn library;
  CudaProducts products({.device = "a GPU", .processors = 132, .open = library.opener()});
  const CudaProduct small{.m = 32, .n = 32, .k = 32};
  const LtFit fit{dense_problem(small)};
  const auto why = [&] { return products.choose(small, fit).why; };
  BOOST_TEST(why() == "own kernel: not measured");
  BOOST_TEST(products.choose(small, {{}, "it is of two worlds"}).why ==
             "own kernel: not for cuBLASLt: it is of two worlds");

  ProductEntry entry{
      .provider = ProductEntry::Provider::cublaslt,
      .algorithm = lt_choices(*library.handle(), fit.problem, 2, 1 << 20).at(1).algorithm,
      .library = 130100,
      .workspace = 4096,
      .nanoseconds = 12340,
      .spread = 210};
  const auto set = [&] { products.set_table({{products.key(small, fit.problem), entry}}); };
  set();
  const ProductChoice taken = products.choose(small, fit);
  BOOST_TEST(taken.why == "cuBLASLt 13.1.0, 4096 bytes of workspace, measured 12.3 us, spread 0.2");
  BOOST_TEST(taken.workspace == 4096);
  BOOST_TEST((taken.call != nullptr));
  const CudaProduct other{.m = 32, .n = 32, .k = 33};
  BOOST_TEST((products.choose(other, {dense_problem(other)}).call == nullptr));

  entry.library = 130000;
  set();
  BOOST_TEST(why() ==
             "own kernel: the table's algorithm is of cuBLASLt 13.0.0, there is cuBLASLt 13.1.0");
  entry.library = 130100;
  entry.algorithm.data[1] = lt::reduction_in_place;
  set();
  BOOST_TEST(why() ==
             "own kernel: cuBLASLt's algorithm adds slices of k in the order in which they are "
             "done: its bits are not those of every run");
  entry.algorithm.data[1] = 0;
  entry.algorithm.data[7] = 1;
  set();
  BOOST_TEST(why() ==
             "own kernel: cuBLASLt refuses this algorithm: CUBLAS_STATUS_INVALID_VALUE, 7");
  entry.workspace = std::int64_t{1} << 40;
  set();
  BOOST_TEST(why() == "own kernel: the table wants 1099511627776 bytes of workspace");
  entry = {.cut_for = 66, .nanoseconds = 5000};
  set();
  BOOST_TEST(why() == "own kernel: measured 5.0 us, spread 0.0");
  BOOST_TEST(products.choose(small, fit).cut_for == 66);
}

BOOST_AUTO_TEST_CASE(large_products_on_tensor_cores_are_the_librarys_where_nothing_was_measured) {
  const StandIn library;
  const CudaProducts products({.device = "a GPU", .processors = 132, .open = library.opener()});
  const auto is_library = [&](const CudaProduct& product) {
    return products.choose(product, {dense_problem(product)}).call != nullptr;
  };
  CudaProduct product{.m = 1024, .n = 1024, .k = 1024, .dtype = DType::bf16};
  BOOST_TEST(is_library(product));
  product.m = 1023;
  BOOST_TEST(!is_library(product));
  product = {.m = 1024, .n = 1024, .k = 1024, .math = CudaMath::tf32};
  BOOST_TEST(is_library(product));
  product.math = CudaMath::exact;
  BOOST_TEST(!is_library(product));
}

BOOST_AUTO_TEST_CASE(without_the_library_a_product_is_our_own_and_says_why) {
  const CudaProduct large{.m = 1024, .n = 1024, .k = 1024, .dtype = DType::f16};
  const LtFit fit{dense_problem(large)};
  const CudaProducts none({.device = "a GPU", .open = []() -> CublasLt {
                             throw DeviceError("cuBLASLt was not found; sought (folders):\n  a: b");
                           }});
  BOOST_TEST(none.choose(large, fit).why == "own kernel: cuBLASLt was not found");
  const StandIn library;
  library.refuse_handles(1);
  const CudaProducts no_handle({.device = "a GPU", .open = library.opener()});
  BOOST_TEST(no_handle.choose(large, fit).why ==
             "own kernel: cuBLASLt refuses a handle: CUBLAS_STATUS_NOT_INITIALIZED, 1");
  library.refuse_handles(0);
  BOOST_TEST((no_handle.choose(large, fit).call != nullptr));
}

BOOST_AUTO_TEST_CASE(a_table_that_cannot_be_read_is_told_where_a_product_is_not_measured) {
  const data_test::TemporaryFolder folder;
  data_test::write_bytes(folder / "table", "hello\n");
  const CudaProducts products({.device = "a GPU", .table = folder / "table"});
  const CudaProduct small{.m = 2, .n = 2, .k = 2};
  BOOST_TEST(products.choose(small, {dense_problem(small)}).why ==
             "own kernel: not measured; " + (folder / "table") +
                 ", line 1: no table of products, or one of another version");
}

BOOST_AUTO_TEST_SUITE_END()
