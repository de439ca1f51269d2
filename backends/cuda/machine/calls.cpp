#include "backends/cuda/machine/calls.h"

#include <fmt/format.h>

#include <new>

#include "backends/cuda/machine/errors.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

std::string CudaCalls::first_error() const {
  const std::lock_guard lock(mutex_);
  return first_error_;
}

void CudaCalls::throw_dead() const {
  const std::string first = first_error();
  throw DeviceError("the CUDA device does not work any more, this process can still use the CPU; " +
                    (first.empty() ? "out of memory for what ended it" : first));
}

void CudaCalls::fail(int error, std::string_view what, std::string_view node) {
  const std::string text = note(error, what, node);
  if (is_dead()) throw_dead();
  throw DeviceError(text);
}

void CudaCalls::keep(int error, std::string_view what) noexcept {
  try {
    note(error, what, {});
  } catch (const std::bad_alloc&) {
    if (!ends_device(error)) return forget_cuda_error();
    const std::lock_guard lock(mutex_);
    is_dead_.store(true, std::memory_order_release);
  }
}

std::string CudaCalls::note(int error, std::string_view what, std::string_view node) {
  const std::string text =
      fmt::format("{}{}{}: {}", what, node.empty() ? "" : " for ", node, cuda_error_text(error));
  if (!ends_device(error)) {
    forget_cuda_error();
    return text;
  }
  const std::lock_guard lock(mutex_);
  if (!is_dead()) first_error_ = text;
  is_dead_.store(true, std::memory_order_release);
  return text;
}

}  // namespace blockgrad
