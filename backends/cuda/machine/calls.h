#pragma once
// Calls to the CUDA runtime, checked. Some errors leave a device that fails every later call: then
// none is made any more, the first error is the one that is told, and the process goes on with the
// CPU. Any thread may call.

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

namespace blockgrad {

class CudaCalls {
 public:
  /// call(), which returns a cudaError_t, unless the device is dead. Throws DeviceError if it
  /// failed, or with the error that ended the device. `what` is done for `node`, where there is
  /// one: "a launch for matmul (train.cpp:41): cudaErrorLaunchFailure, …".
  template <class Call>
  void check(Call&& call, std::string_view what, std::string_view node = {}) {
    if (is_dead()) throw_dead();
    if (const int error = static_cast<int>(call()); error != 0) fail(error, what, node);
  }
  /// For destructors: no call to a dead device, and no throw. An error that ends it is kept,
  /// without its name where memory for it is missing.
  template <class Call>
  void release(Call&& call, std::string_view what) noexcept {
    if (is_dead()) return;
    if (const int error = static_cast<int>(call()); error != 0) keep(error, what);
  }

  bool is_dead() const noexcept { return is_dead_.load(std::memory_order_acquire); }
  /// What ended the device; empty while it lives, and where there was no memory for it.
  std::string first_error() const;

 private:
  [[noreturn]] void throw_dead() const;
  [[noreturn]] void fail(int error, std::string_view what, std::string_view node);
  void keep(int error, std::string_view what) noexcept;
  std::string note(int error, std::string_view what, std::string_view node);

  std::atomic<bool> is_dead_{false};
  mutable std::mutex mutex_;
  std::string first_error_;
};

}  // namespace blockgrad
