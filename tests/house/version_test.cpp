// The version that CMake exports is the one that the headers name.
#include "blockgrad/version.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(version)

BOOST_AUTO_TEST_CASE(header_and_build_name_the_same_version) {
  BOOST_TEST(blockgrad::version == BG_CMAKE_VERSION);
}

BOOST_AUTO_TEST_SUITE_END()
