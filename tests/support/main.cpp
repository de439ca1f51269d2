// The main program of every test binary.
#define BOOST_TEST_MODULE blockgrad
#include <boost/test/unit_test.hpp>
