// The device's runtime upon a fake of CUDA's: what it calls, in which order, and what is left when
// a call fails. No GPU is needed.
#include <algorithm>
#include <atomic>
#include <boost/test/unit_test.hpp>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "backends/cuda/index/cuda_sorts.h"
#include "backends/cuda/machine/device_runtime.h"
#include "backends/cuda/machine/upload_ring.h"
#include "backends/cuda/maps/emit.h"
#include "blockgrad/graph/error.h"
#include "cuda/device_case.h"
#include "cuda/fake_cuda.h"
#include "support/checks.h"

using namespace blockgrad;
using namespace device_case;
using test_support::contains;
using test_support::error_of;

BOOST_AUTO_TEST_SUITE(device)

BOOST_AUTO_TEST_CASE(what_a_program_does_comes_out_and_nothing_is_left) {
  {
    Device device;
    BOOST_TEST(use(*device.runtime) == 33);
    BOOST_TEST(device.runtime->title() == "cuda, NVIDIA H200");
    BOOST_TEST(device.runtime->limits().processors == 7);
    BOOST_TEST(device.runtime->limits().shared_bytes == 200 * 1024);
    BOOST_TEST(device.runtime->limits().registers == 65536);
  }
  BOOST_TEST(fake_cuda::held() == "");
}

BOOST_AUTO_TEST_CASE(memory_may_outlive_the_runtime_and_starts_with_all_bits_set) {
  Device device;
  auto memory = device.runtime->allocate(24);
  std::uint64_t got[3] = {};
  device.runtime->copy_out(reinterpret_cast<std::byte*>(got), memory.get(), sizeof got);
  for (const std::uint64_t word : got) BOOST_TEST(word == ~std::uint64_t{0});
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(memory.get()) % 256 == 0U);
  BOOST_TEST(device.runtime->allocate(0) != nullptr);
  device.runtime.reset();
  memory.reset();
  BOOST_TEST(fake_cuda::held() == "");
}

BOOST_AUTO_TEST_CASE(out_of_memory_says_how_much_and_the_next_call_works) {
  Device device;
  fake_cuda::set_memory(1000);
  const auto some = device.runtime->allocate(600);
  BOOST_TEST(error_of([&] { device.runtime->allocate(500); }) ==
             "out of memory on the device: 500 bytes wanted, 400 free");
  BOOST_TEST(fake_cuda::last_error() == cudaSuccess);
  BOOST_CHECK_NO_THROW(device.runtime->allocate(400));
}

