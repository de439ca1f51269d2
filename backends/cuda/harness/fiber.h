#pragma once
// A function with a stack of its own that can be left in the middle and resumed: what a thread of a
// CUDA block is on the CPU. Works on x86-64 and aarch64, and under AddressSanitizer and
// ThreadSanitizer. All fibers of a test run on one thread of the host.

#include <cstddef>
#include <memory>
#include <vector>

namespace blockgrad::harness {

class Fiber {
 public:
  using Run = void (*)(void*);

  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// The next resume() begins run(argument), which must not throw.
  void start(Run run, void* argument);

  /// Goes on until the fiber leaves or its function returns. Not from within a fiber.
  void resume();

  /// Back to who resumed this fiber. Only from within it.
  void leave();

 private:
  [[noreturn]] static void enter();

  void* stack_ = nullptr;
  void* fiber_at_ = nullptr;  // stack pointers of the side that does not run
  void* host_at_ = nullptr;
  Run run_ = nullptr;
  void* argument_ = nullptr;
  bool begins_ = false;

  // What the sanitizers remember of the two sides.
  [[maybe_unused]] void* fiber_fake_ = nullptr;
  [[maybe_unused]] void* host_fake_ = nullptr;
  [[maybe_unused]] const void* host_stack_ = nullptr;
  [[maybe_unused]] std::size_t host_size_ = 0;
  [[maybe_unused]] void* fiber_thread_ = nullptr;
  [[maybe_unused]] void* host_thread_ = nullptr;
  [[maybe_unused]] bool is_last_run_ = false;
};

/// Fibers that are kept: their stacks, and what sanitizers add, take longer to make than most
/// launches.
class Fibers {
 public:
  /// Fiber i, the same one each time.
  Fiber& at(std::size_t i) {
    while (fibers_.size() <= i) fibers_.push_back(std::make_unique<Fiber>());
    return *fibers_[i];
  }

 private:
  std::vector<std::unique_ptr<Fiber>> fibers_;
};

}  // namespace blockgrad::harness
