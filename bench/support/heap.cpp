#include "support/heap.h"

#include <sys/resource.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define BG_HEAP_IS_NOT_OURS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define BG_HEAP_IS_NOT_OURS
#endif
#endif

namespace bench {

std::int64_t page_faults() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

}  // namespace bench

#if defined(BG_HEAP_IS_NOT_OURS)

std::int64_t bench::heap_allocations() { return -1; }

#else

namespace {

constinit std::atomic<std::int64_t> taken{0};

void count() { taken.fetch_add(1, std::memory_order_relaxed); }

}  // namespace

std::int64_t bench::heap_allocations() { return taken.load(std::memory_order_relaxed); }

// operator new comes here too. glibc keeps the real ones under these names.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) {
  count();
  return __libc_malloc(n);
}
void* calloc(std::size_t elements, std::size_t n) {
  count();
  return __libc_calloc(elements, n);
}
void* realloc(void* p, std::size_t n) {
  count();
  return __libc_realloc(p, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  count();
  return __libc_memalign(alignment, n);
}
}

#endif
