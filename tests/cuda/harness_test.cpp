#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "backends/cuda/harness/cuda_names.h"
#include "backends/cuda/harness/guarded.h"
#include "backends/cuda/harness/host_runtime.h"
#include "tests/support/on_cuda.h"
#include "tests/support/sanitizers.h"

namespace {

using namespace blockgrad::harness;

constexpr int n = 64;

/// y[i] = x[n - 1 - i] for one block of n threads.
__global__ void reverse(const int* x, int* y, bool waits) {
  __shared__ int held[n];
  held[threadIdx.x] = x[threadIdx.x];
  if (waits) __syncthreads();
  y[threadIdx.x] = held[n - 1 - threadIdx.x];
}

/// The threads below `count` wait at a line of their own.
__global__ void diverge(unsigned count) {
  if (threadIdx.x < count) __syncthreads();
  else __syncthreads();
}

__global__ void leave_early(unsigned count) {
  if (threadIdx.x >= count) return;
  __syncthreads();
}

/// The sum of 32 lanes, in every lane of the first, by halves.
__global__ void sum_lanes(const int* x, int* y) {
  int sum = x[threadIdx.x];
  for (unsigned half = 16; half > 0; half /= 2) sum += __shfl_down_sync(0xffffffffu, sum, half);
  y[threadIdx.x] = __shfl_sync(0xffffffffu, sum, 0);
}

__global__ void swap_pairs(const int* x, int* y) {
  y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}

__global__ void pass_down_by_fours(const int* x, int* y) {
  const int before = static_cast<int>(threadIdx.x) % 4 - 1;
  y[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], before, 4);
}

__global__ void count_odd(const int* x, unsigned* y) {
  y[threadIdx.x] = __ballot_sync(0xffffffffu, x[threadIdx.x] & 1);
}

__global__ void number_in_order(int* counter, int* y) {
  y[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1);
}

[[maybe_unused]] __global__ void touch(float* x, int at) { x[at] = 1; }

__global__ void half_a_warp_shuffles() {
  if (threadIdx.x < 16) __shfl_sync(0xffffffffu, 1, 0);
}

__global__ void reads_outside_its_mask() {
  if (threadIdx.x < 16) __shfl_sync(0xffffu, 1, 20);
}

__global__ void reads_outside_its_warp(unsigned delta) { __shfl_up_sync(0xffffffffu, 1, delta); }

__global__ void shared_before_writing(float* y) {
  y[threadIdx.x] = static_cast<float*>(shared_memory(n * sizeof(float)))[threadIdx.x];
}

void fill(Guarded<int>& x) {
  for (int i = 0; i < n; ++i) x[static_cast<std::size_t>(i)] = 3 * i;
}

/// How many of 20 seeds give a reversed y.
int seeds_that_reverse(bool waits) {
  int right = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Guarded<int> x(n), y(n);
    fill(x);
    launch({.grid = {}, .block = {n}, .seed = seed}, [&] { reverse(x.data(), y.data(), waits); });
    right += std::equal(x.data(), x.data() + n, std::make_reverse_iterator(y.data() + n));
  }
  return right;
}

