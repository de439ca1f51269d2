#pragma once
// Memory between two guard zones, as a kernel's operand: what is written beside it is found by
// check(), what is read beside it is NaN, and under AddressSanitizer either one ends the program at
// once.

#include <cstddef>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#define BG_POISON
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BG_POISON
#endif
#endif
#ifdef BG_POISON
#include <sanitizer/asan_interface.h>
#endif

namespace blockgrad::harness {

template <class T>
class Guarded {
 public:
  static constexpr std::size_t zone = 512;       // bytes on each side
  static constexpr std::size_t alignment = 256;  // as of cudaMalloc

  /// `size` elements of which all bits are set: NaN where T is a floating type.
  explicit Guarded(std::size_t size)
      : size_(size),
        memory_(static_cast<unsigned char*>(
            ::operator new(bytes() + 2 * zone, std::align_val_t{alignment}))) {
    std::memset(memory_, 0xff, bytes() + 2 * zone);
    guard();
  }
  ~Guarded() {
    unguard();
    ::operator delete(memory_, std::align_val_t{alignment});
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_ + zone); }
  const T* data() const { return reinterpret_cast<const T*>(memory_ + zone); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }

  /// All bits set again.
  void poison() { std::memset(memory_ + zone, 0xff, bytes()); }

  /// Throws std::runtime_error if a guard zone was written to.
  void check(const std::string& name) {
    unguard();
    std::size_t found = bytes() + 2 * zone;
    for (std::size_t i = 0; i < bytes() + 2 * zone; ++i) {
      if (i == zone) i += bytes();
      if (memory_[i] != 0xff) {
        found = i;
        break;
      }
    }
    guard();
    if (found == bytes() + 2 * zone) return;
    throw std::runtime_error(
        name + ": written at byte " +
        std::to_string(static_cast<std::ptrdiff_t>(found) - static_cast<std::ptrdiff_t>(zone)) +
        " of " + std::to_string(bytes()));
  }

 private:
  std::size_t bytes() const { return size_ * sizeof(T); }

  void guard() {
#ifdef BG_POISON
    __asan_poison_memory_region(memory_, zone);
    __asan_poison_memory_region(memory_ + zone + bytes(), zone);
#endif
  }
  void unguard() {
#ifdef BG_POISON
    __asan_unpoison_memory_region(memory_, bytes() + 2 * zone);
#endif
  }

  std::size_t size_;
  unsigned char* memory_;
};

}  // namespace blockgrad::harness
