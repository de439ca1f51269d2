// A program that does not fit: an Error that says how much was wanted, for what, and what would
// fit.
#include <sys/resource.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstdio>
#include <functional>
#include <string>

#include "blockgrad/blockgrad.h"
#include "support/sanitizers.h"

using namespace blockgrad;

namespace {

std::string device_error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

// While it lives, the process may take only so many bytes of addresses more than it has.
class AddressLimit {
 public:
  explicit AddressLimit(std::int64_t more) {
    long pages = 0;
    std::FILE* const file = std::fopen("/proc/self/statm", "re");
    BOOST_TEST_REQUIRE(file != nullptr);
    BOOST_TEST_REQUIRE(std::fscanf(file, "%ld", &pages) == 1);
    std::fclose(file);
    ::getrlimit(RLIMIT_AS, &before_);
    rlimit now = before_;
    now.rlim_cur = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + more);
    BOOST_TEST_REQUIRE(::setrlimit(RLIMIT_AS, &now) == 0);
  }
  ~AddressLimit() { ::setrlimit(RLIMIT_AS, &before_); }
  AddressLimit(const AddressLimit&) = delete;
  AddressLimit& operator=(const AddressLimit&) = delete;

 private:
  rlimit before_{};
};

#if defined(BG_SANITIZED)
constexpr bool has_address_limit = false;  // sanitizers take all addresses beforehand
#else
constexpr bool has_address_limit = true;
#endif

boost::test_tools::assertion_result limits_hold(boost::unit_test::test_unit_id) {
  return has_address_limit;
}

constexpr std::int64_t width = 2048, rows = 4096, room = std::int64_t{32} << 20;

struct Wide {
  Expr w = parameter({4, width}, xavier_uniform(), "w"),
       v = parameter({width, 1}, xavier_uniform(), "v");
  data::Dataset data{{"x", normal_tensor({rows, 4}, 0, 1, Draw{1})},
                     {"t", normal_tensor({rows, 1}, 0, 1, Draw{2})}};
  int line = 0;

  train::Model model() {
    return [this](train::Inputs& in) {
      line = __LINE__ + 1;
      return mse_loss(matmul(tanh(matmul(in["x"], w)), v), in["t"]);
    };
  }
  train::FitOptions options() const {
    train::FitOptions o;
    o.epochs = 1;
    o.batch_size = 0;
    o.compile.threads = 1;
    return o;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(out_of_memory, *boost::unit_test::precondition(limits_hold))

BOOST_AUTO_TEST_CASE(a_program_that_does_not_fit_says_what_it_wanted_and_for_what) {
  const Expr x = input("x", {4096, 4096});
  const int line = __LINE__ + 1;
  const Expr y = tanh(matmul(x, x)), loss = sum(y * matmul(y, x));
  const AddressLimit limit(room);
  const std::string text = device_error_of([&] { compile({loss}, {}, cpu(), {.threads = 1}); });
  BOOST_TEST(text.find("out of memory: ") == 0, text);
  BOOST_TEST(
      text.find(" bytes could not be allocated; the step needs most at ") != std::string::npos,
      text);
  BOOST_TEST(text.find("67.1 MB  f32[4096, 4096]  matmul (out_of_memory_test.cpp:" +
                       std::to_string(line)) != std::string::npos,
             text);
  // What fits works on.
  Program small = compile({sum(square(input("z", {10})))}, {}, cpu(), {.threads = 1});
  BOOST_TEST(small.report().kernels > 0);
}

BOOST_AUTO_TEST_CASE(fit_names_a_batch_size_that_fits_and_it_does) {
  Wide wide;
  train::FitOptions options = wide.options();
  const AddressLimit limit(room);
  const std::string text =
      device_error_of([&] { train::fit(wide.model(), wide.data, Sgd{}, options); });
  BOOST_TEST(text.find("out of memory: ") == 0, text);
  BOOST_TEST(text.find("out_of_memory_test.cpp:" + std::to_string(wide.line)) != std::string::npos,
             text);
  const std::string marker = "\nbatch_size = ";
  BOOST_TEST_REQUIRE(text.find(marker) != std::string::npos, text);
  const std::int64_t fits = std::stoll(text.substr(text.find(marker) + marker.size()));
  BOOST_TEST(text.find(" would fit, and micro_batch = " + std::to_string(fits) +
                       ", which leaves every update as it is") != std::string::npos,
             text);
  std::printf("%lld of %lld rows fit\n", static_cast<long long>(fits),
              static_cast<long long>(rows));
  // Not a guess from below: 32 MB hold some thousand rows of 2 x 8 kB.
  BOOST_TEST(fits > rows / 8);
  BOOST_TEST(fits < rows);
  const double before = wide.w.value().at(0);
  options.micro_batch = fits * 9 / 10;
  BOOST_TEST(train::fit(wide.model(), wide.data, Sgd{}, options).updates == 1);
  BOOST_TEST(wide.w.value().at(0) != before);
  options.micro_batch = 0;
  options.batch_size = fits * 9 / 10;
  BOOST_TEST(train::fit(wide.model(), wide.data, Sgd{}, options).updates > 1);
}

BOOST_AUTO_TEST_CASE(a_fit_of_which_no_row_fits_says_so_and_leaves_the_optimizer) {
  Wide wide;
  Optimizer optimizer(Sgd{.momentum = 0.9});
  const train::Model model = [&](train::Inputs& in) {
    const Expr large =
        reshape(in["x"], {in.batch_size(), 4, 1, 1}) * reshape(wide.w, {4, width, 1});
    return mse_loss(sum(tanh(large * constant(ones({1, 4096}))), {1, 2, 3}), flatten(in["t"], 0));
  };
  train::FitOptions options = wide.options();
  options.batch_size = 64;
  const AddressLimit limit(room);
  const std::string text =
      device_error_of([&] { train::fit(model, wide.data, optimizer, options); });
  BOOST_TEST(text.find("\nnot even one row at a time would fit") != std::string::npos, text);
  BOOST_TEST(optimizer.states().size() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
