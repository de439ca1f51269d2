#pragma once
// Between the host's runtime and the kernels that it has compiled to a library.

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "backends/cuda/harness/thread_block.h"

namespace blockgrad::harness {

struct HostCall {
  std::int64_t blocks = 1;
  int threads = 1, shared_bytes = 0;
  std::uint64_t seed = 0;
  const std::uint64_t* args = nullptr;
  std::size_t count = 0;
  Fibers* fibers = nullptr;
  std::string fault = {};  // set where the kernel would not have run on a GPU
};

template <class T>
T argument(std::uint64_t bits) {
  static_assert(sizeof(T) == 8, "a kernel's parameters are pointers and longs");
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

template <class... Parameters, std::size_t... i>
void call_kernel(void (*kernel)(Parameters...), HostCall& call, std::index_sequence<i...>) {
  try {
    launch({.grid = {static_cast<unsigned>(call.blocks)},
            .block = {static_cast<unsigned>(call.threads)},
            .shared_bytes = static_cast<std::size_t>(call.shared_bytes),
            .seed = call.seed,
            .fibers = call.fibers},
           [&] { kernel(argument<Parameters>(call.args[i])...); });
  } catch (const std::exception& error) {
    call.fault = error.what();
  }
}

/// Launches `kernel` with the arguments of the call.
template <class... Parameters>
void call_kernel(void (*kernel)(Parameters...), HostCall& call) {
  if (call.count != sizeof...(Parameters)) {
    call.fault = "a launch has " + std::to_string(call.count) + " arguments, its kernel takes " +
                 std::to_string(sizeof...(Parameters));
    return;
  }
  call_kernel(kernel, call, std::index_sequence_for<Parameters...>{});
}

}  // namespace blockgrad::harness
