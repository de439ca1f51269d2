#include "backends/cuda/harness/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define BG_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BG_ASAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define BG_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BG_TSAN
#endif
#endif

#ifdef BG_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef BG_TSAN
#include <sanitizer/tsan_interface.h>
#endif

// Saves the registers that a called function must keep, and the stack pointer at *from; goes on
// where `to` was saved. Sources: System V ABI for x86-64, 3.2.1; AAPCS64, 6.1.1 and 6.1.2.
extern "C" void bg_switch_stack(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl bg_switch_stack
.type bg_switch_stack, @function
bg_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size bg_switch_stack, .-bg_switch_stack
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl bg_switch_stack
.type bg_switch_stack, %function
bg_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size bg_switch_stack, .-bg_switch_stack
)");
#else
#error "fibers know x86-64 and aarch64"
#endif

namespace blockgrad::harness {

namespace {

constexpr std::size_t stack_size = std::size_t{256} << 10;

// The fiber that is being entered: its function has no argument of its own.
constinit thread_local Fiber* entered = nullptr;

/// A stack whose first switch goes to `enter`: what bg_switch_stack would have saved.
void* first_frame(void* stack, void (*enter)()) {
  auto* const top = static_cast<std::uintptr_t*>(stack) + stack_size / sizeof(std::uintptr_t);
#if defined(__x86_64__)
  std::uintptr_t* const frame = top - 8;  // six registers, the address to return to, its caller
  frame[6] = reinterpret_cast<std::uintptr_t>(enter);
#else
  std::uintptr_t* const frame = top - 20;
  frame[11] = reinterpret_cast<std::uintptr_t>(enter);
#endif
  return frame;
}

}  // namespace

Fiber::Fiber() {
  stack_ = mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack_ == MAP_FAILED) throw std::bad_alloc();
#ifdef BG_TSAN
  fiber_thread_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#ifdef BG_ASAN
  is_last_run_ = true;
  start([](void*) {}, nullptr);
  resume();
#endif
#ifdef BG_TSAN
  __tsan_destroy_fiber(fiber_thread_);
#endif
  munmap(stack_, stack_size);
}

void Fiber::start(Run run, void* argument) {
  run_ = run;
  argument_ = argument;
  begins_ = true;
}

void Fiber::resume() {
  if (begins_) {
    begins_ = false;
    fiber_at_ = first_frame(stack_, &Fiber::enter);
    entered = this;
  }
#ifdef BG_TSAN
  host_thread_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber_thread_, 0);
#endif
#ifdef BG_ASAN
  __sanitizer_start_switch_fiber(&host_fake_, stack_, stack_size);
#endif
  bg_switch_stack(&host_at_, fiber_at_);
#ifdef BG_ASAN
  __sanitizer_finish_switch_fiber(host_fake_, nullptr, nullptr);
#endif
}

void Fiber::enter() {
  Fiber& self = *entered;
#ifdef BG_ASAN
  __sanitizer_finish_switch_fiber(self.fiber_fake_, &self.host_stack_, &self.host_size_);
#endif
  self.run_(self.argument_);
  self.leave();
  std::abort();
}

void Fiber::leave() {
#ifdef BG_TSAN
  __tsan_switch_to_fiber(host_thread_, 0);
#endif
#ifdef BG_ASAN
  // Null gives up what belongs to the fiber.
  __sanitizer_start_switch_fiber(is_last_run_ ? nullptr : &fiber_fake_, host_stack_, host_size_);
#endif
  bg_switch_stack(&fiber_at_, host_at_);
#ifdef BG_ASAN
  __sanitizer_finish_switch_fiber(fiber_fake_, &host_stack_, &host_size_);
#endif
}

}  // namespace blockgrad::harness
