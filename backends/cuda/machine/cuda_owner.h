#pragma once
// What calls to the CUDA runtime made, given back when nobody holds it any more.

#include <memory>
#include <string_view>

#include "backends/cuda/machine/calls.h"

namespace blockgrad {

/// make(&it), to be undone by free(it). `what` is for errors, a literal. Throws as
/// CudaCalls::check.
template <class T, class Make, class Free>
std::shared_ptr<T> cuda_owner(const std::shared_ptr<CudaCalls>& calls, std::string_view what,
                              Make make, Free free) {
  T* made = nullptr;
  calls->check([&] { return make(&made); }, what);
  return std::shared_ptr<T>(made, [calls, what, free](T* it) {
    if (it) calls->release([&] { return free(it); }, what);
  });
}

}  // namespace blockgrad
