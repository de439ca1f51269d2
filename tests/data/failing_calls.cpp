// Functions of the C library's names in the test binary come before the library's own ones, also
// for calls from blockgrad. They count and fail while armed, and pass on otherwise.
#include "tests/data/failing_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

namespace {

constinit thread_local data_test::FailingCalls* armed = nullptr;

template <class Function>
Function* next(const char* name, Function*) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

// Whether this call is the one to fail.
bool fails(const char* name) {
  if (!armed || ++armed->count != armed->at) return false;
  armed->failed = name;
  errno = armed->failure == data_test::Failure::interrupted ? EINTR : armed->error;
  return true;
}

}  // namespace

namespace data_test {
Armed::Armed(FailingCalls& calls) { armed = &calls; }
Armed::~Armed() { armed = nullptr; }
}  // namespace data_test

extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if (flags & O_CREAT) {
    va_list rest;
    va_start(rest, flags);
    mode = va_arg(rest, mode_t);
    va_end(rest);
  }
  if (fails("open")) return -1;
  return next("open", static_cast<int (*)(const char*, int, ...)>(nullptr))(path, flags, mode);
}

ssize_t write(int descriptor, const void* data, size_t bytes) {
  const auto real = next("write", static_cast<ssize_t (*)(int, const void*, size_t)>(nullptr));
  if (!fails("write")) return real(descriptor, data, bytes);
  if (armed->failure == data_test::Failure::short_write)
    return real(descriptor, data, bytes / 2 + 1);
  return -1;
}

int fsync(int descriptor) {
  if (fails("fsync")) return -1;
  return next("fsync", static_cast<int (*)(int)>(nullptr))(descriptor);
}

int fchmod(int descriptor, mode_t mode) noexcept {
  if (fails("fchmod")) return -1;
  return next("fchmod", static_cast<int (*)(int, mode_t)>(nullptr))(descriptor, mode);
}

int close(int descriptor) {
  // A close that fails has closed nonetheless.
  const int result = next("close", static_cast<int (*)(int)>(nullptr))(descriptor);
  return fails("close") ? -1 : result;
}

int rename(const char* from, const char* to) noexcept {
  if (fails("rename")) return -1;
  return next("rename", static_cast<int (*)(const char*, const char*)>(nullptr))(from, to);
}

}  // extern "C"
