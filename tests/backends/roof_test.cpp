// The measured roof cannot be higher than what processors are built for.

#include "backends/cpu/roof.h"

#include <boost/test/unit_test.hpp>

using namespace blockgrad;

BOOST_AUTO_TEST_SUITE(roof)

// Two vector units, each one fused multiply-add a cycle, 6.5 GHz: the fastest cores of 2026.
BOOST_AUTO_TEST_CASE(no_core_multiplies_faster_than_it_has_units) {
  for (const auto& [isa, lanes] : {std::pair{Isa::avx2, 8.0}, {Isa::avx512, 16.0}}) {
    if (!is_supported(isa)) {
      BOOST_TEST_MESSAGE("skipped: this processor has no " << isa_name(isa));
      continue;
    }
    const Roof measured = measure_roof(isa, 1);
    BOOST_TEST(measured.flops32 > 0);
    BOOST_TEST(measured.flops32 < lanes * 2 * 2 * 6.5e9);
    BOOST_TEST(measured.flops64 < lanes * 2 * 6.5e9);
  }
}

BOOST_AUTO_TEST_SUITE_END()
