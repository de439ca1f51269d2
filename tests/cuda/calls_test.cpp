// Errors of the CUDA runtime, given by calls that are made up: no GPU is needed.
#include "backends/cuda/machine/calls.h"

#include <cuda_runtime_api.h>

#include <boost/test/unit_test.hpp>
#include <string>
#include <string_view>

#include "blockgrad/graph/error.h"
#include "support/checks.h"
#include "tests/limits/heap.h"

using namespace blockgrad;
using test_support::error_of;

namespace {

const std::string dead =
    "the CUDA device does not work any more, this process can still use the CPU; ";
const std::string illegal =
    "a launch for matmul (train.cpp:41): cudaErrorIllegalAddress, an illegal memory access was "
    "encountered";

constexpr std::string_view what_is_long = "a free of the memory of a program's arena";

auto returns(cudaError_t error) {
  return [error] { return error; };
}

}  // namespace

BOOST_AUTO_TEST_SUITE(calls)

BOOST_AUTO_TEST_CASE(a_call_that_succeeds_is_silent) {
  CudaCalls calls;
  BOOST_CHECK_NO_THROW(calls.check(returns(cudaSuccess), "nothing"));
  BOOST_TEST(!calls.is_dead());
  BOOST_TEST(calls.first_error() == "");
}

BOOST_AUTO_TEST_CASE(an_error_that_the_device_survives_is_told_and_the_next_call_is_made) {
  CudaCalls calls;
  BOOST_TEST(error_of([&] {
               calls.check(returns(cudaErrorMemoryAllocation), "an arena of 8 bytes");
             }) == "an arena of 8 bytes: cudaErrorMemoryAllocation, out of memory");
  BOOST_TEST(!calls.is_dead());
  int made = 0;
  calls.check([&] { return ++made, cudaSuccess; }, "a call");
  BOOST_TEST(made == 1);
}

BOOST_AUTO_TEST_CASE(after_an_error_that_ends_the_device_no_call_is_made_and_the_first_is_told) {
  CudaCalls calls;
  BOOST_CHECK_EXCEPTION(
      calls.check(returns(cudaErrorIllegalAddress), "a launch", "matmul (train.cpp:41)"),
      DeviceError, [&](const DeviceError& error) { return error.what() == dead + illegal; });
  BOOST_TEST(calls.is_dead());
  int made = 0;
  const auto count = [&] { return ++made, cudaErrorLaunchFailure; };
  BOOST_TEST(error_of([&] { calls.check(count, "another"); }) == dead + illegal);
  calls.release(count, "a free");
  BOOST_TEST(made == 0);
  BOOST_TEST(calls.first_error() == illegal);
}

BOOST_AUTO_TEST_CASE(an_error_outside_the_device_ends_it_too) {
  CudaCalls calls;
  BOOST_CHECK_THROW(calls.check(returns(cudaErrorExternalDevice), "a launch"), DeviceError);
  BOOST_TEST(calls.is_dead());
}

BOOST_AUTO_TEST_CASE(a_destructors_call_does_not_throw_but_what_ends_the_device_is_kept) {
  CudaCalls calls;
  calls.release(returns(cudaErrorInvalidValue), "a free");
  BOOST_TEST(!calls.is_dead());
  calls.release(returns(cudaErrorAssert), "a free");
  BOOST_TEST(calls.is_dead());
  BOOST_TEST(calls.first_error() == "a free: cudaErrorAssert, device-side assert triggered");
}

BOOST_AUTO_TEST_CASE(a_destructors_call_needs_no_memory_to_keep_what_ends_the_device) {
  CudaCalls calls;
  {
    const heap::Failing none(1, true);
    calls.release(returns(cudaErrorInvalidValue), what_is_long);
    BOOST_TEST(none.has_failed());
  }
  BOOST_TEST(!calls.is_dead());
  {
    const heap::Failing none(1, true);
    calls.release(returns(cudaErrorLaunchFailure), what_is_long);
  }
  BOOST_TEST(calls.is_dead());
  BOOST_TEST(error_of([&] { calls.check(returns(cudaSuccess), "a launch"); }) ==
             dead + "out of memory for what ended it");
}

BOOST_AUTO_TEST_CASE(the_runtime_itself_fails_here_with_what_was_found) {
  CudaCalls calls;
  int count = 0;
  const auto ask = [&] { return cudaGetDeviceCount(&count); };
  const std::string error = error_of([&] { calls.check(ask, "the number of devices"); });
  if (count > 0) BOOST_TEST(error == "no error");
  else BOOST_TEST(error.starts_with("the number of devices: cudaError"), error);
  BOOST_TEST(!calls.is_dead());
}

BOOST_AUTO_TEST_SUITE_END()