BOOST_AUTO_TEST_CASE(each_call_that_fails_is_told_and_leaves_nothing_behind) {
  Device whole;
  use(*whole.runtime);
  const std::map<std::string, int> used = counts_of(fake_cuda::calls());
  whole.runtime.reset();
  const std::map<std::string, int> counts = counts_of(fake_cuda::calls());
  BOOST_TEST(counts.size() >= 20U);
  for (const auto& [name, count] : counts) {
    const bool gives_back =
        contains(name, "Destroy") || contains(name, "Free") || contains(name, "Unload");
    for (int nth = 1; nth <= count; ++nth) {
      BOOST_TEST_CONTEXT(name << " " << nth) {
        fake_cuda::reset();
        fake_cuda::fail(name, cudaErrorInvalidValue, nth);
        bool has_thrown = false;
        try {
          const auto runtime = open_cuda_runtime({.name = "H"}, as_it_is);
          fake_cuda::set_kernel("blockgrad_add", 2, nullptr);
          try {
            use(*runtime);
          } catch (const DeviceError& error) {
            has_thrown = true;
            BOOST_TEST(contains(error.what(), ": cudaErrorInvalidValue, as asked for"));
            if (name == "cudaLaunchKernel") BOOST_TEST(contains(error.what(), node));
            BOOST_CHECK_NO_THROW(use(*runtime));
          }
        } catch (const DeviceError&) {
          has_thrown = true;
        }
        const bool is_last = !used.contains(name) || nth > used.at(name);
        BOOST_TEST(has_thrown == !(gives_back || is_last));
        BOOST_TEST(fake_cuda::held() == "");
        BOOST_TEST(fake_cuda::misuse() == "");
        BOOST_TEST(fake_cuda::last_error() == cudaSuccess);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_dead_device_is_called_no_more) {
  for (const char* name : {"cudaLaunchKernel", "cudaMemcpyAsync", "cudaGraphLaunch",
                           "cudaStreamSynchronize", "cudaStreamEndCapture", "cudaMemsetAsync"}) {
    BOOST_TEST_CONTEXT(name) {
      Device device;
      fake_cuda::fail(name, cudaErrorIllegalAddress);
      const std::string first = error_of([&] { use(*device.runtime); });
      BOOST_TEST(contains(first, "cudaErrorIllegalAddress"));
      BOOST_TEST(fake_cuda::calls().back().starts_with(name));
      BOOST_TEST(error_of([&] { device.runtime->wait(); }) == first);
      BOOST_TEST(error_of([&] { device.runtime->allocate(8); }) == first);
      device.runtime.reset();
      BOOST_TEST(fake_cuda::calls().back().starts_with(name));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_launch_names_its_grid_and_node) {
  Device device;
  const CudaFunction function = device.runtime->load(std::vector{text_of("add")})[0];
  const auto x = device.runtime->allocate(8);
  CudaCall call = add(function, x.get(), 1);
  call.blocks = 0;
  fake_cuda::clear();
  device.runtime->launch(call);
  BOOST_TEST(fake_cuda::calls().empty());
  call.blocks = std::numeric_limits<std::int32_t>::max();
  call.threads = 96;
  device.runtime->launch(call);
  BOOST_TEST(fake_cuda::calls().back() == "cudaLaunchKernel blockgrad_add 2147483647x96 0");
  ++call.blocks;
  BOOST_TEST(error_of([&] { device.runtime->launch(call); }) ==
             node + ": a grid of 2147483648 blocks, a CUDA device takes at most 2147483647");
  call.blocks = 1;
  call.threads = 1025;
  BOOST_TEST(error_of([&] { device.runtime->launch(call); }) ==
             "a launch for " + node + ": cudaErrorInvalidValue, as asked for");
}

BOOST_AUTO_TEST_CASE(more_shared_memory_is_asked_for_once) {
  Device device;
  const CudaFunction function = device.runtime->load(std::vector{text_of("add")})[0];
  const auto x = device.runtime->allocate(8);
  CudaCall call = add(function, x.get(), 1);
  for (const int bytes : {48 * 1024, 60 * 1024, 50 * 1024, 60 * 1024, 100 * 1024}) {
    call.shared_bytes = bytes;
    device.runtime->launch(call);
  }
  BOOST_TEST(fake_cuda::count("cudaFuncSetAttribute") == 2);
  call.shared_bytes = 300 * 1024;
  BOOST_TEST(error_of([&] { device.runtime->launch(call); }) ==
             "307200 bytes of shared memory for " + node + ": cudaErrorInvalidValue, as asked for");
}

BOOST_AUTO_TEST_CASE(equal_texts_are_compiled_and_loaded_once) {
  std::mutex mutex;
  std::vector<std::string> programs;
  Device device([&](const std::string& program) {
    const std::lock_guard lock(mutex);
    programs.push_back(program);
    return program;
  });
  const std::vector<CudaText> texts = {text_of("add"), text_of("map"), text_of("add"),
                                       text_of("add", "x[0] = 1;")};
  const std::vector<CudaFunction> first = device.runtime->load(texts);
  BOOST_TEST(first[0] == first[2]);
  BOOST_TEST(first[0] != first[1]);
  BOOST_TEST(first[0] != first[3]);
  BOOST_TEST(device.runtime->load(std::vector{texts[1]})[0] == first[1]);
  BOOST_TEST(programs.size() == 3U);
  BOOST_TEST(fake_cuda::loaded().size() == 3U);
  const std::string map =
      cuda_prelude() + "// shared\nextern \"C\" __global__ void blockgrad_map(long* x) {  }";
  BOOST_TEST(std::ranges::count(programs, map) == 1);
}

BOOST_AUTO_TEST_CASE(what_does_not_compile_is_told_by_the_first_and_the_rest_is_tried_again) {
  std::atomic<int> made{0};
  bool is_good = false;
  Device device([&](const std::string& program) {
    ++made;
    if (!is_good && contains(program, "wrong")) throw DeviceError("NVRTC: that is wrong");
    return program;
  });
  const std::vector<CudaText> texts = {text_of("add"), text_of("wrong"), text_of("map")};
  BOOST_TEST(error_of([&] { device.runtime->load(texts); }) == "NVRTC: that is wrong");
  BOOST_TEST(fake_cuda::loaded().empty());
  is_good = true;
  BOOST_TEST(device.runtime->load(texts).size() == 3U);
}

BOOST_AUTO_TEST_CASE(what_is_copied_in_may_change_at_once) {
  Device device;
  std::vector<std::pair<std::shared_ptr<std::byte>, std::string>> all;
  unsigned seed = 1;
  // Small ones that share a buffer, one that fills it, growth, and pieces with an odd rest.
  for (const std::int64_t bytes :
       {std::int64_t{1}, std::int64_t{63}, std::int64_t{65}, std::int64_t{1000},
        UploadRing::least_buffer, std::int64_t{8}, UploadRing::least_buffer + 1, std::int64_t{7},
        2 * UploadRing::most_buffer + 13, std::int64_t{100}}) {
    std::string content = content_of(bytes, ++seed);
    all.emplace_back(device.runtime->allocate(bytes), content);
    device.runtime->copy_in(all.back().first.get(), bytes_of(content), bytes);
    std::fill(content.begin(), content.end(), '?');
  }
  for (const auto& [memory, content] : all) {
    std::string got(content.size(), '\0');
    device.runtime->copy_out(reinterpret_cast<std::byte*>(got.data()), memory.get(),
                             static_cast<std::int64_t>(got.size()));
    BOOST_TEST((got == content));
  }
}

BOOST_AUTO_TEST_CASE(copies_wait_only_where_every_buffer_is_on_its_way) {
  Device device;
  const std::int64_t bytes = UploadRing::least_buffer;
  const std::string content = content_of(bytes, 1);
  const auto memory = device.runtime->allocate(bytes);
  device.runtime->copy_in(memory.get(), bytes_of(content), 0);
  BOOST_TEST(fake_cuda::count("cudaHostAlloc") == 0);
  device.runtime->copy_in(memory.get(), bytes_of(content), 1);
  BOOST_TEST(fake_cuda::count("cudaHostAlloc") == 4);
  device.runtime->wait();
  fake_cuda::clear();
  for (int i = 0; i < 1000; ++i) device.runtime->copy_in(memory.get(), bytes_of(content), 64);
  for (int i = 0; i < 3; ++i) device.runtime->copy_in(memory.get(), bytes_of(content), bytes);
  BOOST_TEST(fake_cuda::waits() == 0);
  device.runtime->copy_in(memory.get(), bytes_of(content), bytes);
  BOOST_TEST(fake_cuda::waits() == 1);
  BOOST_TEST(fake_cuda::count("cudaHostAlloc") == 0);
}

BOOST_AUTO_TEST_CASE(a_recording_keeps_calls_and_its_start_neither_allocates_nor_waits) {
  Device device;
  CudaRuntime& runtime = *device.runtime;
  const CudaFunction function = runtime.load(std::vector{text_of("add")})[0];
  const auto x = runtime.allocate(8), y = runtime.allocate(8);
  put(runtime, x.get(), 0);
  auto recording = runtime.record([&] {
    runtime.launch(add(function, x.get(), 3));
    runtime.copy_within(y.get(), x.get(), 8);
    runtime.copy_within(y.get(), x.get(), 0);
  });
  BOOST_TEST(number_in(runtime, x.get()) == 0);
  BOOST_TEST(fake_cuda::count("cudaGraphInstantiate") == 1);
  BOOST_TEST(fake_cuda::count("cudaGraphUpload") == 1);
  fake_cuda::clear();
  for (int i = 0; i < 1000; ++i) {
    put(runtime, x.get(), i);
    recording->start();
  }
  const std::vector<std::string> calls = fake_cuda::calls();
  BOOST_TEST(calls.size() == 2000U);
  for (std::size_t i = 0; i < calls.size(); ++i)
    BOOST_TEST(calls[i] == (i % 2 == 0 ? "cudaMemcpyAsync in 8" : "cudaGraphLaunch"));
  BOOST_TEST(fake_cuda::waits() == 0);
  BOOST_TEST(number_in(runtime, y.get()) == 1002);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_recorded_is_refused_and_the_runtime_goes_on) {
  Device device;
  CudaRuntime& runtime = *device.runtime;
  const auto x = runtime.allocate(8);
  std::int64_t number = 0;
  const auto host = reinterpret_cast<std::byte*>(&number);
  const std::vector<std::function<void()>> forbidden = {
      [&] { runtime.allocate(8); },
      [&] { runtime.copy_in(x.get(), host, 8); },
      [&] { runtime.copy_out(host, x.get(), 8); },
      [&] { runtime.wait(); },
      [&] { runtime.copy_ahead(x.get(), {}); },
      [&] { runtime.mark(); },
      [&] { runtime.load(std::vector{text_of("add")}); },
      [&] { runtime.record([] {}); },
  };
  for (const auto& call : forbidden) BOOST_CHECK_THROW(runtime.record(call), InternalError);
  BOOST_CHECK_THROW(runtime.record([] { throw Error("of the caller"); }), Error);
  BOOST_TEST(use(runtime) == 33);
}

BOOST_AUTO_TEST_CASE(other_threads_work_while_one_records) {
  Device device;
  CudaRuntime& runtime = *device.runtime;
  const CudaFunction function = runtime.load(std::vector{text_of("add")})[0];
  const auto x = runtime.allocate(8);
  put(runtime, x.get(), 0);
  std::int64_t others = 0;
  const auto recording = runtime.record([&] {
    runtime.launch(add(function, x.get(), 100));
    std::jthread([&] {
      const auto y = runtime.allocate(8);
      put(runtime, y.get(), 40);
      runtime.launch(add(function, y.get(), 2));
      others = number_in(runtime, y.get());
    });
    std::jthread([&] { runtime.launch(add(function, x.get(), 1)); });
  });
  BOOST_TEST(others == 42);
  BOOST_TEST(number_in(runtime, x.get()) == 1);
  recording->start();
  BOOST_TEST(number_in(runtime, x.get()) == 101);
}

BOOST_AUTO_TEST_CASE(sorts_of_a_library_are_given_the_stream_of_the_recording) {
  BOOST_TEST(Device().runtime->libraries().sorts == nullptr);
  static ThrustAnswer answer;
  static std::vector<void*> streams;
  answer = {};
  streams.clear();
  const ThrustCalls calls{.sort =
                              [](const SortedEntries&, EntryBits, void*, Workspace, void* stream) {
                                streams.push_back(stream);
                                return answer;
                              },
                          .find_starts = nullptr,
                          .add_up = nullptr};
  Device device;
  device.runtime = open_cuda_runtime({.name = "H"}, as_it_is, &calls);
  const CudaSorts* sorts = device.runtime->libraries().sorts;
  BOOST_TEST_REQUIRE(sorts != nullptr);
  CudaCall call;
  call.args = {1, 2, 3};
  call.library = sorts->sort({9, true}, {64, 128}, {}, {}, {}).library;
  device.runtime->launch(call);
  device.runtime->record([&] { device.runtime->launch(call); })->start();
  BOOST_TEST_REQUIRE(streams.size() == 2U);
  BOOST_TEST(streams[0] != nullptr);
  BOOST_TEST(streams[1] != nullptr);
  BOOST_TEST(streams[0] != streams[1]);
  answer.error = cudaErrorInvalidValue;
  const auto launch = [&] { device.runtime->launch(call); };
  BOOST_TEST(error_of(launch) == "CUB's sort of 9 entries: cudaErrorInvalidValue, as asked for");
  answer = {};
  BOOST_CHECK_NO_THROW(launch());
  answer.error = cudaErrorIllegalAddress;
  BOOST_TEST(contains(error_of(launch), "cudaErrorIllegalAddress"));
  BOOST_TEST(contains(error_of([&] { device.runtime->wait(); }), "CUB's sort of 9 entries"));
}

BOOST_AUTO_TEST_CASE(a_library_may_take_memory_while_its_first_call_is_recorded) {
  struct Library final : CudaLibraryCall {
    void enqueue(void*, std::span<const std::uint64_t>) const override {
      void* own = nullptr;
      BOOST_TEST(cudaMalloc(&own, 64) == cudaSuccess);
      BOOST_TEST(cudaFree(own) == cudaSuccess);
    }
  };
  Device device;
  const CudaFunction function = device.runtime->load(std::vector{text_of("add")})[0];
  const auto x = device.runtime->allocate(8);
  put(*device.runtime, x.get(), 1);
  CudaCall call;
  call.library = std::make_shared<Library>();
  const auto recording = device.runtime->record([&] {
    device.runtime->launch(call);
    device.runtime->launch(add(function, x.get(), 10));
  });
  recording->start();
  BOOST_TEST(number_in(*device.runtime, x.get()) == 11);
  // Own calls are held to the rule again.
  BOOST_CHECK_THROW(device.runtime->record([&] { device.runtime->wait(); }), InternalError);
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
  BOOST_TEST(mode == cudaStreamCaptureModeGlobal);
  (void)cudaThreadExchangeStreamCaptureMode(&mode);
}

BOOST_AUTO_TEST_CASE(programs_of_several_threads_do_not_meet) {
  Device device;
  std::atomic<int> right{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 20; ++i) right += use(*device.runtime) == 33 ? 1 : 0;
      });
    }
  }
  BOOST_TEST(right == 80);
  BOOST_TEST(fake_cuda::loaded().size() == 1U);
}

BOOST_AUTO_TEST_SUITE_END()
