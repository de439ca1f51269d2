// Gives the precompiled header of the tests a target to be compiled in.
#include <boost/test/unit_test.hpp>
