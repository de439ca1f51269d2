#pragma once
// A device's runtime upon the fake of CUDA, and what tests do with it.

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cuda/machine/device_runtime.h"
#include "cuda/fake_cuda.h"

namespace device_case {

using namespace blockgrad;

inline const std::string node = "matmul fc1 (train.cpp:41)";

inline CudaText text_of(std::string_view name, const std::string& body = "") {
  return {"extern \"C\" __global__ void KERNEL(long* x) { " + body + " }", {"// shared\n"}, name};
}

/// Stands in for NVRTC: the program is its own machine code.
inline std::string as_it_is(const std::string& program) { return program; }

struct Device {
  explicit Device(const CubinMaker& make = as_it_is) {
    fake_cuda::reset();
    fake_cuda::set_kernel("blockgrad_add", 2, [](const std::vector<std::uint64_t>& args) {
      *reinterpret_cast<std::int64_t*>(args[0]) += static_cast<std::int64_t>(args[1]);
    });
    runtime = open_cuda_runtime({.name = "NVIDIA H200", .capability = 90}, make);
  }
  ~Device() { BOOST_TEST(fake_cuda::misuse() == ""); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  std::shared_ptr<CudaRuntime> runtime;
};

inline CudaCall add(CudaFunction function, std::byte* to, std::int64_t value) {
  CudaCall call;
  call.function = function;
  call.args = {reinterpret_cast<std::uint64_t>(to), static_cast<std::uint64_t>(value)};
  call.node = node;
  return call;
}

inline std::int64_t number_in(CudaRuntime& runtime, const std::byte* memory) {
  std::int64_t number = 0;
  runtime.copy_out(reinterpret_cast<std::byte*>(&number), memory, sizeof number);
  return number;
}

inline void put(CudaRuntime& runtime, std::byte* memory, std::int64_t number) {
  runtime.copy_in(memory, reinterpret_cast<const std::byte*>(&number), sizeof number);
}

/// All that a program does: 5 in, 1 added, 10 added twice by a recording, 7 of a copy ahead added,
/// a copy of it out.
inline std::int64_t use(CudaRuntime& runtime) {
  const CudaFunction function = runtime.load(std::vector{text_of("add")})[0];
  const auto x = runtime.allocate(8), y = runtime.allocate(8);
  put(runtime, x.get(), 5);
  CudaCall first = add(function, x.get(), 1);
  first.shared_bytes = 100 * 1024;
  runtime.launch(first);
  const auto recording = runtime.record([&] {
    runtime.launch(add(function, x.get(), 10));
    const std::int32_t point = runtime.recorded_point();
    runtime.begin_after({&point, 1});
    runtime.copy_within(y.get(), x.get(), 8);
  });
  recording->start();
  recording->start();
  BOOST_TEST(runtime.free_bytes() > 0);
  const std::int64_t seven = 7;
  const CudaPart part{reinterpret_cast<const std::byte*>(&seven), 0, sizeof seven};
  const auto mark = runtime.mark();
  mark->set(CudaLine::work);
  mark->hold(CudaLine::ahead);
  runtime.copy_ahead(x.get(), {&part, 1});
  mark->set(CudaLine::ahead);
  mark->hold(CudaLine::work);
  const std::int64_t before = number_in(runtime, y.get());
  mark->wait();
  return before + number_in(runtime, x.get());
}

inline std::string content_of(std::int64_t bytes, unsigned seed) {
  std::string content(static_cast<std::size_t>(bytes), '\0');
  for (char& c : content) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return content;
}

inline const std::byte* bytes_of(const std::string& text) {
  return reinterpret_cast<const std::byte*>(text.data());
}

inline std::map<std::string, int> counts_of(const std::vector<std::string>& calls) {
  std::map<std::string, int> counts;
  for (const std::string& call : calls) ++counts[call.substr(0, call.find(' '))];
  return counts;
}

}  // namespace device_case
