// The main program of every test binary, and Boost.Test itself where no library of it is linked.
#define BOOST_TEST_MODULE blockgrad
#ifdef BOOST_TEST_DYN_LINK
#include <boost/test/unit_test.hpp>
#else
#include <boost/test/included/unit_test.hpp>
#endif
