#include "backends/cpu/subnormals.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace blockgrad {

namespace {

#if defined(__x86_64__)

// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3: MXCSR.
constexpr unsigned denormal_met = 1u << 1;
constexpr unsigned operands_are_zeros = 1u << 6, results_are_zeros = 1u << 15;

unsigned long control() { return _mm_getcsr(); }
void set_control(unsigned long word) { _mm_setcsr(static_cast<unsigned>(word)); }
constexpr unsigned long flushing = operands_are_zeros | results_are_zeros;

#elif defined(__aarch64__)

// Arm Architecture Reference Manual for A-profile, FPCR.FZ: operands and results.
unsigned long control() {
  unsigned long word = 0;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
void set_control(unsigned long word) { asm volatile("msr fpcr, %0" : : "r"(word)); }
constexpr unsigned long flushing = 1ul << 24;

#else

unsigned long control() { return 0; }
void set_control(unsigned long) {}
constexpr unsigned long flushing = 0;

#endif

// What arithmetic told meanwhile stays told.
void set_flushing(unsigned long bits) { set_control((control() & ~flushing) | bits); }

}  // namespace

SubnormalMode::SubnormalMode(bool flushes)
    : before_(control() & flushing), changes_(before_ != (flushes ? flushing : 0)) {
  if (changes_) set_flushing(flushes ? flushing : 0);
}
SubnormalMode::~SubnormalMode() {
  if (changes_) set_flushing(before_);
}

#if defined(__x86_64__)

SubnormalWatch::SubnormalWatch() : before_(_mm_getcsr() & denormal_met) {
  _mm_setcsr(_mm_getcsr() & ~denormal_met);
}
SubnormalWatch::~SubnormalWatch() { _mm_setcsr(_mm_getcsr() | before_); }
bool SubnormalWatch::met() const { return (_mm_getcsr() & denormal_met) != 0; }

#else

SubnormalWatch::SubnormalWatch() = default;
SubnormalWatch::~SubnormalWatch() = default;
bool SubnormalWatch::met() const { return false; }

#endif

}  // namespace blockgrad
