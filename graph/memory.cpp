// Memory for values. Small ones come from the heap; large ones have pages of their own, which can
// be huge: fewer of them to look up, and all taken when they are touched first.
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#include "blockgrad/graph/tensor.h"

namespace blockgrad {

namespace {

constexpr std::int64_t alignment = 64;
constexpr std::int64_t huge_page = std::int64_t{2} << 20;

// Starts at a multiple of huge_page; null if there is no room.
std::byte* map_pages(std::size_t bytes) {
  const std::size_t wanted = bytes + static_cast<std::size_t>(huge_page);
  void* const memory =
      ::mmap(nullptr, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* const first = static_cast<std::byte*>(memory);
  const auto page = static_cast<std::uintptr_t>(huge_page);
  const std::size_t head = (page - reinterpret_cast<std::uintptr_t>(first) % page) % page;
  const std::size_t tail = wanted - head - bytes;
  if (head > 0) ::munmap(first, head);
  if (tail > 0) ::munmap(first + head + bytes, tail);
  // Only a wish: a kernel without huge pages refuses it.
  ::madvise(first + head, bytes, MADV_HUGEPAGE);
  return first + head;
}

[[noreturn]] void fail_allocation(std::int64_t bytes) {
  throw OutOfMemory(fmt::format("out of memory: {} bytes could not be allocated", bytes));
}

}  // namespace

std::shared_ptr<std::byte> allocate_bytes(std::int64_t bytes) {
  // Rounded up, so that vector loads of the last elements stay inside.
  std::int64_t rounded = checked_add(bytes, alignment) / alignment * alignment;
  if (rounded < huge_page) {
    void* memory = ::operator new(static_cast<std::size_t>(rounded), std::align_val_t{alignment},
                                  std::nothrow);
    if (!memory) fail_allocation(bytes);
    return {static_cast<std::byte*>(memory),
            [](std::byte* p) { ::operator delete(p, std::align_val_t{alignment}); }};
  }
  const std::int64_t page = ::sysconf(_SC_PAGESIZE);
  rounded = checked_add(rounded, page - 1) / page * page;
  const auto size = static_cast<std::size_t>(rounded);
  std::byte* const memory = map_pages(size);
  if (!memory) fail_allocation(bytes);
  return {memory, [size](std::byte* p) { ::munmap(p, size); }};
}

}  // namespace blockgrad
