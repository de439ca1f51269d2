#include "tests/limits/heap.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include "support/sanitizers.h"

namespace {

constinit std::atomic<std::int64_t> taken{0};
constinit thread_local std::int64_t fail_at = 0;  // 0: never
constinit thread_local std::int64_t seen = 0;
constinit thread_local bool fails_for_good = false;

void* take(std::size_t bytes, std::size_t alignment) noexcept {
  taken.fetch_add(1, std::memory_order_relaxed);
  if (fail_at > 0 && (++seen == fail_at || (fails_for_good && seen > fail_at))) return nullptr;
  if (alignment == 0) return std::malloc(bytes == 0 ? 1 : bytes);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

void* take_for_sure(std::size_t bytes) noexcept {
  taken.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes == 0 ? 1 : bytes);
}

void* take_or_throw(std::size_t bytes, std::size_t alignment) {
  void* memory = take(bytes, alignment);
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace heap {

std::int64_t allocations() { return taken.load(std::memory_order_relaxed); }

Failing::Failing(std::int64_t at, bool for_good) {
  seen = 0;
  fails_for_good = for_good;
  fail_at = at;
}
Failing::~Failing() { fail_at = 0; }
bool Failing::has_failed() const { return seen >= fail_at; }

}  // namespace heap

void* operator new(std::size_t n) { return take_or_throw(n, 0); }
void* operator new[](std::size_t n) { return take_or_throw(n, 0); }
// The standard library asks this way where it can do without, as in stable_sort; that is no failure
// to report.
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return take_for_sure(n); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return take_for_sure(n); }
void* operator new(std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a) {
  return take_or_throw(n, static_cast<std::size_t>(a));
}
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
  return take(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }

#if !defined(BG_SANITIZED) && defined(__GLIBC__)
// C's own calls are counted too. glibc keeps the real ones under these names.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);

void* malloc(std::size_t n) {
  taken.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(n);
}
void* calloc(std::size_t count, std::size_t n) {
  taken.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, n);
}
void* realloc(void* p, std::size_t n) {
  taken.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, n);
}
}
#endif
