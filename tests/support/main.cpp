// The main program of every test binary, and Boost.Test itself where no library of it is linked.
#define BOOST_TEST_MODULE blockgrad
#ifdef BOOST_TEST_DYN_LINK
#include <boost/test/unit_test.hpp>
#else
#include <boost/test/included/unit_test.hpp>
#endif
#include <cstdlib>

namespace {

// With BLOCKGRAD_FIRST_FAILURE in the environment the first failure ends the program: enough to
// know where only that is asked.
class FirstFailure : public boost::unit_test::test_observer {
 public:
  FirstFailure() {
    if (std::getenv("BLOCKGRAD_FIRST_FAILURE"))
      boost::unit_test::framework::register_observer(*this);
  }
  ~FirstFailure() override { boost::unit_test::framework::deregister_observer(*this); }

 private:
  void assertion_result(boost::unit_test::assertion_result result) override {
    if (result == boost::unit_test::AR_FAILED) std::_Exit(1);
  }
  void exception_caught(const boost::execution_exception&) override { std::_Exit(1); }
};

}  // namespace

BOOST_TEST_GLOBAL_FIXTURE(FirstFailure);
