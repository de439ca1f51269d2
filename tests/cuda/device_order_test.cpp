// The orders that the device's runtime keeps, upon a fake of CUDA: between copies ahead and work,
// and between the calls of a recording.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "backends/cuda/machine/upload_ring.h"
#include "blockgrad/graph/error.h"
#include "cuda/device_case.h"
#include "cuda/fake_cuda.h"

using namespace blockgrad;
using namespace device_case;

BOOST_AUTO_TEST_SUITE(device_order)

BOOST_AUTO_TEST_CASE(parts_go_ahead_by_one_copy_or_piece_by_piece) {
  Device device;
  CudaRuntime& runtime = *device.runtime;
  for (const std::int64_t bytes :
       {std::int64_t{1}, std::int64_t{100}, UploadRing::most_buffer + 13}) {
    const std::string first = content_of(bytes, 3), second = content_of(7, 4);
    const std::int64_t at = (bytes + 255) / 256 * 256;
    const auto memory = runtime.allocate(at + 7);
    const std::vector<CudaPart> parts = {
        {bytes_of(first), 0, bytes}, {bytes_of(first), at, 0}, {bytes_of(second), at, 7}};
    fake_cuda::clear();
    const auto mark = runtime.mark();
    mark->set(CudaLine::work);  // behind the allocation
    mark->hold(CudaLine::ahead);
    runtime.copy_ahead(memory.get(), parts);
    BOOST_TEST(fake_cuda::count("cudaMemcpyAsync") == (bytes > UploadRing::most_buffer ? 3 : 1));
    mark->set(CudaLine::ahead);
    mark->wait();
    std::string got(first.size() + second.size(), '\0');
    runtime.copy_out(reinterpret_cast<std::byte*>(got.data()), memory.get(), bytes);
    runtime.copy_out(reinterpret_cast<std::byte*>(got.data()) + bytes, memory.get() + at, 7);
    BOOST_TEST((got == first + second));
  }
}

// Sums what each step is fed: 1000 starts on two places in turns, copied ahead.
BOOST_AUTO_TEST_CASE(copies_ahead_keep_their_order_with_the_work_that_reads_them) {
  for (const bool is_behind : {false, true}) {
    Device device;
    CudaRuntime& runtime = *device.runtime;
    fake_cuda::set_kernel("blockgrad_sum", 2, [](const std::vector<std::uint64_t>& args) {
      auto& sum = *reinterpret_cast<std::uint64_t*>(args[0]);
      sum = 3 * sum + *reinterpret_cast<const std::uint64_t*>(args[1]);
    });
    const CudaFunction function = runtime.load(std::vector{text_of("sum")})[0];
    const auto sum = runtime.allocate(8), fed = runtime.allocate(512);
    put(runtime, sum.get(), 0);
    const std::int64_t zero = 0;
    const CudaPart warm{reinterpret_cast<const std::byte*>(&zero), 0, 8};
    runtime.copy_ahead(fed.get(), {&warm, 1});
    std::vector<std::unique_ptr<CudaSequence>> steps;
    std::vector<std::unique_ptr<CudaMark>> is_fed, is_read;
    for (int turn = 0; turn < 2; ++turn) {
      CudaCall call = add(function, sum.get(), 0);
      call.args[1] = reinterpret_cast<std::uint64_t>(fed.get() + 256 * turn);
      steps.push_back(runtime.record([&] { runtime.launch(call); }));
      is_fed.push_back(runtime.mark());
      is_read.push_back(runtime.mark());
    }
    runtime.wait();
    fake_cuda::clear();
    if (!is_behind) fake_cuda::keep_up(true);
    std::int64_t expected = 0;
    for (std::int64_t i = 0; i < 1000; ++i) {
      const auto turn = static_cast<std::size_t>(i % 2);
      const std::int64_t number = i * i % 97;
      const CudaPart part{reinterpret_cast<const std::byte*>(&number), 256 * (i % 2), 8};
      is_read[turn]->wait();
      is_read[turn]->hold(CudaLine::ahead);
      runtime.copy_ahead(fed.get(), {&part, 1});
      is_fed[turn]->set(CudaLine::ahead);
      is_fed[turn]->hold(CudaLine::work);
      steps[turn]->start();
      is_read[turn]->set(CudaLine::work);
      expected = static_cast<std::int64_t>(3 * static_cast<std::uint64_t>(expected) +
                                           static_cast<std::uint64_t>(number));
    }
    std::map<std::string, int> counts = counts_of(fake_cuda::calls());
    BOOST_TEST(counts["cudaEventSynchronize"] == (is_behind ? 998 : 0));
    BOOST_TEST(fake_cuda::waits() == counts["cudaEventSynchronize"]);
    counts.erase("cudaEventSynchronize");
    const std::map<std::string, int> per_1000 = {{"cudaEventQuery", 1000},
                                                 {"cudaEventRecord", 2000},
                                                 {"cudaGraphLaunch", 1000},
                                                 {"cudaMemcpyAsync", 1000},
                                                 {"cudaStreamWaitEvent", 2000}};
    BOOST_TEST((counts == per_1000));
    BOOST_TEST(number_in(runtime, sum.get()) == expected);
  }
}

BOOST_AUTO_TEST_CASE(a_recording_has_the_order_of_its_points) {
  Device device;
  CudaRuntime& runtime = *device.runtime;
  std::vector<std::uint64_t> order;
  fake_cuda::set_kernel("blockgrad_note", 1,
                        [&](const std::vector<std::uint64_t>& args) { order.push_back(args[0]); });
  const CudaFunction function = runtime.load(std::vector{text_of("note")})[0];
  const auto note = [&](std::uint64_t number) {
    CudaCall call;
    call.function = function;
    call.args = {number};
    runtime.launch(call);
    return runtime.recorded_point();
  };
  const auto after = [&](std::vector<std::int32_t> points) { runtime.begin_after(points); };
  const auto recording = runtime.record([&] {
    after({});
    const std::int32_t first = note(1);
    after({first});
    note(2);
    const std::int32_t left = note(3);
    after({first});
    const std::int32_t right = note(4);
    after({});
    const std::int32_t other = note(5);
    after({left, right, other, left});
    note(6);
  });
  std::set<std::vector<std::uint64_t>> orders;
  for (int i = 0; i < 200; ++i) {
    order.clear();
    recording->start();
    runtime.wait();
    orders.insert(order);
    const auto at = [&](std::uint64_t n) { return std::ranges::find(order, n); };
    BOOST_TEST(order.size() == 6U);
    BOOST_TEST((at(1) < at(2) && at(2) < at(3) && at(1) < at(4)));
    BOOST_TEST(order.back() == 6U);
  }
  // 2, 3 and 4 behind 1 in three orders, 5 anywhere among the five.
  BOOST_TEST(orders.size() == 15U);
  BOOST_CHECK_THROW(after({}), InternalError);
  BOOST_CHECK_THROW(runtime.recorded_point(), InternalError);
}

BOOST_AUTO_TEST_SUITE_END()
