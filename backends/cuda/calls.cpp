#include "backends/cuda/calls.h"

#include <fmt/format.h>

#include "backends/cuda/errors.h"
#include "blockgrad/graph/error.h"

namespace blockgrad {

std::string CudaCalls::first_error() const {
  const std::lock_guard lock(mutex_);
  return first_error_;
}

void CudaCalls::throw_dead() const {
  throw DeviceError("the CUDA device does not work any more, this process can still use the CPU; " +
                    first_error());
}

void CudaCalls::fail(int error, std::string_view what, std::string_view node) {
  const std::string text = note(error, what, node);
  if (is_dead()) throw_dead();
  throw DeviceError(text);
}

std::string CudaCalls::note(int error, std::string_view what, std::string_view node) {
  const std::string text =
      fmt::format("{}{}{}: {}", what, node.empty() ? "" : " for ", node, cuda_error_text(error));
  if (!ends_device(error)) {
    forget_cuda_error();
    return text;
  }
  const std::lock_guard lock(mutex_);
  if (first_error_.empty()) first_error_ = text;
  is_dead_.store(true, std::memory_order_release);
  return text;
}

}  // namespace blockgrad
