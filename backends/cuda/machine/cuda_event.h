#pragma once
// Events of CUDA without times.

#include <memory>

#include "backends/cuda/machine/calls.h"

struct CUevent_st;

namespace blockgrad {

std::shared_ptr<CUevent_st> make_event(const std::shared_ptr<CudaCalls>& calls);
/// Until the event is past; asks first, so that one which is past is not waited for.
void wait_for_event(CudaCalls& calls, CUevent_st* event);

}  // namespace blockgrad