/// What the kernel's fault says.
template <class Kernel>
std::string fault_of(const Launch& at, const Kernel& kernel) {
  try {
    launch(at, kernel);
  } catch (const KernelFault& fault) {
    return fault.what();
  }
  return "no fault";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(harness)

BOOST_AUTO_TEST_CASE(threads_that_wait_see_what_others_wrote) {
  BOOST_TEST(seeds_that_reverse(true) == 20);
}

BOOST_AUTO_TEST_CASE(a_missing_barrier_shows_under_every_seed) {
  BOOST_TEST(seeds_that_reverse(false) == 0);
}

BOOST_AUTO_TEST_CASE(a_barrier_on_two_lines_is_a_fault_that_names_both) {
  const std::string text = fault_of({.grid = {}, .block = {n}}, [] { diverge(7); });
  BOOST_TEST(
      holds(text, "a barrier is not reached by all: thread (0, 0, 0) waits in __syncthreads"));
  BOOST_TEST(holds(text, "thread (7, 0, 0) waits in __syncthreads at"));
  BOOST_TEST(fault_of({.grid = {}, .block = {n}}, [] { diverge(n); }) == "no fault");
}

BOOST_AUTO_TEST_CASE(a_thread_that_ends_before_a_barrier_is_a_fault) {
  const std::string text = fault_of({.grid = {}, .block = {n}}, [] { leave_early(60); });
  BOOST_TEST(holds(text, "block (0, 0, 0): a barrier is not reached by all: thread (0, 0, 0)"));
  BOOST_TEST(holds(text, "thread (60, 0, 0) has ended"));
}

BOOST_AUTO_TEST_CASE(a_shuffle_that_lanes_miss_is_a_fault) {
  BOOST_TEST(holds(fault_of({.grid = {}, .block = {32}}, [] { half_a_warp_shuffles(); }),
                   "thread (16, 0, 0) has ended"));
  BOOST_TEST(holds(fault_of({.grid = {}, .block = {32}}, [] { reads_outside_its_mask(); }),
                   "a shuffle reads a lane outside its mask"));
  BOOST_TEST(holds(fault_of({.grid = {}, .block = {32}}, [] { reads_outside_its_warp(~0u); }),
                   "a shuffle reads a lane outside its mask"));
}

BOOST_AUTO_TEST_CASE(the_harness_runs_on_after_a_fault) {
  fault_of({.grid = {}, .block = {n}}, [] { diverge(7); });
  BOOST_TEST(seeds_that_reverse(true) == 20);
}

BOOST_AUTO_TEST_CASE(shuffles_and_votes_join_the_lanes_of_a_warp) {
  Guarded<int> x(n), y(n);
  fill(x);
  launch({.grid = {}, .block = {n}}, [&] { sum_lanes(x.data(), y.data()); });
  BOOST_TEST(y[5] == 3 * 31 * 16);
  BOOST_TEST(y[40] == 3 * (31 * 16 + 32 * 32));
  launch({.grid = {}, .block = {n}}, [&] { swap_pairs(x.data(), y.data()); });
  BOOST_TEST(y[32] == x[33]);
  BOOST_TEST(y[33] == x[32]);
  launch({.grid = {}, .block = {n}}, [&] { pass_down_by_fours(x.data(), y.data()); });
  BOOST_TEST(y[40] == x[43]);  // lane -1 of a group is its last
  BOOST_TEST(y[43] == x[42]);
  Guarded<unsigned> votes(n);
  launch({.grid = {}, .block = {n}}, [&] { count_odd(x.data(), votes.data()); });
  BOOST_TEST(votes[0] == 0xaaaaaaaau);
}

BOOST_AUTO_TEST_CASE(integer_atomics_count_every_thread_once_in_a_drawn_order) {
  Guarded<int> counter(1), y(4 * n);
  counter[0] = 0;
  launch({.grid = {4}, .block = {n}, .seed = 1},
         [&] { number_in_order(counter.data(), y.data()); });
  BOOST_TEST(counter[0] == 4 * n);
  BOOST_TEST(!std::is_sorted(y.data(), y.data() + y.size()));
  std::sort(y.data(), y.data() + y.size());
  for (int i = 0; i < 4 * n; ++i) BOOST_TEST(y[static_cast<std::size_t>(i)] == i);
}

BOOST_AUTO_TEST_CASE(one_seed_gives_one_order) {
  const auto order = [](std::uint64_t seed) {
    Guarded<int> counter(1), y(n);
    counter[0] = 0;
    launch({.grid = {}, .block = {n}, .seed = seed},
           [&] { number_in_order(counter.data(), y.data()); });
    return std::vector<int>(y.data(), y.data() + n);
  };
  BOOST_TEST((order(3) == order(3)));
  BOOST_TEST((order(3) != order(4)));
}

BOOST_AUTO_TEST_CASE(shared_memory_is_nan_in_every_block) {
  Guarded<float> y(n);
  y.data()[0] = 0;
  launch({.grid = {}, .block = {n}, .shared_bytes = n * sizeof(float)},
         [&] { shared_before_writing(y.data()); });
  BOOST_TEST(std::all_of(y.data(), y.data() + n, [](float v) { return std::isnan(v); }));
  BOOST_TEST(holds(fault_of({.grid = {}, .block = {n}, .shared_bytes = 8},
                            [&] { shared_before_writing(y.data()); }),
                   "the kernel needs 256 bytes of shared memory, launched with 8"));
}

#ifndef BG_SANITIZED  // which would end the program here
BOOST_AUTO_TEST_CASE(what_is_written_beside_an_array_is_found) {
  Guarded<float> x(n);
  const auto text = [&](int at) -> std::string {
    launch({.grid = {}, .block = {1}}, [&] { touch(x.data(), at); });
    try {
      x.check("x");
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "nothing";
  };
  BOOST_TEST(text(n - 1) == "nothing");
  BOOST_TEST(text(n) == "x: written at byte 256 of 256");
  BOOST_TEST(text(-1) == "x: written at byte -4 of 256");
}
#endif

BOOST_AUTO_TEST_CASE(launches_that_no_device_takes_are_refused) {
  const auto none = [] {};
  BOOST_TEST(fault_of({.grid = {}, .block = {1025}}, none) ==
             "a block has 1 to 1024 threads, at most 64 along z");
  BOOST_TEST(fault_of({.grid = {1, 65536}, .block = {1}}, none) ==
             "a grid has at most 2^31 - 1 x 65535 x 65535 blocks");
  BOOST_TEST(fault_of({.grid = {0}, .block = {1}}, none) == "a grid has at least one block");
  BOOST_TEST(fault_of({.grid = {}, .block = {1}, .shared_bytes = 227 * 1024 + 1}, none) ==
             "a block has at most 227 KiB of shared memory");
}

BOOST_AUTO_TEST_CASE(blocks_of_more_threads_than_a_kernel_s_text_is_for_are_refused) {
  if (test_support::skips_harness()) return;
  const auto runtime = host_runtime();
  const auto fault = [&](const char* bounds, int threads) -> std::string {
    const blockgrad::CudaText text{std::string("\nextern \"C\" __global__ void ") + bounds +
                                   " KERNEL(long* x) { *x = 3; }\n"};
    const auto x = runtime->allocate(8);
    blockgrad::CudaCall call;
    call.function = runtime->load({&text, 1})[0];
    call.threads = threads;
    call.args = {reinterpret_cast<std::uint64_t>(x.get())};
    call.node = "three";
    try {
      runtime->launch(call);
      runtime->wait();
    } catch (const blockgrad::InternalError& error) {
      return error.what();
    }
    return "none";
  };
  BOOST_TEST(fault("", 256) == "none");
  BOOST_TEST(
      holds(fault("", 257), "three: blocks of 257 threads, the text of their kernel is for"));
  BOOST_TEST(fault("__launch_bounds__(512, 1)", 512) == "none");
  BOOST_TEST(holds(fault("__launch_bounds__(128)", 256), "is for at most 128"));
}

BOOST_AUTO_TEST_SUITE_END()
