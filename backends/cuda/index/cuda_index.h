#pragma once
// Elements and rows by number on a CUDA device: checked, read, and written. What a check finds
// wrong goes to CudaState::slot.

#include "backends/cuda/cuda_work.h"

namespace blockgrad {

/// CheckIndex, CheckCount and CheckDivisor. Their result may not be in place: the value that is
/// wrong is read from the input afterwards.
CudaWork check_index_kernel(const CudaRequest& request);
CudaWork check_count_kernel(const CudaRequest& request);
CudaWork check_divisor_kernel(const CudaRequest& request);

CudaWork gather_kernel(const CudaRequest& request);

/// Put: of several values for a row that of the last position. PutRows: in place if x and y are one
/// place.
CudaWork put_kernel(const CudaRequest& request);
CudaWork put_rows_kernel(const CudaRequest& request);

}  // namespace blockgrad
